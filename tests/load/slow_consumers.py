"""R6: one client in a hundred stops reading while everything is sent."""

import time
from datetime import datetime
from pathlib import Path

from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import KIB, Sidecar, fit, stand
from tests.load.swarm import Peer
from tests.load.wire import COINS, UPGRADE, subscribe

_LOOK_S = 0.5
_EVICTED_S = 9.0  # an age of 5 s, then the close time-out
_RECEIVE_BUFFER = 4 << 10  # so that the sidecar notices soon


def run(options: Options) -> list[Row]:
    """Measures."""
    clients = fit(options.clients // 2)
    with stand(options) as there:
        server = there.serve("--log-level", "debug")
        swarm = there.swarm(server)
        slow = swarm.join(max(clients // 100, 3), _says, receive_buffer=_RECEIVE_BUFFER)
        healthy = swarm.join(clients - len(slow), _says)
        watch = there.watch(server)
        swarm.pump(2.0)
        begin, resident = time.monotonic(), server.rss
        swarm.pump(options.seconds)
        stopped, stopped_at, before = time.monotonic(), time.time(), server.rss
        usual = max(before - resident, 0) / (stopped - begin)  # what grows anyway
        swarm.deafen(slow)
        most, kernel = before, 0
        while time.monotonic() - stopped < max(options.seconds, _EVICTED_S):
            swarm.pump(_LOOK_S)
            grown = usual * (time.monotonic() - stopped)
            most = max(most, server.rss - int(grown))
            kernel = max(kernel, _kernel_queue(server, slow))
        end = time.monotonic()
        evicted = _evicted_after(server, stopped_at)
        swarm.wake(slow)
        swarm.pump(3.0)
        watch.end()
        alone, beside = watch.between(begin, stopped), watch.between(stopped, end)
        living = sum(peer.code is None for peer in slow)
        return [
            share("R6", "slow ones evicted or conflated", len(evicted) + living, len(slow)),
            at_most("R6", f"the last of {len(evicted)} evicted after",
                    max(evicted, default=0.0), 5, "s"),
            at_most("R6", "memory of a slow one", (most - before) / len(slow) / KIB, 256, "KiB"),
            at_most("R6", "kernel memory of a slow one", kernel / KIB, 64, "KiB"),
            at_most("R6", f"others' p99, {alone.answers_p99_ms:.2f} ms before",
                    beside.answers_p99_ms, round(1.1 * alone.answers_p99_ms, 2), "ms"),
            share("R6", "others alive", sum(peer.code is None for peer in healthy), len(healthy)),
            is_equal("R6", "heights that did not rise, of all", _disorder(swarm.peers), 0),
            is_equal("R6", "what the others' clients complain about", watch.faults, []),
        ]  # fmt: skip


def _says(number: int) -> bytes:
    coin = COINS[number % len(COINS)]
    topics = subscribe(type="trades", coin=coin) + subscribe(type="l2Book", coin=coin)
    return UPGRADE + subscribe(type="blocks") + topics


def _evicted_after(server: Sidecar, stopped_at: float) -> list[float]:
    lines = (line for line in server.said("closing") if line["reason"].startswith("too slow"))
    return [datetime.fromisoformat(line["timestamp"]).timestamp() - stopped_at for line in lines]


def _kernel_queue(server: Sidecar, slow: list[Peer]) -> int:
    """Bytes that wait in the kernel for the one for whom most wait."""
    ports = {peer.sock.getsockname()[1] for peer in slow if peer.code is None}
    most = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if int(local[-4:], 16) == server.port and int(remote[-4:], 16) in ports:
            most = max(most, int(queues.partition(":")[0], 16))
    return most


def _disorder(peers: list[Peer]) -> int:
    return sum(peer.disorder for peer in peers)
