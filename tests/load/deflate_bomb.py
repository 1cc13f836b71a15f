"""R9: 65 kB on the wire that would be 64 MiB."""

import statistics
import zlib

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import MIB, Sidecar, stand
from tests.load.strike import strike
from tests.load.wire import UPGRADE_WITH_DEFLATE, masked

_DEFLATED_TEXT = 0xC1


def run(options: Options) -> list[Row]:
    """Measures."""
    times = max(options.clients // 100, 5)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(bytes(64 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    bomb = masked(packed[:-4], _DEFLATED_TEXT)
    with stand(options, "--block-ms", "500") as there:
        server = there.serve()
        strike(server, 3, masked(b"{}", 0x88), UPGRADE_WITH_DEFLATE)
        before = _reset_peak(server)
        strikes = strike(server, times, bomb, UPGRADE_WITH_DEFLATE)
        told = sum(one[:1] == b"\x88" and one[2:4] == b"\x03\xf1" for one in strikes.answers)
        return [
            share("R9", f"{len(bomb):,} bytes that become 64 MiB: told 1009", told, times),
            at_most("R9", "told after (median)", statistics.median(strikes.took_ms), 10, "ms"),
            at_most("R9", "CPU for each, with its handshake", strikes.cpu_ms, 10, "ms"),
            at_most("R9", "memory at the most", (_peak(server) - before) / MIB, 2, "MiB"),
            is_equal("R9", "the sidecar runs", server.running, True),
        ]


def _reset_peak(server: Sidecar) -> int:
    """From now on `_peak` begins anew; what is resident."""
    with open(f"/proc/{server.pid}/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")
    return server.rss


def _peak(server: Sidecar) -> int:
    with open(f"/proc/{server.pid}/status") as file:  # noqa: PTH123
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
