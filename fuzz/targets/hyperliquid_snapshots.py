"""An L4 snapshot: refused by `SnapshotInvalid`, or it makes a state or a `StateMismatch`. Its coins
and their orders are those that a JSON parser finds; they are the same however the file is windowed,
gzipped or not. One in which nothing is odd is not refused.
"""

import gzip
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import msgspec
from msgspec import Meta

from mutators.bits import mutate_bytes
from mutators.jsons import mutate_json
from scratch import scratch
from serving import Reader
from sidecar.errors import SnapshotInvalid, StateMismatch
from sidecar.node.hyperliquid import snapshot_index
from sidecar.node.hyperliquid.snapshot import HyperliquidSnapshot
from sidecar.node.hyperliquid.texts import NS_MAX, NS_PER_MS
from sidecar.node.snapshot import MarketRow, RestingRow, Row
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import restorer

AIMED_AT = (
    "sidecar.node.hyperliquid.snapshot",
    "sidecar.node.hyperliquid.snapshot_index",
    "sidecar.node.hyperliquid.orders",
)
TOKENS = (b"]]],[", b'"BTC",[[', b"[7,[[", b"]]]]]", b' , [ "\\u0042",[[', b"]],[[", b"\x1f\x8b")
_HEIGHT = 100  # of one that does not say
_CAPTURED = Path(__file__).parents[3] / "shared" / "fixtures" / "hyperliquid" / "samples"
_SMALL_WINDOW = 64  # bytes; the product's is far longer than any input

_Number = Annotated[str, Meta(pattern=r"^[0-9]{1,9}\.[0-9]{1,8}$")]

Outcome = tuple[int, list[Row]] | None


def check(data: bytes) -> None:
    """Reads it in four ways."""
    with scratch() as directory:
        plain, gzipped = directory / "plain.json", directory / "snapshot.json.gz"
        plain.write_bytes(data)
        gzipped.write_bytes(gzip.compress(data, 1))
        whole = _read(plain)
        if data[:2] != b"\x1f\x8b":
            assert repr(_read(gzipped)) == repr(whole)
        with patch.object(snapshot_index, "L4_INDEX_BYTES", _SMALL_WINDOW):
            assert repr(_read(plain)) == repr(whole)
    assert whole is not None or not _is_plain(data)
    if whole is not None:
        _check_against_parser(data, whole[1])
        _serve(*whole)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Another snapshot, mostly plain; white space somewhere, for once."""
    if data[:2] == b"\x1f\x8b":
        return mutate_bytes(data, rng)
    made = mutate_json(data, rng)
    if rng.random() < 0.1:
        at = rng.choice([at for at, byte in enumerate(made) if byte in b"[],"] or [0])
        made = made[:at] + rng.choice((b" ", b"\n", b"\t  ")) + made[at:]
    return gzip.compress(made, 1) if rng.random() < 0.02 else made


def captured() -> Iterator[bytes]:
    """Of a real node."""
    for path in sorted(_CAPTURED.glob("l4_snapshot*.json")):
        yield path.read_bytes()


def _read(path: Path) -> Outcome:
    try:
        try:
            snapshot = HyperliquidSnapshot(path)
        except SnapshotInvalid:
            snapshot = HyperliquidSnapshot(path, _HEIGHT)
        assert set(snapshot.symbols) == set(snapshot.markets)
        return snapshot.height, list(snapshot.rows())
    except SnapshotInvalid as error:
        assert error.path == path
        return None


def _check_against_parser(data: bytes, rows: list[Row]) -> None:
    try:
        tree: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return  # what is between the coins is looked at by its brackets only
    coins = tree[1] if len(tree) == 2 and isinstance(tree[0], int) else tree
    symbols = [row.listing.symbol for row in rows if isinstance(row, MarketRow)]
    assert symbols == [coin[0] for coin in coins]
    orders = [
        one[1] if isinstance(one, list) else one
        for coin in coins
        for side in coin[1]
        for one in side
    ]
    resting = [order["oid"] for order in orders if not order.get("isTrigger", False)]
    assert [row.oid for row in rows if isinstance(row, RestingRow)] == resting


def _is_plain(data: bytes) -> bool:
    """Whether this is a snapshot that nobody could find fault with."""
    try:
        tree = _decode_plain(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    _, coins = tree
    symbols = [symbol for symbol, _ in coins]
    orders = [(one, "BA"[side]) for _, book in coins for side in (0, 1) for one in book[side]]
    named = len(set(symbols)) == len(symbols) and all(map(str.isalnum, symbols))
    return named and all(_PLAIN(one.user) and one.order.side == side for one, side in orders)


class _PlainOrder(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    coin: str
    side: str
    limit_px: _Number
    sz: _Number
    oid: int
    timestamp: Annotated[int, Meta(ge=0, le=NS_MAX // NS_PER_MS)]
    trigger_condition: str
    is_trigger: bool
    trigger_px: _Number
    children: Annotated[list[str], Meta(max_length=0)]
    is_position_tpsl: bool
    reduce_only: bool
    order_type: str
    orig_sz: _Number
    tif: str | None
    cloid: None


class _PlainUserOrder(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    user: str
    order: _PlainOrder


_PlainCoins = list[tuple[str, tuple[list[_PlainUserOrder], list[_PlainUserOrder]]]]
_PLAIN = re.compile("0x[0-9a-f]{40}").fullmatch
_decode_plain = msgspec.json.Decoder(
    tuple[Annotated[int, Meta(ge=0, lt=10**18)], _PlainCoins]
).decode


def _serve(height: int, rows: list[Row]) -> None:
    state = ChainState(strict=False)
    try:
        restorer(state, height, 0).rows(rows)
    except StateMismatch:
        return
    Reader(state).check()
