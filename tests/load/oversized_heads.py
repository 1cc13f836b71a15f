"""R8: request heads that are too long, in each way."""

import time

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import MIB, stand
from tests.load.strike import strike

_HEADS = {
    "a head of 229 kB": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: " + b"y" * 229_000 + b"\r\n\r\n",
    "20,000 headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
    "a Host of 15 kB": b"GET / HTTP/1.1\r\nHost: xn--" + b"x" * 15_000 + b"\r\n\r\n",
}


def run(options: Options) -> list[Row]:
    """Measures."""
    rows = []
    times = max(options.clients // 100, 5)
    with stand(options, "--block-ms", "500") as there:
        server = there.serve()
        watch = there.watch(server)
        for head in _HEADS.values():
            strike(server, 5, head)
        begin, before = time.monotonic(), server.rss
        for name, head in _HEADS.items():
            strikes = strike(server, times, head)
            refused = sum(one.split(b" ")[1:2] in ([b"400"], [b"431"]) for one in strikes.answers)
            rows.append(share("R8", f"{name}: told 431 or 400", refused, times))
            rows.append(at_most("R8", f"{name}: CPU for each", strikes.cpu_ms, 5, "ms"))
        grown = (server.rss - before) / MIB
        worst = watch.end().between(begin, time.monotonic()).answers_worst_ms
        rows.append(at_most("R8", f"memory grown by {3 * times}", grown, 2, "MiB"))
        rows.append(at_most("R8", "others' longest wait meanwhile", worst, 50, "ms"))
        rows.append(is_equal("R8", "what the others' clients complain about", watch.faults, []))
    return rows
