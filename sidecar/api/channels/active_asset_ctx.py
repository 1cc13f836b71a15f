"""`activeAssetCtx`: mark, oracle, mid, funding, open interest and day volume of a market."""

from collections.abc import Iterator
from typing import Any

from sidecar.api.context_views import asset_context
from sidecar.api.messages import Push
from sidecar.api.topics import Delivery, MarketChannel, Topic
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes
from sidecar.state.market import Market


class ActiveAssetCtxChannel(MarketChannel):
    """Sent in blocks that name the market, if anything of it differs."""

    name = "activeAssetCtx"
    delivery = Delivery.LATEST
    sums_up_books = True

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._shown: dict[int, dict[str, Any]] = {}

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(levels that the impact prices take) for each open topic whose market is named."""
        for topic, changed in self.changed(changes):
            context = asset_context(self.state, changed.market)
            if context != self._shown[topic.key]:
                self._shown[topic.key] = context
                yield topic, self._message(changed.market, context)

    def snapshot(self, topic: Topic) -> Push:
        """What holds now."""
        market = self.state.markets[topic.key]
        return self._message(market, asset_context(self.state, market))

    def opened(self, topic: Topic) -> None:
        """Remembers what holds now."""
        self._shown[topic.key] = asset_context(self.state, self.state.markets[topic.key])

    def closed(self, topic: Topic) -> None:
        """Forgets it."""
        del self._shown[topic.key]

    def _message(self, market: Market, context: dict[str, Any]) -> Push:
        return Push(self.name, {"coin": market.symbol, "ctx": context}, self.state.height)
