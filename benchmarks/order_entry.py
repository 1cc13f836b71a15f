"""What a signed order costs in the sidecar: from its bytes read to its submission written, plus
from the node's answer read to its bytes sent.

    python benchmarks/order_entry.py [--seconds 6] [--per-client 10] [--busy-poll]

A real chain makes blocks of 100 ms; a real sidecar follows it, with all rules on. In the place of
the chain's submission socket another process answers at once, so that only the sidecar is timed.
So many WebSocket clients, in a process of their own, send ten orders a second each; in the second
half of the rows 1,000 more read l2Book of the same sidecar. Beside it, at the same time and pace: a
bare echo of the same bytes over a unix socket, and recovering the signer of the same order. (A
process that is asked ten times a second finds cold caches, whatever it does.) Ratios are what to
quote; `floor` is five echoes and a recovery.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import anyio
import msgspec
from coincurve import PrivateKey
from eth_hash.auto import keccak
from websockets.asyncio.client import connect

from sidecar.api.orders.signing import SignedAction, decode_signed, recover_signer, signed_digest
from sidecar.app import App
from sidecar.config import load_settings
from sidecar.node.submission import (
    Answer,
    RecordStream,
    Request,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from sidecar.node.submitter import Submitter
from sidecar.server.order_entry import OrderEntry
from sidecar.server.websocket_session import WebSocketSession
from sidecar.telemetry.logs import configure_logs

CLIENTS = (1, 10, 100)
READERS = 1_000
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PACE_MAX = 250.0  # of the bare echo, a second
RESPONSE = {"type": "order", "data": {"statuses": [{"resting": {"oid": 123456789}}]}}
_nonces = iter(range(time.time_ns() // 1_000_000, 1 << 62))
_context = multiprocessing.get_context("spawn")


class Timings:
    """Of the sidecar's process, ns of wall and of CPU, taken around the product's own calls: what
    lies between a call and the next, blocks for instance, is in them.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[int, int]] = []
        self.submitted_ns = 0  # the newest one
        self._started: dict[bytes, tuple[int, int]] = {}
        self._heard = self._read = (0, 0)

    def install(self) -> None:
        """Wraps what reads, submits, and answers."""
        hear, take = WebSocketSession._hear, OrderEntry.take  # noqa: SLF001
        feed, submit = RecordStream.feed, Submitter.submit

        def timed_hear(session: WebSocketSession, data: bytes) -> Any:
            self._heard = _clocks()
            return hear(session, data)

        def timed_take(orders: OrderEntry, incoming: Any) -> None:
            self._started[incoming.body] = self._heard
            take(orders, incoming)

        def timed_feed(records: RecordStream, data: bytes) -> None:
            self._read = _clocks()
            feed(records, data)

        def timed_submit(
            submitter: Submitter, body: bytes, received_ns: int, told: Any, *, urgent: bool
        ) -> None:
            def timed_told(answer: Any) -> None:
                told(answer)
                back = _since(self._read)
                self.parts.append((to_node[0] + back[0], to_node[1] + back[1]))

            submit(submitter, body, received_ns, timed_told, urgent=urgent)
            self.submitted_ns = time.perf_counter_ns()
            to_node = _since(self._started.pop(body))

        WebSocketSession._hear = timed_hear  # type: ignore[assignment, method-assign]  # noqa: SLF001
        OrderEntry.take = timed_take  # type: ignore[assignment, method-assign]
        RecordStream.feed = timed_feed  # type: ignore[assignment, method-assign]
        Submitter.submit = timed_submit  # type: ignore[assignment, method-assign]


def _clocks() -> tuple[int, int]:
    return time.perf_counter_ns(), time.thread_time_ns()


def _since(start: tuple[int, int]) -> tuple[int, int]:
    return time.perf_counter_ns() - start[0], time.thread_time_ns() - start[1]


def run_sidecar(ipc: str, pipe: Pipe, busy_poll: bool) -> None:
    """The sidecar's process: says its port, then its timings whenever it is asked."""
    flags = {
        "source.path": ipc,
        "source.busy_poll": str(busy_poll).lower(),
        "server.port": "0",
        "operator.port": "0",
        "server.connections_per_ip": "100000",
        **{f"orders.{name}": "10000000" for name in ("burst_per_ip", "burst_per_account")},
        "orders.in_flight_per_account": "100000",
    }
    configure_logs("error", "text")
    timings = Timings()
    timings.install()

    def answer() -> None:
        while pipe.recv() is not None:
            pipe.send((timings.parts.copy(), timings.submitted_ns))
            timings.parts.clear()
        os._exit(0)

    async def no_signals() -> AsyncIterator[Any]:
        await anyio.sleep_forever()
        yield

    async def main() -> None:
        threading.Thread(target=answer, daemon=True).start()
        settings = load_settings(None, {}, flags)
        await App(settings, lambda _, port: pipe.send(port)).run(no_signals())

    anyio.run(main, backend_options={"use_uvloop": True})


def run_node(path: str) -> None:
    """The node's process: answers every request at once; a plain echo on the path with `.echo`."""
    with ExitStack() as stack:
        for name, serve in ((path, _answer), (f"{path}.echo", _echo)):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(name)
            listener.listen()
            threading.Thread(target=_accept, args=(listener, serve), daemon=True).start()
        threading.Event().wait()


def _accept(listener: socket.socket, serve: Any) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def _answer(sock: socket.socket) -> None:
    records = RecordStream(1 << 20)
    while data := sock.recv(1 << 18):
        records.feed(data)
        while (payload := records.next_payload()) is not None:
            number = decode_request(payload).request_id
            sock.sendall(encode_answer(Answer(number, True, 1, RESPONSE)))


def _echo(sock: socket.socket) -> None:
    while data := sock.recv(1 << 18):
        sock.sendall(data)


def run_clients(url: str, key: bytes, count: int, per_s: float, seconds: float) -> None:
    """Orders at their pace, each client's spread over the time between two."""

    async def one(number: int) -> None:
        async with connect(url, compression=None) as websocket:
            interval = 1 / per_s
            due = time.monotonic() + interval * number / count
            for sent in range(int(seconds * per_s)):
                payload = signed_order(key)
                request = {"type": "action", "payload": payload}
                text = json.dumps({"method": "post", "id": sent, "request": request})
                await asyncio.sleep(max(due - time.monotonic(), 0))
                await websocket.send(text)
                answer = json.loads(await websocket.recv())
                assert answer["data"]["response"]["payload"]["response"] == RESPONSE, answer
                due += interval

    async def everybody() -> None:
        await asyncio.gather(*(one(number) for number in range(count)))

    asyncio.run(everybody())


def run_readers(url: str, pipe: Pipe) -> None:
    """Subscribers of l2Book that only read; until told."""
    import select  # noqa: PLC0415 - of this process alone

    port = int(url.split(":")[2].split("/", maxsplit=1)[0])
    subscribe = b'{"method":"subscribe","subscription":{"type":"l2Book","coin":"TOYOTA"}}'
    poll, sockets = select.epoll(), {}
    for _ in range(READERS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(UPGRADE + bytes((0x81, 0x80 | len(subscribe))) + bytes(4) + subscribe)
        sock.setblocking(False)
        sockets[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    pipe.send("reading")
    while not pipe.poll():
        for fd, _ in poll.poll(0.1):
            sockets[fd].recv(1 << 18)


def measure_disconnects(url: str, key: bytes, pipe: Pipe, how: str, count: int = 20) -> list[int]:
    """From the end of a connection to the submission of what it laid out, ns."""
    times = []
    port = int(url.split(":")[2].split("/", maxsplit=1)[0])
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            laid = {"method": "onDisconnect", "action": signed_order(key)}
            text = json.dumps(laid).encode()
            sock.sendall(UPGRADE + b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
            data = b""
            while b"nonce" not in data:
                data += sock.recv(1 << 16)
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            start = time.perf_counter_ns()
        time.sleep(0.05)
        pipe.send("tell")
        _, submitted_ns = pipe.recv()
        times.append(submitted_ns - start)
    return times


def signed_order(key: bytes) -> dict[str, Any]:
    """An order as the official client signs it, faster."""
    limit = {"limit": {"tif": "Gtc"}}
    order = {"a": 0, "b": True, "p": "2500", "s": "1", "r": False, "t": limit}
    return sign(key, {"type": "order", "orders": [order], "grouping": "na"})


def sign(key: bytes, action: dict[str, Any]) -> dict[str, Any]:
    """A signed action."""
    nonce = next(_nonces)
    request: dict[str, Any] = {
        "action": action,
        "nonce": nonce,
        "signature": {"r": "0x0", "s": "0x0", "v": 27},
        "vaultAddress": None,
    }
    digest = signed_digest(msgspec.convert(request, SignedAction))
    made = PrivateKey(key).sign_recoverable(digest, hasher=None)
    request["signature"] = {
        "r": f"0x{made[:32].hex()}",
        "s": f"0x{made[32:64].hex()}",
        "v": 27 + made[64],
    }
    return request


class Floor:
    """A bare echo and the recovery of a signer, measured while the clients send, at their pace."""

    def __init__(self, path: str, body: bytes, per_s: float) -> None:
        self.echoes: list[int] = []
        self.recoveries: list[int] = []
        self._path = f"{path}.echo"
        self._body = body
        self._interval_s = 1 / min(per_s, PACE_MAX)

    def measure(self, running: multiprocessing.process.BaseProcess) -> None:
        """Until the clients have ended."""
        clock = time.perf_counter_ns
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self._path)
            while running.is_alive():
                time.sleep(self._interval_s)
                start = clock()
                sock.sendall(self._body)
                received = 0
                while received < len(self._body):
                    received += len(sock.recv(1 << 16))
                echoed = clock()
                recover_signer(decode_signed(self._body))
                self.recoveries.append(clock() - echoed)
                self.echoes.append(echoed - start)


def fund(ipc: Path, key: bytes) -> None:
    """Money from the chain's faucet, past the sidecar."""
    action = {"type": "faucet", "amount": "100000000"}
    body = msgspec.json.encode(sign(key, action))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(ipc / "submit.sock"))
        sock.sendall(encode_request(Request(1, time.time_ns(), body)))
        records = RecordStream(1 << 20)
        while (payload := records.next_payload()) is None:
            records.feed(sock.recv(1 << 16))
        assert decode_answer(payload).ok


@contextmanager
def process(target: Any, *arguments: Any) -> Iterator[None]:
    """A process that ends with the block."""
    running = _context.Process(target=target, args=arguments, daemon=True)
    running.start()
    try:
        yield
    finally:
        running.kill()
        running.join()


@contextmanager
def chain(root: Path) -> Iterator[Path]:
    """A real chain in `root/chain`; what a sidecar reads of it, but for its socket, is in
    `root/ipc`.
    """
    made, ipc = root / "chain", root / "ipc"
    command = (sys.executable, "-m", "sidecar", "devnet", "--path", str(made))
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (made / "submit.sock").exists():
            time.sleep(0.05)
        ipc.mkdir()
        for name in ("chain.json", "log", "snapshots"):
            (ipc / name).symlink_to(made / name)
        time.sleep(5)  # until its books are full
        yield ipc
    finally:
        running.kill()
        running.wait()


def us(times: list[int], percent: int) -> float:
    """A percentile in us."""
    return statistics.quantiles(times, n=100, method="inclusive")[percent - 1] / 1000


def main() -> None:
    """Prints a row for each number of clients, without readers and with them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="of each row")
    parser.add_argument("--busy-poll", action="store_true", help="the sidecar never sleeps")
    parser.add_argument("--per-client", type=float, default=10.0, help="orders a second")
    options = parser.parse_args()
    key = keccak(b"a trader")
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        ipc = stack.enter_context(chain(Path(directory)))
        fund(Path(directory) / "chain", key)
        socket_path = str(ipc / "submit.sock")
        stack.enter_context(process(run_node, socket_path))
        ours, theirs = _context.Pipe()
        stack.enter_context(process(run_sidecar, str(ipc), theirs, options.busy_poll))
        url = f"ws://127.0.0.1:{ours.recv()}/ws"
        time.sleep(1)
        body = msgspec.json.encode(signed_order(key))
        print("clients readers   p50 us   p99 us  p99 CPU  echo us  recovery us  p50/floor")
        alone: dict[int, tuple[float, float]] = {}
        for readers in (0, READERS):
            if readers:
                told, tell = _context.Pipe()
                stack.enter_context(process(run_readers, url, tell))
                told.recv()
                time.sleep(2)
            for count in CLIENTS:
                ours.send("forget")
                ours.recv()
                runs = (url, key, count, options.per_client, options.seconds)
                clients = _context.Process(target=run_clients, args=runs)
                floor = Floor(socket_path, body, count * options.per_client)
                clients.start()
                floor.measure(clients)
                clients.join()
                assert clients.exitcode == 0
                ours.send("tell")
                parts, _ = ours.recv()
                wall, cpu = [one[0] for one in parts], [one[1] for one in parts]
                p50, p99, cpu99 = us(wall, 50), us(wall, 99), us(cpu, 99)
                echo, recovery = us(floor.echoes, 50), us(floor.recoveries, 50)
                ratio = p50 / (5 * echo + recovery)
                before = alone.setdefault(count, (p99, cpu99))
                times = f"; p99 {p99 / before[0]:.1f} times, CPU {cpu99 / before[1]:.1f} times"
                row = f"{count:7} {readers:7} {p50:8.0f} {p99:8.0f} {cpu99:8.0f}"
                row += f"{echo:9.0f} {recovery:12.0f}  {ratio:.2f}"
                print(f"{row}{times if readers else ''}", flush=True)
        for how in ("close", "reset"):
            delays = measure_disconnects(url, key, ours, how)
            worst = max(delays) / 1000
            print(f"on disconnect ({how}): p50 {us(delays, 50):.0f} us, worst {worst:.0f} us")
        ours.send(None)


if __name__ == "__main__":
    main()
