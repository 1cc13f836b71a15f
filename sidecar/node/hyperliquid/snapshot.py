"""An L4 snapshot of a Hyperliquid node as rows.

    [height, [[coin, [bids, asks]], ...]]      fileSnapshot with includeHeightInOutput
    [[coin, [bids, asks]], ...]                compute-l4-snapshots, or without it
    an order: [user, order], or order alone where users were not included

The order within an array is the order of the queue. Waiting trigger orders, at the end of a side
where they were included, are on no book.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from sidecar.errors import NumberInvalid, SnapshotInvalid, SourceMissing
from sidecar.node.hyperliquid.orders import WireOrder, describe
from sidecar.node.hyperliquid.texts import ADDRESS_BYTES, NS_PER_MS, parse_address, parse_side
from sidecar.node.snapshot import MarketRow, RestingRow, Row
from sidecar.node.transitions import ASK, BID, MarketListed

_GZIP_MAGIC = b"\x1f\x8b"
_NO_USER = bytes(ADDRESS_BYTES)
_UserOrder = tuple[str, WireOrder] | WireOrder
_INVALID = (msgspec.DecodeError, NumberInvalid, ValueError, RecursionError)

_decode_outer = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_height = msgspec.json.Decoder(int).decode
_decode_coins = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]]).decode
_decode_book = msgspec.json.Decoder(tuple[list[_UserOrder], list[_UserOrder]]).decode


class _Coin(NamedTuple):
    symbol: str
    market: int
    book: msgspec.Raw


class HyperliquidSnapshot:
    """A snapshot file, plain or gzipped: `height` and `markets` at once, `rows()` as a stream.

    In memory is the text of the file, and the decoded orders of one coin at a time.
    """

    def __init__(self, path: Path, height: int | None = None) -> None:
        """`height` is for files that don't hold theirs. Raises `SnapshotInvalid`,
        `SourceMissing`.
        """
        self.path = path
        self.trigger_orders_skipped = 0  # so far
        try:
            found, coins = _split(_read(path))
        except _INVALID as error:
            raise self._invalid(f"is not an L4 snapshot: {error}") from error
        self.height = self._choose_height(found, height)
        self.markets = {symbol: market for market, (symbol, _) in enumerate(coins)}
        if len(self.markets) < len(coins):
            raise self._invalid("has a coin twice")
        self._coins = [_Coin(symbol, self.markets[symbol], book) for symbol, book in coins]

    def rows(self) -> Iterator[Row]:
        """Each market and its resting orders in queue order, bids first. Raises
        `SnapshotInvalid`.
        """
        for coin in self._coins:
            yield MarketRow(MarketListed(coin.market, coin.symbol))
            try:
                sides = _decode_book(coin.book)
                for side, orders in zip((BID, ASK), sides, strict=True):
                    yield from self._side(coin.market, side, orders)
            except _INVALID as error:
                raise self._invalid(f"has a broken book of {coin.symbol}: {error}") from error

    def _side(self, market: int, side: int, orders: list[_UserOrder]) -> Iterator[RestingRow]:
        for one in orders:
            user, order = one if isinstance(one, tuple) else (one.user, one)
            if order.is_trigger:
                self.trigger_orders_skipped += 1
            else:
                yield _resting(market, side, user, order)

    def _choose_height(self, found: int | None, given: int | None) -> int:
        if found is None and given is None:
            raise self._invalid(
                "does not hold its height; take one with includeHeightInOutput, or name the height"
            )
        if found is not None and given is not None and found != given:
            raise self._invalid(f"is of height {found}, not {given}")
        height = given if found is None else found
        assert height is not None
        return height

    def _invalid(self, what: str) -> SnapshotInvalid:
        return SnapshotInvalid(f"the snapshot {what}", path=self.path)


def _resting(market: int, side: int, user: str | None, order: WireOrder) -> RestingRow:
    if parse_side(order.side) != side:
        raise ValueError(f"order {order.oid} of side {order.side} is among those of the other one")
    address = _NO_USER if user is None else parse_address(user)
    added_ns = order.timestamp * NS_PER_MS
    status = describe(order, market, address, "open", added_ns)
    px, sz = status.limit_px, status.sz
    return RestingRow(market, order.oid, address, side, px, sz, added_ns, status)


def _split(text: bytes) -> tuple[int | None, list[tuple[str, msgspec.Raw]]]:
    outer = _decode_outer(text)
    if len(outer) == 2 and bytes(memoryview(outer[0])[:1]) != b"[":
        return _decode_height(outer[0]), _decode_coins(outer[1])
    return None, _decode_coins(text)


def _read(path: Path) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        what = f"can't read the snapshot: {error.strerror}"
        raise SourceMissing(what, path=path) from error
    if not text.startswith(_GZIP_MAGIC):
        return text
    try:
        return gzip.decompress(text)
    except (OSError, EOFError, zlib.error) as error:
        raise SnapshotInvalid(f"the snapshot can't be decompressed: {error}", path=path) from error
