"""`l4Book`: every order of a market in queue order, then every status and every step of the book,
block by block.

    {"Snapshot": {"coin", "time", "height", "levels": [[order, ...], [order, ...]]}}     once
    {"Updates": {"time", "height", "order_statuses": [...], "book_diffs": [...]}}        per block

A client that applies the diffs in order, putting `new` at the end of its price's queue (or in front
of `insertBefore`), holds the same queues as the node. Shapes are order_book_server's; `side` is
added to each diff.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.api.messages import NS_PER_MS, ChainedPush, hex_text, side_text
from sidecar.api.orders_view import StatusView, resting_view, status_view
from sidecar.api.topics import Delivery, MarketChannel, Needs, Topic
from sidecar.fixed import to_text
from sidecar.node.transitions import ASK, BID
from sidecar.state.changes import Changes, Diff, DiffKind, MarketChanges
from sidecar.state.market import Market


class DiffView(msgspec.Struct, gc=False, frozen=True):
    """One step of a book; `raw_book_diff` as Hyperliquid's nodes write it."""

    user: str
    oid: int
    coin: str
    side: str
    px: str
    raw_book_diff: dict[str, dict[str, Any]] | str


class L4BookChannel(MarketChannel):
    """The whole book, then whatever happens to it."""

    name = "l4Book"
    delivery = Delivery.EVERY
    needs = Needs.BOOKS
    reads_book = True

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(statuses and diffs of the markets that are read)."""
        for topic, changed in self.changed(changes):
            if changed.orders_changed:
                coin = changed.market.symbol
                updates = {
                    "time": changes.time_ns // NS_PER_MS,
                    "height": changes.height,
                    "order_statuses": _statuses(coin, changed),
                    "book_diffs": [_diff_view(coin, diff) for diff in changed.diffs],
                }
                data = {"Updates": updates}
                yield topic, ChainedPush(self.name, data, changes.height, changed.orders_prev)

    def snapshot(self, topic: Topic) -> ChainedPush:
        """Every resting order. `prev` is the height of the topic's newest message that it
        includes. O(orders).
        """
        market = self.state.markets[topic.key]
        data = {"Snapshot": l4_view(market, self.state.height, self.state.time_ns)}
        return ChainedPush(self.name, data, self.state.height, market.orders_height)


def l4_view(market: Market, height: int, time_ns: int) -> dict[str, Any]:
    """An L4 book as clients read it. O(orders)."""
    coin = market.symbol
    levels = [
        [resting_view(coin, order) for order in market.book.queue(side)] for side in (BID, ASK)
    ]
    return {"coin": coin, "time": time_ns // NS_PER_MS, "height": height, "levels": levels}


def _statuses(coin: str, changed: MarketChanges) -> list[StatusView]:
    views = [status_view(coin, status) for status in changed.statuses]
    for refused in changed.refused:
        views.extend(status_view(coin, status) for status in refused.statuses())
    return views


def _diff_view(coin: str, diff: Diff) -> DiffView:
    order = diff.order
    return DiffView(
        hex_text(order.user),
        order.oid,
        coin,
        side_text(order.side),
        to_text(order.px),
        _raw_book_diff(diff),
    )


def _raw_book_diff(diff: Diff) -> dict[str, dict[str, Any]] | str:
    if diff.kind is DiffKind.NEW:
        new: dict[str, Any] = {"sz": to_text(diff.new_sz)}
        if diff.before_oid:
            new["insertBefore"] = diff.before_oid
        return {"new": new}
    if diff.kind is DiffKind.UPDATE:
        return {"update": {"origSz": to_text(diff.old_sz), "newSz": to_text(diff.new_sz)}}
    return "remove"
