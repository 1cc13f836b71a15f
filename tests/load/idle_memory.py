"""R16: what an idle subscriber costs in memory."""

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import KIB, MIB, fit, stand
from tests.load.wire import COINS, UPGRADE, subscribe

_FIRST = 100  # what everything costs once


def run(options: Options) -> list[Row]:
    """Measures."""
    clients = fit(options.clients)
    with stand(options, "--block-ms", "1000") as there:
        server = there.serve()
        swarm = there.swarm(server)
        first = swarm.join(min(_FIRST, clients), _says)
        swarm.pump(30.0, lambda: all(peer.first_at for peer in first))
        before = server.rss
        peers = swarm.join(clients, _says)
        swarm.pump(60.0, lambda: all(peer.first_at for peer in peers))
        swarm.pump(options.seconds)
        after = server.rss
        served = sum(peer.code is None and bool(peer.heights) for peer in peers)
        return [
            share("R16", "subscribers of one l2Book each, served", served, clients),
            at_most("R16", "memory of each", (after - before) / clients / KIB, 20, "KiB"),
            at_most("R16", "of the whole process", after / MIB, 250, "MiB"),
            is_equal("R16", "heights that did not rise", sum(one.disorder for one in peers), 0),
        ]


def _says(number: int) -> bytes:
    return UPGRADE + subscribe(type="l2Book", coin=COINS[number % len(COINS)])
