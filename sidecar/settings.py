"""What can be set: the sections and their keys, with types, defaults and descriptions.

Where a setting comes from is `config`'s matter.
"""

from ipaddress import ip_network
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sidecar import limits

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, le=1)]
_CORES_MAX = 4096
SecondsOrNever = Annotated[float, Meta(ge=0)]

ORDER_RULES = (
    *("expiry", "nonce", "account", "market"),
    *("tick", "lot", "notional", "reduce_only", "band", "margin"),
)
"""By which an order is refused before it is sent; each can be left to the chain. Schema and
signature can't: without them nobody is known.
"""


class SourceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the node's output is."""

    kind: Annotated[
        Literal["native", "hyperliquid"],
        Meta(description="what the node writes: the native log or Hyperliquid's *_by_block files"),
    ] = "native"
    path: Annotated[
        str,
        Meta(description="the node's IPC directory, or Hyperliquid's data directory (~/hl/data)"),
    ] = "ipc"
    snapshot: Annotated[
        str | None,
        Meta(description="hyperliquid only: an L4 snapshot file to start from, .json or .json.gz"),
    ] = None
    snapshot_height: Annotated[
        int | None,
        Meta(description="hyperliquid only: the snapshot's height, where its file does not say it"),
    ] = None
    stale_after_s: Annotated[
        Seconds, Meta(description="silence of the node after which the feed is stale")
    ] = limits.STALE_AFTER_S
    behind_after_s: Annotated[
        Seconds, Meta(description="age of the newest block beyond which the feed is behind")
    ] = limits.BEHIND_AFTER_S
    info_url: Annotated[
        str | None,
        Meta(
            description="hyperliquid only: the node's own info server, to have it write snapshots "
            "and to answer what its files do not hold: http://127.0.0.1:3001/info"
        ),
    ] = None
    snapshot_directory: Annotated[
        str | None,
        Meta(
            description="hyperliquid only: where the node is asked to write snapshots, of this "
            "sidecar alone; by itself a directory for temporary files"
        ),
    ] = None
    verify_interval_s: Annotated[
        SecondsOrNever,
        Meta(
            description="hyperliquid with info_url: time between comparisons of all books with a "
            "snapshot of the node; 0 is never"
        ),
    ] = limits.VERIFY_INTERVAL_S
    busy_poll: Annotated[
        bool,
        Meta(description="never sleep while waiting for the node: lower latency, a whole core"),
    ] = False


def _listed(text: str) -> frozenset[str]:
    """The items of a list in a text."""
    return frozenset(filter(None, (item.strip() for item in text.split(","))))


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What clients connect to, and what one of them may use."""

    host: Annotated[str, Meta(description="address to listen on, or unix:/path of a socket")] = (
        "127.0.0.1"
    )
    port: Annotated[
        int, Meta(ge=0, le=65535, description="port for WebSocket and HTTP; 0 picks one")
    ] = 8010
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=limits.WORKERS_MAX,
            description="processes that serve, each with the whole state; limits hold for each",
        ),
    ] = 1
    connections_max: Annotated[Positive, Meta(description="connections in all")] = (
        limits.CONNECTIONS_MAX
    )
    connections_per_ip: Annotated[Positive, Meta(description="connections from one address")] = (
        limits.CONNECTIONS_PER_IP
    )
    subscriptions_per_connection: Annotated[
        Positive, Meta(description="subscriptions of one connection")
    ] = limits.SUBSCRIPTIONS_PER_CONNECTION
    topics_per_ip: Annotated[
        Positive,
        Meta(description="distinct subscriptions of one address; dear ones count as several"),
    ] = limits.TOPICS_PER_IP
    messages_per_minute: Annotated[
        Positive, Meta(description="inbound messages of one connection")
    ] = limits.MESSAGES_PER_MINUTE
    query_share_per_ip: Annotated[
        Share, Meta(description="of a core's time, for queries of one address, after a burst")
    ] = limits.QUERY_SHARE_PER_IP
    outbox_bytes_max: Annotated[
        Positive, Meta(description="bytes that may wait for a slow client")
    ] = limits.OUTBOX_BYTES_MAX
    outbox_age_max_s: Annotated[
        Seconds, Meta(description="how long something may wait for a slow client")
    ] = limits.OUTBOX_AGE_MAX_S
    deflate: Annotated[
        bool, Meta(description="compress messages for WebSocket clients that offer it")
    ] = True
    trusted_proxies: Annotated[
        str,
        Meta(
            description="whose X-Forwarded-For or PROXY header is believed: addresses, networks "
            "and unix, separated by commas"
        ),
    ] = ""
    proxy_protocol: Annotated[
        bool, Meta(description="connections of trusted proxies begin with a PROXY v2 header")
    ] = False
    origins: Annotated[
        str,
        Meta(
            description="pages that may connect, such as https://app.example, separated by commas; "
            "none given: all"
        ),
    ] = ""
    tokens_file: Annotated[
        str | None,
        Meta(description="hashes of the tokens without which nobody is served: sidecar token"),
    ] = None
    ping_interval_s: Annotated[Seconds, Meta(description="silence before a WebSocket ping")] = (
        limits.PING_INTERVAL_S
    )
    pong_timeout_s: Annotated[
        Seconds, Meta(description="silence after a ping before the connection ends")
    ] = limits.PONG_TIMEOUT_S

    def __post_init__(self) -> None:
        for text in sorted(_listed(self.trusted_proxies) - {"unix"}):
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"trusted_proxies: {error}") from None

    def trusted(self) -> frozenset[str]:
        """The trusted proxies."""
        return _listed(self.trusted_proxies)

    def allowed_origins(self) -> frozenset[str]:
        """In lower case; empty for all."""
        return frozenset(origin.lower() for origin in _listed(self.origins))


class OrderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which orders are sent on to the node, and how many."""

    skip_rules: Annotated[
        str,
        Meta(
            description=f"rules that are left to the chain, separated by commas, of "
            f"{', '.join(ORDER_RULES)}"
        ),
    ] = ""
    per_s_per_ip: Annotated[
        Seconds, Meta(description="actions a second of one address, after a burst")
    ] = limits.ORDERS_PER_S_PER_IP
    burst_per_ip: Annotated[Positive, Meta(description="actions of one address at once")] = (
        limits.ORDERS_BURST_PER_IP
    )
    per_s_per_account: Annotated[
        Seconds, Meta(description="actions a second of one account, after a burst")
    ] = limits.ORDERS_PER_S_PER_ACCOUNT
    burst_per_account: Annotated[Positive, Meta(description="actions of one account at once")] = (
        limits.ORDERS_BURST_PER_ACCOUNT
    )
    in_flight_per_ip: Annotated[
        Positive, Meta(description="actions of one address that wait for their blocks")
    ] = limits.ORDERS_IN_FLIGHT_PER_IP
    in_flight_per_account: Annotated[
        Positive, Meta(description="actions of one account that wait for their blocks")
    ] = limits.ORDERS_IN_FLIGHT_PER_ACCOUNT
    answer_timeout_s: Annotated[
        Seconds, Meta(description="time for the node's answer, after which the fate is unknown")
    ] = limits.SUBMIT_ANSWER_TIMEOUT_S

    def __post_init__(self) -> None:
        unknown = self.off() - frozenset(ORDER_RULES)
        if unknown:
            names = ", ".join(ORDER_RULES)
            raise ValueError(f"skip_rules: there is no {min(unknown)!r}; there are {names}")

    def off(self) -> frozenset[str]:
        """The rules to skip."""
        return _listed(self.skip_rules)


class OperatorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What operators and their tools connect to."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(ge=0, le=65535, description="port for /healthz, /readyz and /metrics; 0 picks one"),
    ] = 8011


class CheckpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sidecar's own checkpoints, from which it goes on after a restart."""

    directory: Annotated[
        str | None,
        Meta(description="where they are, this sidecar's alone; else $STATE_DIRECTORY/checkpoints"),
    ] = None
    blocks: Annotated[Positive, Meta(description="blocks from one to the next")] = (
        limits.CHECKPOINT_BLOCKS
    )


class ProcessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the kernel and Python treat the process."""

    nice: Annotated[
        Annotated[int, Meta(ge=-20, le=19)] | None,
        Meta(description="urgency: -20 first, 19 last; below 0 needs a permission"),
    ] = None
    cpus: Annotated[
        str,
        Meta(
            description="cores to run on, such as 2-3,6, one for each worker in turn; none given: "
            "all"
        ),
    ] = ""
    gc_freeze: Annotated[
        bool, Meta(description="garbage collections leave out what was there at the start")
    ] = True

    def __post_init__(self) -> None:
        try:
            self.cores()
        except ValueError:
            raise ValueError(f"cpus: {self.cpus!r} is not a list of cores such as 2-3,6") from None

    def cores(self) -> tuple[int, ...]:
        """In order; empty for all. Raises `ValueError`."""
        found = set[int]()
        for part in _listed(self.cpus):
            first, dash, last = part.partition("-")
            span = range(int(first), int(last if dash else first) + 1)
            if not span or len(span) > _CORES_MAX:
                raise ValueError(part)
            found.update(span)
        return tuple(sorted(found))


class TracingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OpenTelemetry traces; off without an endpoint."""

    endpoint: Annotated[
        str | None,
        Meta(description="where OTLP over HTTP is taken, such as http://127.0.0.1:4318/v1/traces"),
    ] = None
    blocks: Annotated[float, Meta(ge=0, le=1, description="share of blocks that are traced")] = 0.01
    orders: Annotated[
        float,
        Meta(ge=0, le=1, description="share of orders, of those whose sender has no trace"),
    ] = 0.01
    service_name: Annotated[str, Meta(description="the name that traces have")] = "sidecar"


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sidecar's own log lines, on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="the least urgent that is shown"),
    ] = "info"
    style: Annotated[
        Literal["auto", "json", "text"], Meta(description="auto is text on a terminal, else json")
    ] = "auto"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    source: SourceSettings = SourceSettings()
    server: ServerSettings = ServerSettings()
    orders: OrderSettings = OrderSettings()
    operator: OperatorSettings = OperatorSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    process: ProcessSettings = ProcessSettings()
    tracing: TracingSettings = TracingSettings()
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        server, operator = self.server, self.operator
        if server.port and (server.host, server.port) == (operator.host, operator.port):
            raise ValueError(f"server.port and operator.port are both {server.port}")
