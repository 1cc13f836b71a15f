"""R7: connections whose request heads come a byte a second."""

import time

from sidecar.limits import REQUEST_HEAD_TIMEOUT_S
from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import KIB, Sidecar, fit, stand
from tests.load.swarm import Swarm
from tests.load.wire import UPGRADE

_FIRST = 100  # what everything costs once
_SLICES = 50  # of a second: they do not all send at once


def run(options: Options) -> list[Row]:
    """Measures."""
    clients = fit(options.clients)
    with stand(options) as there:
        server = there.serve()
        swarm, watch = there.swarm(server), there.watch(server)
        swarm.pump(2.0)
        swarm.join(_FIRST, UPGRADE[:1], answers=False)
        usual = _growth(_drip(swarm, server))
        before, begin = server.rss, time.monotonic()
        peers = swarm.join(clients, UPGRADE[:1], answers=False)
        joined = time.monotonic()
        most = max(memory for _, memory in _drip(swarm, server))
        end = time.monotonic()
        theirs = max(most - before - usual * (end - begin), 0)
        dripping = watch.end().between(joined, joined + REQUEST_HEAD_TIMEOUT_S / 2)
        seen = watch.between(begin, end)
        refused = sum(peer.first.startswith(b"HTTP/1.1 408 ") for peer in peers)
        last = max(peer.ended_at for peer in peers) - joined
        return [
            share("R7", "cut", sum(peer.code is not None for peer in peers), clients),
            share("R7", "told 408", refused, clients),
            at_most("R7", "the last one, after it came", last, REQUEST_HEAD_TIMEOUT_S + 1, "s"),
            at_most(
                "R7",
                "p99 of a new client's handshake, while they send",
                dripping.handshakes_p99_ms,
                100,
                "ms",
            ),
            at_most("R7", "and with their coming and going", seen.handshakes_p99_ms, 100, "ms"),
            at_most("R7", "memory of each", theirs / clients / KIB, 16, "KiB"),
            is_equal("R7", "what the others' clients complain about", watch.faults, []),
        ]


def _growth(samples: list[tuple[float, int]]) -> float:
    """Bytes a second by which it grows with the chain, once those who drip are all there."""
    (begin, before), (end, after) = samples[len(samples) // 4], samples[-1]
    return (after - before) / max(end - begin, 1.0)


def _drip(swarm: Swarm, server: Sidecar) -> list[tuple[float, int]]:
    """A byte a second from each until all have been let go, or should have been; what memory was
    used when.
    """
    samples, sent = [(time.monotonic(), server.rss)], 1
    while swarm.living and time.monotonic() - samples[0][0] < 3 * REQUEST_HEAD_TIMEOUT_S:
        _say_next(swarm, UPGRADE[sent : sent + 1])
        sent += 1
        samples.append((time.monotonic(), server.rss))
    return samples


def _say_next(swarm: Swarm, byte: bytes) -> None:
    """Takes a second."""
    begin, peers = time.monotonic(), swarm.living
    for part in range(_SLICES):
        for peer in peers[part::_SLICES]:
            if peer.code is None:
                peer.say(byte)
        swarm.pump(begin + (part + 1) / _SLICES - time.monotonic())
