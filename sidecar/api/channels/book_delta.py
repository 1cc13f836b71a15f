"""`bookDelta`: all price levels of a market, then those that change, with a checksum of the best.

    {"coin", "time", "snapshot": true, "bids": [[px, sz, n], ...], "asks", "checksum"}    once
    {"coin", "time", "bids": [[px, sz, n], ...], "asks", "checksum"}                 per block

Best prices first. A level that is gone has the size "0.0" and the number 0. The checksum is CRC-32
(zlib's) of the ten best levels of each side after the block, as ASCII text: each level px:sz:n as
in the messages, levels joined by commas, bids and asks by a bar.
"""

import zlib
from collections.abc import Iterator
from typing import Any

from sidecar.api.messages import NS_PER_MS, ChainedPush
from sidecar.api.topics import Delivery, MarketChannel, Needs, Topic
from sidecar.fixed import to_text
from sidecar.limits import CHECKSUM_LEVELS
from sidecar.node.transitions import ASK, BID
from sidecar.state.book import Book, Quote
from sidecar.state.changes import Changes, MarketChanges
from sidecar.state.market import Market

Level = tuple[str, str, int]  # px, sz, n


class BookDeltaChannel(MarketChannel):
    """A block that leaves every level as it was sends nothing."""

    name = "bookDelta"
    delivery = Delivery.EVERY
    needs = Needs.BOOKS
    reads_book = True

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, ChainedPush]]:
        """O(levels touched) for the markets that are read."""
        for topic, changed in self.changed(changes):
            if changed.levels_changed:
                market = changed.market
                data = {
                    "coin": market.symbol,
                    "time": changes.time_ns // NS_PER_MS,
                    "bids": _changed_levels(changed, BID),
                    "asks": _changed_levels(changed, ASK),
                    "checksum": checksum(market.book),
                }
                yield topic, ChainedPush(self.name, data, changes.height, changed.levels_prev)

    def snapshot(self, topic: Topic) -> ChainedPush:
        """Every level. `prev` is the height of the topic's newest message that it includes.
        O(levels).
        """
        market = self.state.markets[topic.key]
        data = book_view(market, self.state.time_ns)
        return ChainedPush(self.name, data, self.state.height, market.levels_height)


def book_view(market: Market, time_ns: int) -> dict[str, Any]:
    """The first message of a topic. O(levels)."""
    book = market.book
    return {
        "coin": market.symbol,
        "time": time_ns // NS_PER_MS,
        "snapshot": True,
        "bids": [_level(quote) for quote in book.levels(BID)],
        "asks": [_level(quote) for quote in book.levels(ASK)],
        "checksum": checksum(book),
    }


def checksum(book: Book) -> int:
    """Of the best levels, as above. O(1)."""
    sides = [
        ",".join([f"{to_text(px)}:{to_text(sz)}:{n}" for px, sz, n in best])
        for best in (book.depth(BID, CHECKSUM_LEVELS), book.depth(ASK, CHECKSUM_LEVELS))
    ]
    return zlib.crc32("|".join(sides).encode("ascii"))


def _changed_levels(changed: MarketChanges, side: int) -> list[Level]:
    return [_level((abs(rank), sz, n)) for rank, sz, n in sorted(changed.changed_levels(side))]


def _level(quote: Quote) -> Level:
    px, sz, n = quote
    return to_text(px), to_text(sz), n
