"""Clients that want to do harm, while somebody else is served: bombs, floods, close abuse."""

import resource
import time
import zlib
from pathlib import Path

from tests.load.crowd import UPGRADE, Client, Crowd, masked, subscribe
from tests.load.world import Probe, Row, Server, fit, rss, world

_DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


def heads_and_bombs(clients: int, seconds: float) -> list[Row]:
    """R8, R9, R10: what is too big, refused before it costs anything."""
    rows = []
    with world("--block-ms", "100") as there:
        server = there.serve()
        before = rss(server)
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = deflate.compress(bytes(64 << 20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        attacks = {
            "R8 a head of 229 kB": (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 38_000, b" 431 "),
            "R8 a Host of 15 kB": (b"GET / HTTP/1.1\r\nHost: " + b"x" * 15_000 + b"\r\n\r\n",
                                   b" 431 "),
            "R9 65 kB that become 64 MiB": (UPGRADE % _DEFLATE + masked(bomb[:-4][:65_000], 0xC1),
                                            b"\x88"),
            "R10 empty fragments": (UPGRADE % b"" + masked(b"", 0x01) + masked(b"", 0x00) * 5_000,
                                    b"\x88"),
        }  # fmt: skip
        for name, (data, answer) in attacks.items():
            probe = Probe(server)
            crowd = there.crowd(server)
            for _ in range(max(clients // 1000, 3)):
                _attack(crowd, data)
            crowd.pump(min(seconds, 3.0))
            attackers = list(crowd.clients.values())
            done = sum(client.code is not None and answer in client.first for client in attackers)
            target, _, what = name.partition(" ")
            rows.append(Row(target, f"{what}: refused, of {len(attackers)}", str(done),
                            str(len(attackers)), done == len(attackers)))  # fmt: skip
            worst = probe.result().worst
            rows.append(Row(target, f"{what}: somebody else's worst", f"{worst:.1f} ms", "50 ms",
                            worst <= 50))  # fmt: skip
        grown = (rss(server) - before) / (1 << 20)
        rows.append(Row("R9", "memory grown by all of it", f"{grown:.1f} MiB", "8 MiB", grown <= 8))
    return rows


def ping_flood(_: int, seconds: float) -> list[Row]:
    """R11: pings without an end from one who does not read."""
    with world("--block-ms", "100") as there:
        server = there.serve()
        probe = Probe(server)
        time.sleep(seconds)
        alone = probe.result()
        crowd = there.crowd(server)
        (client,) = crowd.connect(1, UPGRADE % b"")
        crowd.pump(1, lambda: client.open)
        probe, began = Probe(server), time.monotonic()
        pings = masked(b"ping", 0x89) * 100
        while client.code is None and time.monotonic() - began < 5:
            try:
                client.sock.send(pings)
            except OSError:
                crowd.pump(0.01)
        crowd.pump(3, lambda: client.code is not None)
        took = time.monotonic() - began
        time.sleep(max(seconds - took, 0))
        beside = probe.result()
        return [
            Row("R11", "closed with", str(client.code), "1008, 1006",
                client.code in (1006, 1008)),
            Row("R11", "after", f"{took:.2f} s", "1 s", took <= 1),
            Row("R11", f"others' p99, {alone.p99:.1f} ms before", f"{beside.p99:.1f} ms", "twice",
                beside.p99 <= 2 * alone.p99),
        ]  # fmt: skip


def close_abuse(clients: int, _: float) -> list[Row]:
    """R13: they ignore our Close, send for ever, or never read."""
    clients = fit(max(clients // 100, 5))
    with world("--block-ms", "100") as there:
        server = there.serve("--server-messages-per-minute", "1")
        crowd = there.crowd(server)
        data = UPGRADE % b"" + masked(b"{}") * 3  # one too many: 1008
        ignoring = crowd.connect(clients, data)
        chatting = crowd.connect(clients, data)
        deaf = crowd.connect(clients, data, reads=False)
        began = time.monotonic()
        while time.monotonic() - began < 10 and crowd.alive:
            crowd.pump(0.2)
            for client in chatting:
                try:
                    client.sock.send(masked(b"{}"))
                except OSError:
                    continue
            if time.monotonic() - began > 6:
                crowd.watch(client for client in deaf if client.code is None)
                deaf = []
        took = time.monotonic() - began
        told = sum(client.code == 1008 for client in ignoring)
        left = len(crowd.alive)
        return [
            Row("R13", f"see our Close, of {clients} that ignore it", str(told), str(clients),
                told == clients),
            Row("R13", f"left after 10 s, of {3 * clients}", str(left), "0", left == 0),
            Row("R13", "all ended in (close time-out 5 s)", f"{took:.1f} s", "7 s", took <= 7),
        ]  # fmt: skip


def descriptors(_: int, seconds: float) -> list[Row]:
    """R14: no descriptor is left for a connection."""
    with world("--block-ms", "100") as there:
        server = there.serve("--server-connections-max", "100000")
        limit = _lower_descriptors(server, 40)
        crowd = there.crowd(server)
        first = crowd.connect(10, UPGRADE % b"" + subscribe(type="blocks"), every=1)
        crowd.pump(2, lambda: all(client.heights for client in first))
        more = crowd.connect(80, UPGRADE % b"")
        crowd.pump(seconds)
        lines = server.output.count("can't accept connections")
        for client in more:
            if client.code is None:
                client.code = 1000
                client.sock.close()
        began = time.monotonic()
        (late,) = crowd.connect(1, UPGRADE % b"")
        crowd.pump(5, lambda: late.open)
        took = time.monotonic() - began
        alive = sum(client.code is None for client in first)
        return [
            Row("R14", f"runs with {limit} descriptors", str(server.running), "True",
                server.running),
            Row("R14", "clients from before, of 10", str(alive), "10", alive == 10),
            Row("R14", "accepts again after", f"{took * 1e3:.0f} ms", "200 ms",
                late.open and took <= 0.2),
            Row("R14", f"log lines in {seconds:.0f} s", str(lines), f"{seconds + 1:.0f}",
                lines <= seconds + 1),
        ]  # fmt: skip


def _lower_descriptors(server: Server, spare: int) -> int:
    used = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used + spare, used + spare))
    return used + spare


def _attack(crowd: Crowd, data: bytes) -> Client | None:
    """One who may be reset while it still sends."""
    try:
        (client,) = crowd.connect(1, data)
    except OSError:
        return None
    return client
