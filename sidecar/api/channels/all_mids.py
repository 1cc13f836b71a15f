"""`allMids`: the mid of every market that has both sides."""

from collections.abc import Iterator

import msgspec

from sidecar.api.messages import Push
from sidecar.api.topics import Channel, Delivery, Topic, check_dex
from sidecar.fixed import to_text
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes


class AllMidsParameters(msgspec.Struct, frozen=True):
    """`dex` is accepted as existing clients send it; the first perpetual exchange, "", is all
    there is.
    """

    dex: str | None = None


class AllMidsChannel(Channel):
    """One message a block in which a mid moved, with all of them."""

    name = "allMids"
    delivery = Delivery.LATEST
    sums_up_books = True
    parameters = AllMidsParameters

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._mids: dict[str, str] = {}

    def key(self, parameters: AllMidsParameters) -> tuple[str, str]:
        """There is one topic."""
        check_dex(parameters.dex)
        return self.name, self.name

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(markets changed), O(markets) to encode. In the order of the markets, always: the same
        bytes on every sidecar.
        """
        topic = self._open.get(self.name)
        if topic is None:
            return
        moved = False
        for changed in changes.markets.values():
            if changed.book_changed:
                market = changed.market
                moved |= self._set(market.symbol, market.mid_px())
        if moved:
            yield topic, self._message()

    def snapshot(self, topic: Topic) -> Push:  # noqa: ARG002
        """All mids now."""
        return self._message()

    def opened(self, topic: Topic) -> None:  # noqa: ARG002
        """Computes all mids once; from then on those of changed markets."""
        self._mids = all_mids(self.state)

    def _set(self, symbol: str, mid_px: int | None) -> bool:
        old = self._mids.get(symbol)
        new = None if mid_px is None else to_text(mid_px)
        if new is None:
            self._mids.pop(symbol, None)
        elif old is None:
            self._mids = all_mids(self.state)  # back in its place
        else:
            self._mids[symbol] = new
        return new != old

    def _message(self) -> Push:
        return Push(self.name, {"mids": self._mids}, self.state.height)


def all_mids(state: ChainState) -> dict[str, str]:
    """The mid of every market that has both sides. O(markets)."""
    mids = ((market.symbol, market.mid_px()) for market in state.markets.values())
    return {symbol: to_text(mid) for symbol, mid in mids if mid is not None}
