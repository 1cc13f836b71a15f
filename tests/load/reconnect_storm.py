"""R19: the sidecar is killed and started again, and everybody comes back at once."""

import time

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import fit, stand
from tests.load.wire import COINS, UPGRADE, subscribe


def run(options: Options) -> list[Row]:
    """Measures."""
    clients = fit(options.clients)
    with stand(options) as there:
        server = there.serve()
        swarm = there.swarm(server)
        peers = swarm.join(clients, _says)
        swarm.pump(30.0, lambda: all(peer.first_at for peer in peers))
        swarm.returning = _says(0)
        killed = time.monotonic()
        server.kill()
        server = there.serve("--server-port", str(server.port))
        ready, cpu = time.monotonic(), server.cpu_s
        swarm.pump(60.0, lambda: sum(peer.first_at > ready for peer in swarm.living) == clients)
        took, cpu = time.monotonic() - ready, server.cpu_s - cpu
        swarm.pump(options.seconds)
        served = [peer for peer in swarm.living if peer.first_at > ready]
        back = [peer for peer in swarm.peers if peer.open and peer.first_at > ready]
        return [
            share("R19", "came back and are served", len(served), clients),
            at_most("R19", f"all, from a start that took {ready - killed:.1f} s", took, 30, "s"),
            is_equal("R19", "let go who was in", sum(one.code is not None for one in back), 0),
            is_equal("R19", "heights that did not rise", sum(one.disorder for one in back), 0),
            at_most("R19", "CPU for each", cpu / clients * 1e3, 3, "ms"),
        ]


def _says(number: int) -> bytes:
    return UPGRADE + subscribe(type="l2Book", coin=COINS[number % len(COINS)])
