"""R12: peers that are gone without a word: they answer no ping, and some do not read either."""

import time

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import fit, stand
from tests.load.wire import COINS, UPGRADE, subscribe

_INTERVAL_S = _TIMEOUT_S = 3.0
_LATE_S = 3.0  # both are looked at once a second, and thousands end at once


def run(options: Options) -> list[Row]:
    """Measures."""
    clients = fit(options.clients) // 3
    interval = ("--server-ping-interval-s", str(_INTERVAL_S))
    with stand(options) as there:
        server = there.serve(*interval, "--server-pong-timeout-s", str(_TIMEOUT_S))
        swarm = there.swarm(server)
        living = swarm.join(clients, UPGRADE)
        swarm.pump(10.0, lambda: all(peer.open for peer in living))
        start = server.descriptors
        idle = swarm.join(clients, UPGRADE, answers=False)
        busy = swarm.join(clients, _says, answers=False)
        swarm.pump(2.0, lambda: all(peer.open for peer in idle + busy))
        swarm.deafen(busy)
        begin = time.monotonic()
        gone = swarm.pump(20.0, lambda: server.descriptors <= start)
        took = time.monotonic() - begin
        swarm.wake(busy)
        swarm.pump(3.0)
        bound = _INTERVAL_S + _TIMEOUT_S + _LATE_S
        return [
            share("R12", "reaped, idle", sum(peer.code is not None for peer in idle), clients),
            share("R12", "reaped, busy", sum(peer.code is not None for peer in busy), clients),
            at_most("R12", f"all, with {_INTERVAL_S:g} s and {_TIMEOUT_S:g} s", took, bound, "s"),
            is_equal("R12", "descriptors are as before", gone, True),
            share("R12", "who answers lives", sum(peer.code is None for peer in living), clients),
        ]


def _says(number: int) -> bytes:
    return UPGRADE + subscribe(type="l2Book", coin=COINS[number % len(COINS)])
