"""Fixed-point numbers: every price, size and amount is an int in units of 1e-8.

No float touches money. Text on the wire is Hyperliquid's: the shortest decimal form with at least
one decimal.
"""

import re
from enum import Enum
from functools import lru_cache

from sidecar.errors import NumberInvalid

DECIMALS = 8
SCALE: int = 10**DECIMALS
NUMBER_MAX = (1 << 63) - 1  # of a price or size: the largest int of every language's 64 bits

_TEXT_CHARS_MAX = 64  # longer than any amount a chain can hold; keeps the cache's memory bounded
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")


class Rounding(Enum):
    """Which way a result that is not a whole number of units goes."""

    FLOOR = "floor"
    CEIL = "ceil"
    TOWARD_ZERO = "toward zero"
    HALF_EVEN = "half even"


@lru_cache(maxsize=1 << 16)
def parse(text: str) -> int:
    """Units of 1e-8 of a decimal text, exactly: ``"0.00017"`` is 17000.

    Raises `NumberInvalid` for anything but an optional minus sign, digits and at most 8 significant
    decimals. O(1); texts seen lately are remembered (prices and sizes repeat).
    """
    sign, whole, decimals = _split(text)
    if len(decimals) > DECIMALS:
        if decimals[DECIMALS:].strip("0"):
            raise NumberInvalid(f"{text!r} has more than {DECIMALS} decimals")
        decimals = decimals[:DECIMALS]
    units = int(whole + decimals.ljust(DECIMALS, "0"))
    return -units if sign else units


def parse_rounded(text: str, rounding: Rounding) -> int:
    """As `parse`, but decimals beyond the eighth are rounded instead of refused (spot balances
    have up to 18).
    """
    sign, whole, decimals = _split(text)
    units, rest = int(whole + decimals[:DECIMALS].ljust(DECIMALS, "0")), decimals[DECIMALS:]
    scale = 10 ** len(rest)
    numerator = units * scale + int(rest or "0")
    return divide(-numerator if sign else numerator, scale, rounding)


@lru_cache(maxsize=1 << 16)
def to_text(value: int) -> str:
    """Shortest decimal form with at least one decimal: 8130700000000 is ``"81307.0"``.

    O(1); values written lately are remembered, as in `parse`.
    """
    if value < 0:
        return "-" + to_text(-value)
    whole, units = divmod(value, SCALE)
    if not units:
        return f"{whole}.0"
    return f"{whole}.{units:08d}".rstrip("0")


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """A quotient of ints, rounded as told. Raises `ZeroDivisionError`."""
    if rounding is Rounding.FLOOR:
        return numerator // denominator
    if rounding is Rounding.CEIL:
        return -(-numerator // denominator)
    if rounding is Rounding.TOWARD_ZERO:
        quotient = abs(numerator) // abs(denominator)
        return quotient if (numerator < 0) == (denominator < 0) else -quotient
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * abs(rest) - abs(denominator)
    return quotient + (twice > 0 or (twice == 0 and quotient % 2 == 1))


def _split(text: str) -> tuple[str, str, str]:
    if len(text) > _TEXT_CHARS_MAX:
        raise NumberInvalid(
            f"a number of {len(text)} characters; at most {_TEXT_CHARS_MAX} make sense"
        )
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise NumberInvalid(f'{text!r} is not a decimal number such as "81307.0"')
    sign, whole, decimals = match.groups(default="")
    return sign, whole, decimals
