"""What is sent to clients: the shapes of pushed messages and of the values inside them.

Numbers of the chain are decimal strings, users and hashes 0x hex, times ms. `height` is the block
that a message speaks for; on EVERY channels `prev` is the height of the message before it on the
same topic (0: there is none; null: the source of the state could not tell), so that a client can
see that it missed nothing.
"""

from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from sidecar.errors import RequestInvalid
from sidecar.fixed import to_text
from sidecar.node.transitions import BID
from sidecar.state.book import Quote
from sidecar.state.market import Trade

NS_PER_MS = 1_000_000

encode = msgspec.json.Encoder().encode


class Push(msgspec.Struct, frozen=True):
    """A message of a LATEST channel: it replaces the one before.

    `state` is there while the source is not live, and says how ("stale", "behind", ...).
    """

    channel: str
    data: Any
    height: int
    state: str | UnsetType = UNSET


class ChainedPush(msgspec.Struct, frozen=True):
    """A message of an EVERY channel: each one counts.

    `part` is `(i, n)` where a topic has several messages in a block, from (1, n) to (n, n). `user`
    is there where the topic is a user's and the data, as existing clients expect it, names nobody.
    """

    channel: str
    data: Any
    height: int
    prev: int | None
    part: tuple[int, int] | UnsetType = UNSET
    state: str | UnsetType = UNSET
    user: str | UnsetType = UNSET


class Reply(msgspec.Struct, frozen=True):
    """An answer to one client; to an action, with its block and its trace."""

    channel: str
    data: Any
    height: int | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET


class LevelView(msgspec.Struct, gc=False, frozen=True):
    """A price level."""

    px: str
    sz: str
    n: int


class TradeView(msgspec.Struct, gc=False, frozen=True):
    """A trade: `side` is the taker's, `users` are buyer and seller (null where the node writes
    one side only).
    """

    coin: str
    side: str
    px: str
    sz: str
    time: int
    hash: str
    tid: int
    users: tuple[str | None, str | None]


def level_view(quote: Quote) -> LevelView:
    """A level as clients read it."""
    px, sz, n = quote
    return LevelView(to_text(px), to_text(sz), n)


def trade_view(symbol: str, trade: Trade) -> TradeView:
    """A trade as clients read it."""
    fill = trade.fill
    return TradeView(
        symbol,
        side_text(fill.taker_side),
        to_text(fill.px),
        to_text(fill.sz),
        trade.time_ns // NS_PER_MS,
        hex_text(fill.hash),
        fill.tid,
        (
            hex_text(fill.buyer.user) if fill.buyer else None,
            hex_text(fill.seller.user) if fill.seller else None,
        ),
    )


def parse_user(text: str) -> bytes:
    """The 20 bytes of an address as clients write it, in any case. Raises `RequestInvalid`."""
    digits = text[2:]
    if len(text) == 42 and text[:2] in ("0x", "0X") and digits.isascii() and digits.isalnum():
        with suppress(ValueError):
            return bytes.fromhex(digits)
    raise RequestInvalid(f"user is an address, 0x and 40 hex digits, not {text[:48]!r}")


def side_text(side: int) -> str:
    """ "B" for bids and buyers, "A" for asks and sellers."""
    return "B" if side == BID else "A"


@lru_cache(maxsize=1 << 14)
def hex_text(value: bytes) -> str:
    """0x and lower-case hex digits. O(1); users and hashes come again and again."""
    return "0x" + value.hex()
