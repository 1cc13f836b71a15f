"""R10: messages of fragments without an end."""

from tests.load.report import Options, Row, at_most, share
from tests.load.stand import stand
from tests.load.strike import strike
from tests.load.wire import CLOSE, UPGRADE, masked

_FRAGMENTS = 5_000
_FIRST, _NEXT = 0x01, 0x00  # text and continuation, not the last


def run(options: Options) -> list[Row]:
    """Measures."""
    rows = []
    times = max(options.clients // 100, 5)
    with stand(options, "--block-ms", "500") as there:
        server = there.serve()
        usual = strike(server, times, masked(b"\x03\xe8", CLOSE), UPGRADE).cpu_ms
        for name, piece in (("empty", b""), ("1 byte", b"x")):
            flood = masked(piece, _FIRST) + masked(piece, _NEXT) * _FRAGMENTS
            strikes = strike(server, times, flood, UPGRADE)
            told = sum(one[:1] == b"\x88" and one[2:4] == b"\x03\xf0" for one in strikes.answers)
            rows.append(share("R10", f"{_FRAGMENTS} fragments, {name}: told 1008", told, times))
            more = strikes.cpu_ms - usual
            rows.append(at_most("R10", f"{name}: CPU for each beyond a handshake", more, 1, "ms"))
    return rows
