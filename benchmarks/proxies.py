"""What TLS and a proxy in front cost: a ping's round trip over WebSocket through nginx and haproxy
with the shipped configurations (docs/proxies.md), beside one without either.

    python benchmarks/proxies.py [--pings 5000]

Each way has a sidecar of its own that serves the same log; one client asks them in turn, so that
all of them meet the same machine. nginx, haproxy and openssl have to be installed. Ratios are what
to quote.
"""

import argparse
import os
import socket
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from processes import Server
from proxy_clients import upstream_flags
from proxy_processes import Certificate, Proxy, make_certificate
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter

WAYS = ("direct", "nginx", "nginx-unix", "haproxy")
WARM_UP = 200  # pings
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PING = b'{"method":"ping"}'
PONG = b'\x81\x12{"channel":"pong"}'


def write_log(ipc: IpcDirectory) -> None:
    """A short one."""
    chain = Chain(DevnetConfig(path=ipc.root))
    ipc.create(chain.config.chain, chain.time_ns, 100)
    with LogWriter(ipc.log, chain.config.chain) as writer:
        for _ in range(5):
            writer.append(chain.step())


def open_way(stack: ExitStack, way: str, root: Path, certificate: Certificate) -> socket.socket:
    """Starts what it takes, and connects a client."""
    directory = root / way
    directory.mkdir()
    path = directory / "api.sock"
    flags = {} if way == "direct" else upstream_flags(way, path)
    flags |= {"source.path": str(root / "ipc"), "source.behind_after_s": "1e12"}
    flags["server.messages_per_minute"] = "1000000000"
    words = [(f"--{key.replace('.', '-').replace('_', '-')}", text) for key, text in flags.items()]
    server = Server(directory / "serve.log", *(word for pair in words for word in pair))
    stack.callback(server.kill)
    port = int(server.wait_for(r"serving ws://\S+?:(\d+)/ws")[1])
    if way == "direct":
        sock = socket.create_connection(("127.0.0.1", port), 20)
    else:
        upstream = f"unix:{path}" if way == "nginx-unix" else f"127.0.0.1:{port}"
        name = way.partition("-")[0]
        proxy = stack.enter_context(Proxy(name, directory, upstream, certificate))
        plain = socket.create_connection(("127.0.0.1", proxy.port), 20)
        sock = certificate.client().wrap_socket(plain, server_hostname="127.0.0.1")
    stack.enter_context(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(UPGRADE)
    assert b" 101 " in sock.recv(4096)
    return sock


def round_trip(sock: socket.socket) -> float:
    """In us."""
    frame = bytes((0x81, 0x80 | len(PING))) + bytes(4) + PING
    began = time.perf_counter()
    sock.sendall(frame)
    answer = sock.recv(4096)
    taken = time.perf_counter() - began
    assert answer == PONG, answer
    return taken * 1e6


def main() -> None:
    """A row for each way."""
    parser = argparse.ArgumentParser(description="a ping's round trip through TLS and a proxy")
    parser.add_argument("--pings", type=int, default=5000)
    pings = parser.parse_args().pings
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        root = Path(directory)
        write_log(IpcDirectory(root / "ipc"))
        certificate = make_certificate(root)
        socks = {way: open_way(stack, way, root, certificate) for way in WAYS}
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(WARM_UP + pings):
            for way, sock in socks.items():
                taken = round_trip(sock)
                if number >= WARM_UP:
                    times[way].append(taken)
    direct = statistics.median(times["direct"])
    print(f"{pings} pings each, {os.cpu_count()} cores")
    for way, taken_by in times.items():
        p50, p99 = statistics.median(taken_by), statistics.quantiles(taken_by, n=100)[98]
        print(
            f"{way:>10}: p50 {p50:.0f} us, p99 {p99:.0f} us; p50 {p50 / direct:.2f} times direct, "
            f"{p50 - direct:+.0f} us"
        )


if __name__ == "__main__":
    main()
