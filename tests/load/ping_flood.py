"""R11: pings without an end from one who reads nothing."""

import time

from tests.load.report import Options, Row, at_most, is_equal
from tests.load.stand import Sidecar, stand
from tests.load.wire import PING, UPGRADE, masked

_PINGS = masked(b"", PING) * 1_000
_EVERY_S = 0.01
_LOST_S = 8.0  # the close time-out, and some


def run(options: Options) -> list[Row]:
    """Measures."""
    with stand(options) as there:
        server = there.serve("--log-level", "debug")
        swarm, watch = there.swarm(server), there.watch(server)
        swarm.pump(1.0)
        alone = time.monotonic()
        swarm.pump(options.seconds)
        (peer,) = swarm.join(1, UPGRADE, answers=False)
        swarm.pump(5.0, lambda: peer.open)
        swarm.deafen([peer])
        begin, told_after, sent = time.monotonic(), None, 0
        while time.monotonic() - begin < max(options.seconds, _LOST_S):
            sent += peer.say(_PINGS)
            if told_after is None and _refused(server):
                told_after = time.monotonic() - begin
            time.sleep(_EVERY_S)
        end = time.monotonic()
        swarm.wake([peer])
        swarm.pump(5.0, lambda: peer.code is not None)
        watch.end()
        before, beside = watch.between(alone, begin), watch.between(begin, end)
        return [
            is_equal("R11", "let go for its control frames", _refused(server), True),
            at_most("R11", "after", told_after or 99.0, 1, "s"),
            is_equal("R11", "and in the end gone", peer.code is not None, True),
            at_most("R11", f"others' p99, {before.answers_p99_ms:.2f} ms before",
                    beside.answers_p99_ms, round(2 * before.answers_p99_ms, 2), "ms"),
            is_equal("R11", "what the others' clients complain about", watch.faults, []),
        ]  # fmt: skip


def _refused(server: Sidecar) -> bool:
    return any("control frames" in line["reason"] for line in server.said("closing"))
