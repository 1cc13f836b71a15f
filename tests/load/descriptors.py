"""R14: no descriptor is left for another connection."""

import time

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import stand
from tests.load.wire import UPGRADE, subscribe

_SPARE = 5
_OUTSIDE = 40


def run(options: Options) -> list[Row]:
    """Measures."""
    with stand(options) as there:
        server = there.serve()
        swarm = there.swarm(server)
        inside = swarm.join(10, UPGRADE + subscribe(type="blocks"))
        swarm.pump(10.0, lambda: all(peer.first_at for peer in inside))
        limit = server.limit_descriptors(_SPARE)
        outside = swarm.join(_SPARE + _OUTSIDE, UPGRADE)
        begin, before = time.monotonic(), server.complaints
        swarm.pump(options.seconds)
        waited = time.monotonic() - begin
        lines = server.complaints - before
        came_in = sum(peer.open for peer in outside)
        heights = [peer.heights[b"blocks"] for peer in inside]
        swarm.leave(outside)
        begin = time.monotonic()
        (late,) = swarm.join(1, UPGRADE)
        swarm.pump(10.0, lambda: late.open)
        took = (time.monotonic() - begin) * 1e3
        swarm.pump(1.0)
        later = [peer.heights[b"blocks"] for peer in inside]
        served = sum(a > b for a, b in zip(later, heights, strict=True))
        return [
            is_equal("R14", f"runs with {limit} descriptors", server.running, True),
            share("R14", "the others are served on", served, len(inside)),
            is_equal("R14", f"came in, with {_SPARE} descriptors left", came_in, _SPARE),
            is_equal("R14", "comes in once they are free", late.open, True),
            at_most("R14", "after", took, 200, "ms"),
            at_most(
                "R14", "warnings and errors logged a second meanwhile", lines / waited, 1, "/s"
            ),
        ]
