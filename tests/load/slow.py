"""Clients that do not read, or take for ever: slow consumers, slowloris, half-open peers."""

import time
from itertools import pairwise

from tests.load.crowd import UPGRADE, Client, Crowd, subscribe
from tests.load.world import Latency, Probe, Row, Server, fit, rss, world

COINS = ("TOYOTA", "SONY", "NTT")


def slow_consumers(clients: int, seconds: float) -> list[Row]:
    """R6: beside a thousand that read, a hundred that stop."""
    clients = fit(clients)
    data = UPGRADE % b"" + subscribe(type="blocks")
    for coin in COINS:
        data += subscribe(type="trades", coin=coin) + subscribe(type="bookDelta", coin=coin)
    with world("--block-ms", "100", "--actions-per-block", "100") as there:
        server = there.serve("--server-connections-max", "20000")
        crowd = there.crowd(server)
        healthy = crowd.connect(clients // 10, data)
        crowd.pump(2)
        began = rss(server)
        alone = _latency_of(server, crowd, seconds + 8)
        before = rss(server)
        slow = crowd.connect(clients // 100, data, receive_buffer=8 << 10, reads=False)
        beside = _latency_of(server, crowd, seconds + 8)
        own = (rss(server) - before) - (before - began)  # the state grows meanwhile
        crowd.watch(slow)
        crowd.pump(5, lambda: all(client.code is not None for client in slow))
        told = sum(client.code == 1013 for client in slow)
        each = own / len(slow) / 1024
        lost = sum(client.code is not None for client in healthy)
        return [
            Row("R6", f"closed with 1013, of {len(slow)} that read nothing", str(told),
                str(len(slow)), told == len(slow)),
            Row("R6", "memory each", f"{each:.0f} KiB", "256 KiB", each <= 256),
            Row("R6", f"others' p99, {alone.p99:.1f} ms before", f"{beside.p99:.1f} ms", "+10%",
                beside.p99 <= 1.1 * alone.p99),
            Row("R6", f"healthy ones lost, of {len(healthy)}", str(lost), "0", lost == 0),
            Row("R6", "their blocks without a gap", str(_whole(healthy)), "True",
                _whole(healthy)),
        ]  # fmt: skip


def slowloris(clients: int, seconds: float) -> list[Row]:
    """R7: heads that come a byte a second."""
    clients = fit(clients)
    with world("--block-ms", "100") as there:
        server = there.serve("--server-connections-max", "20000")
        crowd = there.crowd(server)
        before = rss(server)
        began = time.monotonic()
        made = crowd.connect(clients, b"G")
        at_most = 10.0 + time.monotonic() - began + 2  # head time-out, behind the last one
        probe, most, sent = Probe(server), before, 1
        while crowd.alive and time.monotonic() - began < at_most + seconds:
            most = max(most, rss(server))
            for part in range(50):  # of a second
                for client in made[part::50]:
                    if client.code is None:
                        _send(client, UPGRADE[sent : sent + 1])
                crowd.pump(0.02)
            sent += 1
        latency = probe.result()
        longest = max(client.lived_s for client in made)
        each = (most - before) / clients / 1024
        cut = sum(client.code is not None for client in made)
        return [
            Row("R7", f"cut, of {clients} at a byte a second", str(cut), str(clients),
                cut == clients),
            Row("R7", "the longest from its connect (time-out 10 s)", f"{longest:.1f} s",
                "12 s", longest <= 12),
            Row("R7", "somebody else's p99 meanwhile", f"{latency.p99:.1f} ms", "100 ms",
                latency.p99 <= 100),
            Row("R7", "memory each", f"{each:.1f} KiB", "16 KiB", each <= 16),
        ]  # fmt: skip


def half_open(clients: int, _: float) -> list[Row]:
    """R12: peers that are gone without a word: they answer no ping."""
    clients = fit(clients // 10)
    with world("--block-ms", "100") as there:
        server = there.serve("--server-ping-interval-s", "2", "--server-pong-timeout-s", "2")
        crowd = there.crowd(server)
        made = crowd.connect(clients, UPGRADE % b"")
        began = time.monotonic()
        crowd.pump(20, lambda: not crowd.alive)
        took = time.monotonic() - began
        gone = sum(client.code is not None for client in made)
        return [
            Row("R12", f"reaped, of {clients} that answer no ping", str(gone), str(clients),
                gone == clients),
            Row("R12", "in, with 2 s and 2 s", f"{took:.1f} s", "7 s", took <= 7),
        ]  # fmt: skip


def _latency_of(server: Server, crowd: Crowd, seconds: float) -> Latency:
    """Somebody else's, while the crowd reads."""
    probe = Probe(server)
    crowd.pump(seconds)
    return probe.result()


def _send(client: Client, data: bytes) -> None:
    try:
        client.sock.send(data)
    except OSError:
        return  # it learns of its end when it reads


def _whole(clients: list[Client]) -> bool:
    checked = [client.heights for client in clients if client.heights]
    rising = (all(a < b for a, b in pairwise(seen)) for seen in checked)
    return bool(checked) and all(rising)
