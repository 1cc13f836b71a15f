"""Somebody who behaves, in a process of its own: how is he served meanwhile?

    python tests/load/witness.py PORT

Real `websockets` clients: one asks and waits for the answer, again and again; others read topics
and hold their heights against each other; and new ones come, upgrade, and go. Until SIGTERM; then
everything is told as JSON.
"""

import asyncio
import json
import signal
import sys
import time
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

_ASK_S = 0.005
_COME_S = 0.02
_TOPICS: tuple[dict[str, str], ...] = (
    {"type": "blocks"},
    {"type": "trades", "coin": "TOYOTA"},
    {"type": "l2Book", "coin": "SONY"},
)


class Witness:
    """What he saw."""

    def __init__(self, url: str) -> None:
        self.answers: list[tuple[float, float]] = []  # when (monotonic s), and after how many ms
        self.handshakes: list[tuple[float, float]] = []
        self.faults: list[str] = []
        self.heights = 0
        self._url = url

    async def watch(self) -> None:
        """Until it is cancelled."""
        watched = (self._ask(), self._come(), *(self._read(topic) for topic in _TOPICS))
        await asyncio.gather(*(self._whole(one) for one in watched))

    async def _whole(self, part: Any) -> None:
        try:
            await part
        except (OSError, WebSocketException, TimeoutError) as error:
            self.faults.append(f"{part.__name__}: {type(error).__name__}: {error}")

    async def _ask(self) -> None:
        async with connect(self._url, open_timeout=30, ping_interval=None) as client:
            while True:
                began = time.monotonic()
                await client.send('{"method":"ping"}')
                await client.recv()
                self.answers.append((began, (time.monotonic() - began) * 1e3))
                await asyncio.sleep(_ASK_S)

    async def _come(self) -> None:
        while True:
            began = time.monotonic()
            async with connect(self._url, open_timeout=30, ping_interval=None):
                self.handshakes.append((began, (time.monotonic() - began) * 1e3))
            await asyncio.sleep(_COME_S)

    async def _read(self, topic: dict[str, str]) -> None:
        last = 0
        async with connect(self._url, open_timeout=30, max_size=None) as client:
            await client.send(json.dumps({"method": "subscribe", "subscription": topic}))
            await client.recv()
            async for text in client:
                height = json.loads(text)["height"]
                if height <= last:
                    self.faults.append(f"{topic}: {height} behind {last}")
                last = height
                self.heights += 1


async def main(port: int) -> None:
    """Watches, then tells."""
    witness = Witness(f"ws://127.0.0.1:{port}/ws")
    watching = asyncio.create_task(witness.watch())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, watching.cancel)
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    await asyncio.wait([watching])
    told = {name: value for name, value in vars(witness).items() if not name.startswith("_")}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
