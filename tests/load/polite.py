"""Clients that behave, very many of them: memory, a storm of reconnects, a graceful end."""

import signal
import time

from tests.load.crowd import UPGRADE, subscribe
from tests.load.world import Row, fit, rss, world

_BLOCKS = UPGRADE % b"" + subscribe(type="blocks")


def idle_memory(clients: int, _: float) -> list[Row]:
    """R16: what an idle subscriber costs."""
    with world("--block-ms", "500") as there:
        server = there.serve("--server-connections-max", "20000")
        crowd = there.crowd(server)
        crowd.connect(50, UPGRADE % b"" + subscribe(type="l2Book", coin="TOYOTA"))
        crowd.pump(1.0)
        before = rss(server)
        clients = fit(clients)
        made = crowd.connect(clients, UPGRADE % b"" + subscribe(type="l2Book", coin="TOYOTA"))
        crowd.pump(30, lambda: all(client.received > 600 for client in made))
        crowd.pump(2.0)
        after = rss(server)
        each = (after - before) / clients / 1024
        whole = after / (1 << 20)
        return [
            Row("R16", f"memory each of {clients} idle subscribers", f"{each:.1f} KiB", "20 KiB",
                each <= 20),
            Row("R16", "of the whole process", f"{whole:.0f} MiB", "250 MiB", whole <= 250),
            Row("R16", "still connected", str(len(crowd.alive)), str(clients + 50),
                len(crowd.alive) == clients + 50),
        ]  # fmt: skip


def reconnect_storm(clients: int, seconds: float) -> list[Row]:
    """R19: everybody comes back at once after a restart; nobody who is in is let go."""
    clients = fit(clients)
    with world("--block-ms", "100") as there:
        server = there.serve("--server-connections-max", "20000")
        crowd = there.crowd(server)
        began = time.monotonic()
        made = crowd.connect(clients, _BLOCKS)
        served = crowd.pump(60, lambda: all(client.received > 300 for client in made))
        took = time.monotonic() - began
        crowd.pump(seconds)
        checked = [client.heights for client in made if client.heights]
        whole = all(heights == list(range(heights[0], heights[-1] + 1)) for heights in checked)
        return [
            Row("R19", f"{clients} clients at once, all with their first block", f"{took:.1f} s",
                "30 s", served and took <= 30),
            Row("R19", "of them alive some seconds later", str(len(crowd.alive)), str(clients),
                len(crowd.alive) == clients),
            Row("R19", f"blocks without a gap, {len(checked)} clients looked at", str(whole),
                "True", whole and bool(checked)),
        ]  # fmt: skip


def graceful_stop(clients: int, seconds: float) -> list[Row]:
    """R20: SIGTERM: everybody is told 1001, and it ends in time."""
    clients = fit(clients // 2)
    with world("--block-ms", "100") as there:
        server = there.serve("--server-connections-max", "20000")
        crowd = there.crowd(server)
        made = crowd.connect(clients, _BLOCKS)
        crowd.pump(60, lambda: all(client.received > 300 for client in made))
        crowd.pump(min(seconds, 2.0))
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        crowd.pump(20, lambda: not crowd.alive)
        code = server.wait()
        took = time.monotonic() - began
        told = sum(client.code == 1001 for client in made)
        return [
            Row("R20", f"told 1001, of {clients}", f"{told / clients:.2%}", "99.9%",
                told >= 0.999 * clients),
            Row("R20", "exit code", str(code), "0", code == 0),
            Row("R20", "from SIGTERM to the end", f"{took:.1f} s", "5 s", took <= 5),
        ]  # fmt: skip
