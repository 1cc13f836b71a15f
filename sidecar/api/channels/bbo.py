"""`bbo`: best bid and ask of a market, when one of them changes."""

from collections.abc import Iterator

from sidecar.api.messages import NS_PER_MS, Push, level_view
from sidecar.api.topics import Delivery, MarketChannel, Topic
from sidecar.node.transitions import ASK, BID
from sidecar.state.book import Quote
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes
from sidecar.state.market import Market

_Quotes = tuple[Quote | None, Quote | None]


class BboChannel(MarketChannel):
    """Price, size and number of orders of both sides; null for an empty one."""

    name = "bbo"
    delivery = Delivery.LATEST
    reads_book = True

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._shown: dict[int, _Quotes] = {}

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(1) for each market that is read and whose book changed."""
        for topic, changed in self.changed(changes):
            if changed.book_changed:
                quotes = _quotes(changed.market)
                if quotes != self._shown[topic.key]:
                    self._shown[topic.key] = quotes
                    yield topic, self._message(changed.market, quotes)

    def snapshot(self, topic: Topic) -> Push:
        """The present best bid and ask."""
        market = self.state.markets[topic.key]
        return self._message(market, _quotes(market))

    def opened(self, topic: Topic) -> None:
        """Remembers what is best now."""
        self._shown[topic.key] = _quotes(self.state.markets[topic.key])

    def closed(self, topic: Topic) -> None:
        """Forgets it."""
        del self._shown[topic.key]

    def _message(self, market: Market, quotes: _Quotes) -> Push:
        bbo = [quote and level_view(quote) for quote in quotes]
        data = {"coin": market.symbol, "time": self.state.time_ns // NS_PER_MS, "bbo": bbo}
        return Push(self.name, data, self.state.height)


def _quotes(market: Market) -> _Quotes:
    return market.book.best(BID), market.book.best(ASK)
