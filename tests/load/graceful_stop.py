"""R20: SIGTERM: everybody is told, and it ends in time."""

import signal
import time

from sidecar.limits import DRAIN_TIMEOUT_S
from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import fit, stand
from tests.load.wire import COINS, UPGRADE, subscribe


def run(options: Options) -> list[Row]:
    """Measures."""
    clients = fit(options.clients // 2)
    with stand(options) as there:
        server = there.serve()
        swarm = there.swarm(server)
        peers = swarm.join(clients, _says)
        swarm.pump(30.0, lambda: all(peer.first_at for peer in peers))
        swarm.pump(min(options.seconds, 2.0))
        begin = time.monotonic()
        server.signal(signal.SIGTERM)
        swarm.pump(20.0, lambda: not swarm.living)
        code = server.wait()
        took = time.monotonic() - begin
        told = sum(peer.code == 1001 for peer in peers)
        return [
            share("R20", "told 1001", told, clients, least=0.999),
            is_equal("R20", "its exit code", code, 0),
            at_most("R20", "from the signal to its end", took, DRAIN_TIMEOUT_S, "s"),
            is_equal("R20", "heights that did not rise", sum(one.disorder for one in peers), 0),
        ]


def _says(number: int) -> bytes:
    return UPGRADE + subscribe(type="l2Book", coin=COINS[number % len(COINS)])
