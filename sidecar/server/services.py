"""What every connection needs of the rest of the process."""

from dataclasses import dataclass, field

from sidecar.api.channels import Channels
from sidecar.recovery.resume import Resumer
from sidecar.server.hub import Hub
from sidecar.server.order_entry import OrderEntry
from sidecar.server.pass_through import PassThrough
from sidecar.server.query_time import QueryTime
from sidecar.server.tokens import Tokens
from sidecar.server.topic_shares import TopicShares
from sidecar.server.unread import Unread, answers, snapshots
from sidecar.settings import ServerSettings
from sidecar.state.chain import ChainState
from sidecar.telemetry.counts import Counts


@dataclass(slots=True)
class Services:
    """Shared by all connections; nothing in it waits. `settings` and `tokens` may be replaced
    at any time: they are looked up when they are needed.
    """

    settings: ServerSettings
    state: ChainState
    channels: Channels
    hub: Hub
    resumer: Resumer | None = None  # without one only what was sent of late can be resumed
    pass_through: PassThrough | None = None  # to the node, for what is not known here
    orders: OrderEntry | None = None  # where the node takes any
    tokens: Tokens | None = None  # where not everybody may come in
    counts: Counts = field(default_factory=Counts)
    topic_shares: TopicShares = field(default_factory=TopicShares)
    unread_answers: Unread = field(default_factory=answers)
    unread_snapshots: Unread = field(default_factory=snapshots)
    query_time: QueryTime = field(init=False)

    def __post_init__(self) -> None:
        self.query_time = QueryTime(self.settings.query_share_per_ip)
