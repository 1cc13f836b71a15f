"""`clearinghouseState`: a user's account, in blocks in which it or a mark of it moved."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

from sidecar.api.account_views import check_accounts_told, clearinghouse_state, look
from sidecar.api.messages import Push, hex_text, parse_user
from sidecar.api.topics import Channel, Delivery, DexUserParameters, Topic, check_dex
from sidecar.errors import NotInSource, StateUnavailable
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes


class AccountChannel(Channel):
    """A view of an account, sent when it differs from the one before. A family: one subclass a
    view. While the account is known to be wrong nothing is sent; it can be subscribed to, and left.
    """

    delivery = Delivery.LATEST

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._shown: dict[Any, Any] = {}

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(positions) for each open topic whose account may have changed."""
        for key, topic in self._open.items():
            changed = changes.users.get(topic.user) if topic.user else None
            if changes.prices or (changed is not None and self.concerns(changed)):
                view = self._view(topic)
                if view is not None and _content(view) != self._shown.get(key):
                    self._shown[key] = _content(view)
                    yield topic, Push(self.name, view, self.state.height)

    def snapshot(self, topic: Topic) -> Push | None:
        """What holds now; none while the account is known to be wrong."""
        view = self._view(topic)
        return None if view is None else Push(self.name, view, self.state.height)

    def opened(self, topic: Topic) -> None:
        """Remembers what holds now."""
        view = self._view(topic)
        self._shown[topic.key] = None if view is None else _content(view)

    def closed(self, topic: Topic) -> None:
        """Forgets it."""
        self._shown.pop(topic.key, None)

    def concerns(self, changed: Any) -> bool:
        """Whether what a block did to the user may change the view."""
        return bool(changed.account)

    @abstractmethod
    def view(self, topic: Topic) -> dict[str, Any]:
        """What a message shows. Raises `StateUnavailable`, `NotInSource`."""

    def _view(self, topic: Topic) -> dict[str, Any] | None:
        try:
            return self.view(topic)
        except (StateUnavailable, NotInSource):  # a market that is listed without its rules
            return None


class ClearinghouseStateChannel(AccountChannel):
    """The whole account."""

    name = "clearinghouseState"
    parameters = DexUserParameters

    def key(self, parameters: DexUserParameters) -> tuple[bytes, str]:
        """The user's address. Raises `NotInSource` where the node does not tell of accounts."""
        check_dex(parameters.dex)
        address = parse_user(parameters.user)
        check_accounts_told(self.state)
        return address, f"{self.name}:{hex_text(address)}"

    def view(self, topic: Topic) -> dict[str, Any]:
        """As the info request has it, with the user."""
        account = clearinghouse_state(self.state, look(self.state, topic.key))
        return {"dex": "", "user": hex_text(topic.key), "clearinghouseState": account}


def _content(view: dict[str, Any]) -> Any:
    """What counts for a change: all but the times."""
    account = view.get("clearinghouseState", {})
    return [
        {name: value for name, value in one.items() if name not in _NO_CONTENT}
        for one in (view, account)
    ]


_NO_CONTENT = {"time", "serverTime", "clearinghouseState"}
