"""A client that writes down everything it is told, and lives at random from a seed: it connects,
subscribes, reads slowly, goes and comes back to where it was.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from io import BufferedWriter
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.history import journal
from tests.history.journal import Journal, Key, write_entry
from tests.history.topics import (
    EVERY,
    LATEST,
    RESUMABLE,
    Topic,
    is_snapshot,
    place_of,
    subscribed_topic,
    text_of,
)

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the end is a reset
SLOW_RECEIVE_BYTES = 4 << 10
AGAIN_S = 0.1
TOPICS_AT_A_TIME = 30
BLOCKS = Topic("blocks")


class Envelope(msgspec.Struct):
    """What stands around the data."""

    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    height: int | UnsetType = UNSET
    prev: int | UnsetType | None = UNSET
    part: tuple[int, int] = (1, 1)
    state: str | None = None
    user: str | None = None


_envelope = msgspec.json.Decoder(Envelope).decode


class World:
    """What the clients of a run share."""

    def __init__(self, endpoints: Callable[[], list[tuple[str, str]]], topics: list[Topic]) -> None:
        self.endpoints = endpoints  # names and URLs of those that are there now
        self.topics = topics
        self.ending = asyncio.Event()
        self.last_heights: dict[str, int] = {}  # of each topic, once the chain has ended
        self.last_height = 0
        self.pace_s = 0.4  # between two deeds of a client, on average
        self.finish_s = 600.0  # however busy the machine is


class Position:
    """How far a client has read a topic."""

    __slots__ = ("height", "live")

    def __init__(self, height: int | None, *, live: bool) -> None:
        self.height = height
        self.live = live  # since this connection began: `blocks` moves it on


class Recorder:
    """One client. Deeds follow from `seed` and `number`; what they meet does not."""

    def __init__(self, number: int, seed: int, world: World, records: Journal) -> None:
        self._random = random.Random(f"{seed}:{number}")
        self._world = world
        self._journal = records
        self._file: BufferedWriter = records.client(number)
        self._connections = 0
        self._read: dict[Topic, int] = {}  # up to where, of earlier connections
        self._active: dict[tuple[str, str], Topic] = {}
        self._positions: dict[Topic, Position] = {}
        self._asked: dict[Topic, list[int | None]] = {}  # heights of subscriptions not answered yet
        self._claimed: dict[tuple[str, str], Topic] = {}  # by what was asked for, answered or not
        self._reading = asyncio.Event()
        self._progress = asyncio.Event()
        self._slow = number % 4 == 3
        self._deflate = number % 3 == 1

    async def run(self) -> None:
        """Until the world ends, and then until everything is there."""
        while True:
            last = self._world.ending.is_set()
            name, url = self._random.choice(self._world.endpoints() or [("none", "")])
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await self._connection(name, url)
                if last:
                    break
            await asyncio.sleep(AGAIN_S)
        self._file.close()

    async def _connection(self, name: str, url: str) -> None:
        options: dict[str, Any] = {"max_size": None, "ping_interval": None, "close_timeout": 2}
        options["compression"] = "deflate" if self._deflate else None
        if self._slow:
            options |= {"sock": await _narrow(url), "max_queue": 1}
        async with connect(url, open_timeout=10, **options) as websocket:
            self._connections += 1
            self._write(journal.Opened(self._connections, name))
            self._active, self._positions, self._asked, self._claimed = {}, {}, {}, {}
            self._reading.set()
            reader = asyncio.create_task(self._receive(websocket))
            deeds = asyncio.create_task(self._live(websocket))
            try:
                await asyncio.wait((reader, deeds), return_when=asyncio.FIRST_COMPLETED)
            finally:
                deeds.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await deeds
                self._reading.set()
                await websocket.close()
                await reader
                self._remember()

    async def _receive(self, websocket: ClientConnection) -> None:
        try:
            while True:
                await self._reading.wait()
                self._hear(await websocket.recv(decode=False))
        except ConnectionClosed as error:
            mine = error.sent is not None and (error.rcvd is None or not error.rcvd_then_sent)
            frame = error.rcvd
            code, reason = (frame.code, frame.reason) if frame else (1006, "")
            self._write(journal.Closed("client" if mine else "server", code, reason))

    async def _live(self, websocket: ClientConnection) -> None:
        """Deeds, at random."""
        rng, deeds = self._random, self._deeds()
        await self._come_back(websocket)
        while not self._world.ending.is_set():
            await asyncio.sleep(rng.expovariate(1 / self._world.pace_s))
            deed = rng.choices([one for _, one in deeds], [weight for weight, _ in deeds])[0]
            if await deed(websocket):
                return
        await self._finish(websocket)

    def _deeds(self) -> list[tuple[float, Callable[[ClientConnection], Awaitable[bool]]]]:
        return [
            (8, self._subscribe),
            (3, self._unsubscribe),
            (3, self._turn_round),
            (1, self._ping),
            (2 if self._slow else 0.2, self._pause),
            (0.6, self._close),
            (0.6, self._reset),
        ]

    async def _come_back(self, websocket: ClientConnection) -> None:
        """To most of what it had, where it was; to some of it from the start."""
        for topic in list(self._read):
            if topic.place not in self._claimed and self._random.random() < 0.8:
                resumes = topic.kind in RESUMABLE and self._random.random() < 0.9
                await self._ask(websocket, topic, self._read[topic] if resumes else None)
            else:
                del self._read[topic]
        if BLOCKS.place not in self._claimed and self._random.random() < 0.9:
            await self._ask(websocket, BLOCKS, None)

    async def _subscribe(self, websocket: ClientConnection) -> bool:
        topic = self._random.choice(self._world.topics)
        if topic.place not in self._claimed and len(self._claimed) < TOPICS_AT_A_TIME:
            await self._ask(websocket, topic, self._read.get(topic))
        return False

    async def _unsubscribe(self, websocket: ClientConnection) -> bool:
        topic = self._any_active()
        if topic is not None:
            await self._leave(websocket, topic)
        return False

    async def _turn_round(self, websocket: ClientConnection) -> bool:
        """Goes, and comes back in the same breath."""
        topic = self._any_active()
        if topic is not None:
            height = self._position(topic)
            await self._leave(websocket, topic)
            await self._ask(websocket, topic, height)
        return False

    async def _ping(self, websocket: ClientConnection) -> bool:
        await websocket.send('{"method": "ping"}')
        return False

    async def _pause(self, _: ClientConnection) -> bool:
        self._reading.clear()
        await asyncio.sleep(self._random.choice((0.3, 1.0, 3.0, 8.0)))
        self._reading.set()
        return False

    async def _close(self, _: ClientConnection) -> bool:
        return True

    async def _reset(self, websocket: ClientConnection) -> bool:
        sock = websocket.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        websocket.transport.abort()
        return True

    async def _finish(self, websocket: ClientConnection) -> None:
        """The chain has ended: waits until all of it is there."""
        try:
            async with asyncio.timeout(self._world.finish_s):
                while not self._is_complete():
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            late = [text_of(topic) for topic in self._late()] or list(map(text_of, self._asked))
            what = f"not there {self._world.finish_s:.0f} s after the end: {', '.join(late)}"
            self._write(journal.Refused(what))
        self._write(journal.Finished(self._world.last_height))

    def _is_complete(self) -> bool:
        return not self._asked and not self._late()

    def _late(self) -> list[Topic]:
        """Those whose last message of the chain is not here, though it must come: of an EVERY
        topic not where the client may have subscribed behind it.
        """
        last = self._world.last_heights
        read = ((topic, self._position(topic)) for topic in self._active.values())
        return [
            topic
            for topic, height in read
            if (topic.kind in LATEST or (topic.kind in RESUMABLE and height is not None))
            and (height or 0) < last.get(text_of(topic), 0)
        ]

    async def _ask(self, websocket: ClientConnection, topic: Topic, height: int | None) -> None:
        resume = height if topic.kind in RESUMABLE else None
        self._asked.setdefault(topic, []).append(resume)
        self._claimed[topic.place] = topic
        await self._say(websocket, "subscribe", topic, resume)

    async def _leave(self, websocket: ClientConnection, topic: Topic) -> None:
        """Unsubscribes; what was read up to now is all that is sure."""
        del self._claimed[topic.place]
        self._positions[topic].live = False
        self._write(journal.Leaving(text_of(topic)))
        await self._say(websocket, "unsubscribe", topic)

    async def _say(
        self, websocket: ClientConnection, method: str, topic: Topic, resume: int | None = None
    ) -> None:
        request = {"method": method, "subscription": topic.subscription()}
        if resume is not None:
            request["resume"] = {"height": resume}
        await websocket.send(json.dumps(request))

    def _any_active(self) -> Topic | None:
        """One that is subscribed, and of which nothing else is asked."""
        claimed = self._claimed.get
        idle = [
            topic
            for topic in self._active.values()
            if topic not in self._asked and claimed(topic.place) == topic
        ]
        return self._random.choice(idle) if idle else None

    def _hear(self, text: bytes) -> None:
        message = _envelope(text)
        channel, data = message.channel, msgspec.json.decode(message.data)
        if channel == "subscriptionResponse":
            self._answered(data)
        elif channel == "gap":
            topic = text_of(subscribed_topic(data["subscription"]))
            self._write(journal.Gap(topic, data["from"], data["to"], data["reason"]))
        elif channel == "error":
            self._write(journal.Refused(data))
        elif channel != "pong":
            self._told(message, data)
        self._progress.set()

    def _answered(self, data: dict[str, Any]) -> None:
        topic = subscribed_topic(data["subscription"])
        if data["method"] == "unsubscribe":
            self._active.pop(topic.place, None)
            position = self._position(topic)
            if position is not None:
                self._read[topic] = position
            self._positions.pop(topic, None)
            self._write(journal.Unsubscribed(text_of(topic)))
            return
        resume = self._asked[topic].pop(0)
        if not self._asked[topic]:
            del self._asked[topic]
        self._active[topic.place] = topic
        self._positions[topic] = Position(resume, live=resume is None)
        self._write(journal.Subscribed(text_of(topic), resume))

    def _told(self, message: Envelope, data: Any) -> None:
        about = {"channel": message.channel, "data": data, "user": message.user}
        place = place_of(about)
        topic = self._active.get(place) or Topic(*place)
        first = is_snapshot(topic.kind, data)
        height = -1 if message.height is UNSET else message.height
        key = Key(text_of(topic), height, message.part, first)
        digest = self._journal.data(key, bytes(message.data))
        prev = -1 if message.prev is UNSET else message.prev
        checksum = data.get("checksum") if topic.kind == "bookDelta" else None
        told = journal.Told(*key[:2], prev, *key[2:], digest, checksum, message.state)
        self._write(told)
        if topic in self._positions and message.part[0] == message.part[1]:
            self._positions[topic].height = height
        if topic.kind == "blocks":
            self._pass(height)

    def _pass(self, height: int) -> None:
        """All of a block has been read: of each topic that is live."""
        for topic, position in self._positions.items():
            if position.live and topic.kind in EVERY:
                position.height = height

    def _position(self, topic: Topic) -> int | None:
        position = self._positions.get(topic)
        return None if position is None else position.height

    def _remember(self) -> None:
        for topic in self._positions:
            position = self._position(topic)
            if position is not None:
                self._read[topic] = position

    def _write(self, entry: journal.Entry) -> None:
        write_entry(self._file, entry)


async def _narrow(url: str) -> socket.socket:
    """A connection that takes little at a time."""
    parts = urlsplit(url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_RECEIVE_BYTES)
    sock.setblocking(False)
    try:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (parts.hostname, parts.port))
    except OSError:
        sock.close()
        raise
    return sock
