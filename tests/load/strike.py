"""One attack after another, each by a client of its own that sends everything and then reads."""

import contextlib
import socket
import time
from typing import NamedTuple

from tests.load.stand import Sidecar

_PATIENCE_S = 10.0


class Strikes(NamedTuple):
    """What came of some attacks of one kind."""

    answers: list[bytes]  # all that each attacker read
    took_ms: list[float]  # from the last byte sent to the first of the answer
    cpu_ms: float  # of the sidecar, for each


def strike(server: Sidecar, times: int, data: bytes, opening: bytes = b"") -> Strikes:
    """`data` follows the answer to `opening`, if there is one. What the sidecar does all the time
    is taken off.
    """
    began, cpu = time.monotonic(), server.cpu_s
    time.sleep(1.0)
    usual = (server.cpu_s - cpu) / (time.monotonic() - began)
    began, cpu = time.monotonic(), server.cpu_s
    answers, took = zip(*(_one(server.port, opening, data) for _ in range(times)), strict=True)
    used = server.cpu_s - cpu - usual * (time.monotonic() - began)
    return Strikes(list(answers), list(took), used / times * 1e3)


def _one(port: int, opening: bytes, data: bytes) -> tuple[bytes, float]:
    answer, took = b"", _PATIENCE_S * 1e3
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S) as sock:
        if opening:
            sock.sendall(opening)
            while b"\r\n\r\n" not in answer:
                answer += sock.recv(4096)
            answer = b""
        began = time.monotonic()
        with contextlib.suppress(OSError):  # it may have been let go before it was through
            sock.sendall(data)
        with contextlib.suppress(OSError):
            while more := sock.recv(1 << 16):
                if not answer:
                    took = (time.monotonic() - began) * 1e3
                answer += more
    return answer, took
