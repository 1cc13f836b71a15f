"""From the node's write of a block to the last byte that a client reads, beside the least that it
can take: one inotify wake and one hop over a socket.

    python benchmarks/latency.py [--clients 1 1000] [--blocks 200] [--busy-poll]

A development chain's log is written block by block, 50 ms apart; a real sidecar in its own process
follows it; clients in another read `trades`, `l2Book` and `blocks`, which ends a block's messages.
With many clients the time is that of the last one. At the same time a third process waits for the
same writes with inotify and sends 100 bytes to the same clients' process: the floor. Ratios are
what to quote.
"""

import argparse
import multiprocessing
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from inotify_simple import INotify, flags

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter

INTERVAL_S = 0.05
WARM_UP = 20  # blocks
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TOPICS = (
    b'{"method":"subscribe","subscription":{"type":"trades","coin":"TOYOTA"}}',
    b'{"method":"subscribe","subscription":{"type":"l2Book","coin":"TOYOTA"}}',
    b'{"method":"subscribe","subscription":{"type":"blocks"}}',
)
_END = re.compile(rb'"channel":"blocks".*?"height":(\d+)\}')
_context = multiprocessing.get_context("spawn")


def read_as_clients(port: int, count: int, floor_port: int, pipe: Pipe) -> None:
    """The clients' process: when the last of them had each block, and when the floor's bytes were
    there, as `perf_counter_ns`, which all processes share.
    """
    poll, clients = select.epoll(), dict[int, socket.socket]()
    subscribe = b"".join(bytes((0x81, 0x80 | len(one))) + bytes(4) + one for one in TOPICS)
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(UPGRADE + subscribe)
        sock.setblocking(False)
        clients[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    floor = socket.create_connection(("127.0.0.1", floor_port))
    floor.setblocking(False)
    clients[floor.fileno()] = floor
    poll.register(floor, select.EPOLLIN)
    time.sleep(0.5)
    pipe.send("reading")
    seen: dict[int, int] = {}
    last: dict[int, int] = {}
    floors: list[int] = []
    while not pipe.poll():
        for fd, _ in poll.poll(0.1):
            data = clients[fd].recv(1 << 18)
            now = time.perf_counter_ns()
            if fd == floor.fileno():
                floors += [now] * (len(data) // 100)
                continue
            for found in _END.finditer(data):
                height = int(found[1])
                seen[height] = seen.get(height, 0) + 1
                last[height] = now
    pipe.send(({height: at for height, at in last.items() if seen[height] == count}, floors))


def wake_and_send(log: str, pipe: Pipe) -> None:
    """The floor: 100 bytes for each write that inotify tells of."""
    with socket.create_server(("127.0.0.1", 0)) as listener, INotify() as inotify:
        pipe.send(listener.getsockname()[1])
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        inotify.add_watch(log, flags.MODIFY)
        while True:
            inotify.read()
            sock.sendall(b"x" * 100)


def measure(
    count: int, blocks: int, *, busy_poll: bool, operator_port: int = 0, flags: tuple[str, ...] = ()
) -> tuple[list[float], list[float]]:
    """Latencies in us, ours and the floor's, of each block."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        ipc = IpcDirectory(Path(directory) / "ipc")
        chain = Chain(DevnetConfig(path=ipc.root))
        ipc.create(chain.config.chain, chain.time_ns, 50)
        writer = stack.enter_context(LogWriter(ipc.log, chain.config.chain))
        for _ in range(60):
            writer.append(chain.step())
        port = _serve(stack, ipc.root, operator_port, *flags, busy_poll=busy_poll)
        floor_ours, floor_theirs = _context.Pipe()
        _start(stack, wake_and_send, str(ipc.log), floor_theirs)
        ours, theirs = _context.Pipe()
        _start(stack, read_as_clients, port, count, floor_ours.recv(), theirs)
        ours.recv()
        written: dict[int, int] = {}
        due = time.perf_counter()
        for _ in range(blocks + WARM_UP):
            time.sleep(INTERVAL_S / 2)  # the chain's own work is not in the way
            block = chain.step()
            due += INTERVAL_S
            time.sleep(max(due - time.perf_counter(), 0))
            written[block.height] = time.perf_counter_ns()
            writer.append(block)
        time.sleep(1)
        ours.send("stop")
        last, floors = ours.recv()
        heights = list(written)[WARM_UP:]
        assert set(heights) <= set(last), "a client missed a block"
        assert len(floors) == len(written), "the floor missed a write"
        times = [(last[height] - written[height]) / 1000 for height in heights]
        least = [(at - start) / 1000 for at, start in zip(floors, written.values(), strict=True)]
        return times, least[WARM_UP:]


def _serve(stack: ExitStack, ipc: Path, operator_port: int, *flags: str, busy_poll: bool) -> int:
    command = (sys.executable, "-m", "sidecar", "serve", "--source-path", str(ipc))
    options = ("--server-port", "0", "--source-behind-after-s", "1e12")
    operator = ("--operator-port", str(operator_port))
    limits = ("--server-connections-per-ip", "100000", "--log-level", "error")
    poll = ("--source-busy-poll", str(busy_poll).lower())
    server = subprocess.Popen(
        (*command, *options, *operator, *limits, *poll, *flags), stdout=subprocess.PIPE
    )
    stack.callback(server.wait)
    stack.callback(server.kill)
    assert server.stdout is not None
    found = re.search(rb":(\d+)/ws", server.stdout.readline())
    assert found is not None
    return int(found[1])


def _start(stack: ExitStack, target: object, *arguments: object) -> None:
    process = _context.Process(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
    process.start()
    stack.callback(process.join)
    stack.callback(process.kill)


def main() -> None:
    """A row for each number of clients."""
    parser = argparse.ArgumentParser(description="from the node's write to the client's read")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--busy-poll", action="store_true", help="the sidecar never sleeps")
    options = parser.parse_args()
    print(f"{options.blocks} blocks, {os.cpu_count()} cores")
    for count in options.clients:
        times, least = measure(count, options.blocks, busy_poll=options.busy_poll)
        rows = []
        for name, one in (("sidecar", times), ("floor", least)):
            cuts = statistics.quantiles(one, n=100, method="inclusive")
            rows.append(f"{name} p50 {cuts[49]:.0f} us, p99 {cuts[98]:.0f} us")
        ratio = statistics.median(times) / statistics.median(least)
        print(f"{count:6} clients: {'; '.join(rows)}; p50 {ratio:.1f} times the floor", flush=True)


if __name__ == "__main__":
    main()
