"""One polite client: pings every 5 ms until SIGTERM, then prints how long each took, in ms."""

import signal
import socket
import sys
import time

from tests.load.crowd import UPGRADE, masked

_PING = masked(b'{"method":"ping"}')
_PONG = b'{"channel":"pong"}'


def main(port: int) -> None:
    """Until it is ended."""
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=15) as sock:
        sock.sendall(UPGRADE % b"")
        while b"\r\n\r\n" not in sock.recv(4096):
            pass
        while going:
            began = time.perf_counter()
            sock.sendall(_PING)
            while _PONG not in sock.recv(4096):
                pass
            times.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.005)
    print("\n".join(f"{taken:.3f}" for taken in times), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
