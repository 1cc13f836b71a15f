"""The texts in Hyperliquid's files as values: times, hex, sides. All raise `ValueError`."""

import re
from datetime import datetime
from functools import lru_cache

from sidecar.node.transitions import ASK, BID

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_MAX = (
    1 << 63
) - 1  # the year 2262: what is beyond has no place in a checkpoint, nor has it a date
ADDRESS_BYTES = 20
CLOID_BYTES = 16
HASH_BYTES = 32

_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z?")
_SIDES = {"B": BID, "A": ASK, "Bid": BID, "Ask": ASK}  # the long forms are of 2025


@lru_cache(maxsize=256)
def parse_time(text: str) -> int:
    """Ns since the epoch of ISO 8601 UTC, mostly without a zone and with 9, 3 or no decimals. O(1).

    The statuses of a block share one text, so the last ones are remembered.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a time such as "2026-05-05T17:39:13.394723455"')
    whole, decimals = match.groups(default="")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    time_ns = seconds * NS_PER_S + int(decimals.ljust(9, "0"))
    if not 0 <= time_ns <= NS_MAX:
        raise ValueError(f"{text!r} is no time between 1970 and 2262")
    return time_ns


@lru_cache(maxsize=1 << 16)
def parse_address(text: str) -> bytes:
    """20 bytes. One object for all orders of a user, as long as it is remembered."""
    return parse_hex(text, ADDRESS_BYTES)


def parse_hex(text: str, size: int) -> bytes:
    """`size` bytes of "0x" and hex digits."""
    if len(text) == 2 + 2 * size and text[:2] == "0x":
        value = bytes.fromhex(text[2:])
        if len(value) == size:  # fromhex() skips spaces
            return value
    raise ValueError(f"{text[:80]!r} is not 0x and {2 * size} hex digits")


def parse_side(text: str) -> int:
    """BID or ASK."""
    side = _SIDES.get(text)
    if side is None:
        raise ValueError(f"{text[:80]!r} is not a side: B, A, Bid or Ask")
    return side
