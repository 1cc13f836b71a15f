"""`trades`: every trade of a market, as it happened."""

from collections.abc import Iterator

from sidecar.api.messages import ChainedPush, trade_view
from sidecar.api.topics import Delivery, MarketChannel, Needs, Topic
from sidecar.state.changes import Changes
from sidecar.state.market import Trade


class TradesChannel(MarketChannel):
    """One message a block with trades. No snapshot: `recentTrades` has the past."""

    name = "trades"
    delivery = Delivery.EVERY
    needs = Needs.NOTHING

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(trades of the markets that are read)."""
        for topic, changed in self.changed(changes):
            if changed.fills:
                symbol, time_ns = changed.market.symbol, changes.time_ns
                data = [
                    trade_view(symbol, Trade(changes.height, time_ns, fill))
                    for fill in changed.fills
                ]
                yield topic, ChainedPush(self.name, data, changes.height, changed.trades_prev)
