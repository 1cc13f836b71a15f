"""An L4 snapshot of a Hyperliquid node as rows.

    [height, [[coin, [bids, asks]], ...]]      fileSnapshot with includeHeightInOutput
    [[coin, [bids, asks]], ...]                compute-l4-snapshots, or without it
    an order: [user, order], or order alone where users were not included

The order within an array is the order of the queue. Trigger orders that wait for the mark price, at
the end of a side, are on no book; nor are the `children` of an order, which wait for its fill.
"""

from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path

import msgspec
from anyio.lowlevel import checkpoint

from sidecar.errors import NumberInvalid
from sidecar.node.hyperliquid.orders import WireOrder, describe
from sidecar.node.hyperliquid.snapshot_index import Coin, SnapshotIndex, SnapshotText
from sidecar.node.hyperliquid.texts import ADDRESS_BYTES, NS_PER_MS, parse_address, parse_side
from sidecar.node.snapshot import MarketRow, RestingRow, Row, TriggerRow
from sidecar.node.transitions import ASK, BID, MarketListed

_NO_USER = bytes(ADDRESS_BYTES)
_INVALID = (msgspec.DecodeError, NumberInvalid, ValueError, RecursionError)


class WireSnapshotOrder(WireOrder, gc=False, frozen=True, rename="camel"):
    """An order of a snapshot, with those that its fill brings to life."""

    children: tuple["WireSnapshotOrder", ...] = ()


_UserOrder = tuple[str, WireSnapshotOrder] | WireSnapshotOrder
_Side = list[msgspec.Raw]

_decode_coin = msgspec.json.Decoder(tuple[str, tuple[_Side, _Side]]).decode
_decode_order = msgspec.json.Decoder(_UserOrder).decode
_oldest_first = attrgetter("status.placed_ns", "status.oid")


class HyperliquidSnapshot:
    """A snapshot file, plain or gzipped: `height` and `markets` at once, rows as streams, a coin
    at a time.

    In memory is the text of one coin, and the order that is decoded; of a gzipped file all of it.
    """

    def __init__(
        self,
        path: Path,
        height: int | None = None,
        markets: Mapping[str, int] | None = None,
        *,
        index: bool = True,
    ) -> None:
        """`height` is for files that don't hold theirs. `markets`: the ids that symbols have
        already; new symbols are numbered behind them, in the order of the file. Whoever passes
        `index=False` goes through `index()`. Raises `SnapshotInvalid`, `SourceMissing`.
        """
        self.path = path
        self.markets = dict(markets or {})
        self._text = SnapshotText(path)
        self._index = SnapshotIndex(self._text)
        self._coins: dict[str, Coin] = {}
        self.height = self._choose_height(self._index.height, height)
        if index:
            for _ in self.index():
                pass

    @classmethod
    async def open(
        cls,
        path: Path,
        markets: Mapping[str, int] | None = None,
        *,
        height: int | None = None,
    ) -> "HyperliquidSnapshot":
        """As the constructor, in slices of 2 ms: for a process that has to answer meanwhile."""
        snapshot = cls(path, height, markets, index=False)
        for _ in snapshot.index():
            await checkpoint()
        return snapshot

    def index(self) -> Iterator[None]:
        """Finds the coins; yields now and then. Raises `SnapshotInvalid`."""
        next_market = max(self.markets.values(), default=-1) + 1
        for coin in self._index.coins():
            if coin is None:
                yield
                continue
            if coin.symbol in self._coins:
                raise self._text.invalid(f"has a coin twice: {coin.symbol}")
            self._coins[coin.symbol] = coin
            if coin.symbol not in self.markets:
                self.markets[coin.symbol] = next_market
                next_market += 1

    @property
    def symbols(self) -> list[str]:
        """The coins that it holds, in its order."""
        return list(self._coins)

    def rows(self) -> Iterator[Row]:
        """Each market and its resting orders in queue order, bids first; behind all markets the
        waiting orders, oldest first. Raises `SnapshotInvalid`. O(orders).
        """
        waiting: list[TriggerRow] = []
        for symbol in self._coins:
            yield MarketRow(MarketListed(self.markets[symbol], symbol))
            for row in self.orders(symbol):
                if isinstance(row, TriggerRow):
                    waiting.append(row)
                else:
                    yield row
        waiting.sort(key=_oldest_first)
        yield from waiting

    def orders(self, symbol: str) -> Iterator[RestingRow | TriggerRow]:
        """The orders of one coin, none where the snapshot does not hold it: bids, then asks, in
        queue order, each followed by its children; waiting ones among them. Raises
        `SnapshotInvalid`. O(orders of the coin).
        """
        coin = self._coins.get(symbol)
        if coin is None:
            return
        market = self.markets[symbol]
        try:
            _, sides = _decode_coin(self._text.read(coin.offset, coin.size))
            for side, encoded in zip((BID, ASK), sides, strict=True):
                for one in encoded:
                    yield from _order_rows(_decode_order(one), market, side)
        except _INVALID as error:
            raise self._text.invalid(f"has a broken book of {symbol}: {error}") from error

    def _choose_height(self, found: int | None, given: int | None) -> int:
        if found is not None and given is not None and found != given:
            raise self._text.invalid(f"is of height {found}, not {given}")
        height = given if found is None else found
        if height is None:
            raise self._text.invalid(
                "does not hold its height; take one with includeHeightInOutput, or name the height"
            )
        return height


def _order_rows(one: _UserOrder, market: int, side: int) -> Iterator[RestingRow | TriggerRow]:
    user, order = one if isinstance(one, tuple) else (one.user, one)
    address = _NO_USER if user is None else parse_address(user)
    if parse_side(order.side) != side:
        raise ValueError(f"order {order.oid} of side {order.side} is among those of the other one")
    if order.is_trigger:
        yield _waiting(order, market, address, 0)
    else:
        added_ns = order.timestamp * NS_PER_MS
        status = describe(order, market, address, "open", added_ns)
        px, sz = status.limit_px, status.sz
        yield RestingRow(market, order.oid, address, side, px, sz, added_ns, status)
    for child in order.children:
        yield _waiting(child, market, address, order.oid)


def _waiting(order: WireOrder, market: int, user: bytes, parent: int) -> TriggerRow:
    status = describe(order, market, user, "open", order.timestamp * NS_PER_MS)
    return TriggerRow(status, parent)
