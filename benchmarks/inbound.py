"""Small masked text frames a second on one core: ours, wsproto alone, and the sans-I/O protocol
of `websockets`, in the same run.

    python benchmarks/inbound.py [--frames 20000] [--rounds 7]

Each contender is given the same frames, one in each read as they nearly always come, and hands out
the text of each. Rounds alternate, so that a machine that drifts drifts for all; medians are
printed, with the ratio to ours.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from websockets.protocol import State
from websockets.server import ServerProtocol
from wsproto.frame_protocol import FrameProtocol

from sidecar.protocol.inbound import unmask
from sidecar.protocol.websocket import Message, WebSocketConnection

ORDER = (
    b'{"method":"post","id":17,"request":{"type":"action","payload":{"action":{"type":"order",'
    b'"orders":[{"a":0,"b":true,"p":"2500","s":"1","r":false,"t":{"limit":{"tif":"Gtc"}}}],'
    b'"grouping":"na"},"nonce":1795431107796,"signature":{"r":"0x' + b"1" * 64 + b'","s":"0x'
    b"" + b"2" * 64 + b'","v":27},"vaultAddress":null}}}'
)
TEXTS = {"ping": b'{"method":"ping"}', "subscribe": b"x" * 90, "order": ORDER}


def masked(payload: bytes) -> bytes:
    """A client's frame."""
    size, mask = len(payload), b"\x17\x2a\x99\xf1"
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + mask + unmask(mask, payload)


def ours(frame: bytes, count: int) -> int:
    """The protocol of the sidecar."""
    connection, found = WebSocketConnection(), 0
    for _ in range(count):
        for event in connection.receive(frame):
            assert isinstance(event, Message)
            found += len(event.data)
    return found


def wsproto_alone(frame: bytes, count: int) -> int:
    """Its frame layer, which is its fastest."""
    parser, found = FrameProtocol(client=False, extensions=[]), 0
    for _ in range(count):
        parser.receive_bytes(frame)
        for one in parser.received_frames():
            found += len(one.payload)
    return found


def websockets_protocol(frame: bytes, count: int) -> int:
    """As its own servers use it."""
    protocol, found = ServerProtocol(state=State.OPEN), 0
    for _ in range(count):
        protocol.receive_data(frame)
        for event in protocol.events_received():
            found += len(event.data.decode())  # type: ignore[union-attr]
    return found


CONTENDERS: dict[str, Callable[[bytes, int], int]] = {
    "sidecar": ours,
    "wsproto": wsproto_alone,
    "websockets": websockets_protocol,
}


def main() -> None:
    """Prints a row for each size of frame and contender."""
    parser = argparse.ArgumentParser(description="small frames a second")
    parser.add_argument("--frames", type=int, default=20_000, help="of a round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{'frame':>16} {'contender':>12} {'frames/s':>10} {'us':>6}  ratio to ours")
    for name, payload in TEXTS.items():
        frame, times = masked(payload), {contender: list[float]() for contender in CONTENDERS}
        for _ in range(options.rounds):
            for contender, run in CONTENDERS.items():
                start = time.perf_counter()
                found = run(frame, options.frames)
                times[contender].append(time.perf_counter() - start)
                assert found == options.frames * len(payload)
        for contender, taken in times.items():
            each = statistics.median(taken) / options.frames
            ratios = [mine / theirs for mine, theirs in zip(times["sidecar"], taken, strict=True)]
            ratio = 1 / statistics.median(ratios)
            label = f"{name}, {len(payload)} B"
            print(f"{label:>16} {contender:>12} {1 / each:10.0f} {each * 1e6:6.1f}  {ratio:.1f}")


if __name__ == "__main__":
    main()
