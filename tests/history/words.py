"""Numbers, times and addresses as the API writes them, by docs/api.md alone."""

from datetime import UTC, datetime
from functools import lru_cache

_UNITS = 10**8
_NS_PER_S = 10**9


@lru_cache(maxsize=1 << 16)
def decimal(value: int) -> str:
    """A number of 1e-8: the shortest decimal text with at least one decimal."""
    whole, units = divmod(abs(value), _UNITS)
    text = f"{whole}.{units:08d}".rstrip("0")
    return ("-" if value < 0 else "") + (text + "0" if text.endswith(".") else text)


def rounded_px(px: int, n_sig_figs: int, mantissa: int, *, up: bool) -> int:
    """To so many significant figures, in steps of `mantissa` at the last one."""
    step: int = mantissa * 10 ** max(0, len(str(px)) - n_sig_figs)
    return -(-px // step) * step if up else px // step * step


@lru_cache(maxsize=1 << 14)
def hex_of(value: bytes) -> str:
    """0x and lower-case digits."""
    return "0x" + value.hex()


def address(text: str) -> bytes:
    """The bytes of an address."""
    return bytes.fromhex(text.removeprefix("0x"))


def iso_time(time_ns: int) -> str:
    """With nine decimals and no zone."""
    seconds, ns = divmod(time_ns, _NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns:09d}"
