"""L2 levels rounded to significant figures, as Hyperliquid's `nSigFigs` and `mantissa` ask for
them.

A price belongs to the bucket of `nSigFigs` significant figures, in steps of `mantissa` at the last
of them; bids round down and asks up, so that an aggregated book never looks better than the real
one (order_book_server `levels.rs`). An aggregation is built once, O(levels), and then follows the
book: O(levels touched) a block.
"""

from collections.abc import Iterator
from itertools import islice

from sortedcontainers import SortedDict

from sidecar.node.transitions import ASK, BID
from sidecar.state.book import Book, Quote, Touched


def bucket_rank(rank: int, n_sig_figs: int, mantissa: int) -> int:
    """The rank of the bucket of a level. Works for both sides: the rank of a bid is negative, so
    that up is away.

    >>> bucket_rank(81307 * 10**8, 2, 1), bucket_rank(-81307 * 10**8, 2, 1)
    (8200000000000, -8100000000000)
    """
    digits = len(str(abs(rank)))
    step: int = mantissa * 10 ** max(0, digits - n_sig_figs)
    return -(-rank // step) * step


class Aggregation:
    """Both sides of one book at one `(nSigFigs, mantissa)`."""

    __slots__ = ("_mantissa", "_n_sig_figs", "_sides")

    def __init__(self, book: Book, n_sig_figs: int, mantissa: int) -> None:
        self._n_sig_figs = n_sig_figs
        self._mantissa = mantissa
        self._sides: tuple[SortedDict[int, list[int]], SortedDict[int, list[int]]] = (
            SortedDict(),
            SortedDict(),
        )
        for side in (BID, ASK):
            for rank, level in book.side(side).items():
                self._shift(side, rank, level.sz, level.n)

    def follow(self, book: Book, side: int, touched: Touched) -> None:
        """Takes over what a block changed on one side. O(len(touched))."""
        levels = book.side(side)
        for rank, (sz, n) in touched.items():
            level = levels.get(rank)
            if level is None:
                self._shift(side, rank, -sz, -n)
            else:
                self._shift(side, rank, level.sz - sz, level.n - n)

    def levels(self, side: int, depth: int) -> list[Quote]:
        """The best `depth` buckets as `(px, sz, n)`. O(depth)."""
        return list(islice(self._quotes(side), depth))

    def _quotes(self, side: int) -> Iterator[Quote]:
        for rank, (sz, n) in self._sides[side].items():
            yield abs(rank), sz, n

    def _shift(self, side: int, rank: int, sz: int, n: int) -> None:
        buckets = self._sides[side]
        bucket = bucket_rank(rank, self._n_sig_figs, self._mantissa)
        totals = buckets.get(bucket)
        if totals is None:
            if n:
                buckets[bucket] = [sz, n]
            return
        totals[0] += sz
        totals[1] += n
        if not totals[1]:
            del buckets[bucket]
