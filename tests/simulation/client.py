"""A simulated client: a real WebSocket implementation (websockets' own protocol, which has no I/O)
over a simulated socket, with habits good and bad, that keeps everything it was told.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
import msgspec
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.simulation.actions import WALLETS
from tests.simulation.network import CALM, Quirks
from tests.simulation.sidecar_process import Process
from tests.simulation.topics import choose
from tests.simulation.weights import Weights
from tests.simulation.world import World

Behave = Callable[["Connection", str], Awaitable[bool]]
CHANNEL_TYPES = {"user": "userEvents"}  # where a message's channel is called otherwise


@dataclass
class Reading:
    """One subscription of one connection, and all messages that came of it."""

    subscription: dict[str, Any]
    resumed: int | None  # from which height it was asked to go on
    incarnation: tuple[int, int]  # of which sidecar: its number, its start
    since: float
    texts: list[bytes] = field(default_factory=list)
    confirmed: bool = False  # from here on messages are of this one
    ended: bool = False

    @property
    def key(self) -> str:
        """The topic, whoever reads it."""
        return json.dumps(self.subscription, sort_keys=True)


@dataclass
class Sent:
    """A signed action that a client sent, and what it was told of it."""

    body: bytes
    answer: dict[str, Any] | None = None


@dataclass
class Question:
    """An info request, and what it was told."""

    payload: dict[str, Any]
    incarnation: tuple[int, int]  # whom it asked
    since: int  # at which height that one was then
    until: int | None = None  # and when it was answered; None: it is not known
    answer: dict[str, Any] | None = None


class Client:
    """Connects, reads, misbehaves, comes back."""

    def __init__(
        self, world: World, number: int, weights: Weights, rng: Random, behave: Behave
    ) -> None:
        """`behave` does one thing of its name (`habits.py`)."""
        self.behave = behave
        self.number = number
        self.readings: list[Reading] = []  # of all its connections
        self.sent: list[Sent] = []
        self.questions: list[Question] = []
        self.closes: list[tuple[int, str]] = []  # close codes and reasons of the server's
        self.broken: list[str] = []  # what no server may say
        self.world = world
        self.weights = weights
        self.rng = rng
        self.witness = number == 0
        self.connection: Connection | None = None
        self.heights: dict[str, int] = {}  # by topic: where it would resume
        self.wallet = number % WALLETS
        self.next_body = 0

    async def run(self, processes: list[Process]) -> None:
        """Until cancelled."""
        while True:
            process = self.rng.choice(processes)
            try:
                quirks = CALM if self.witness else self.weights.quirks
                connection = Connection(self, process, quirks)
                self.connection = connection
                await connection.live()
            except OSError:
                pass
            finally:
                self.connection = None
            await anyio.sleep(0.02 + self.rng.random() * 0.3)


class Connection:
    """One WebSocket connection of a client."""

    def __init__(self, client: Client, process: Process, quirks: Quirks) -> None:
        self.client = client
        self.process = process
        self.incarnation = process.starts
        self.reads: dict[str, Reading] = {}  # by type
        # How often types were given up without an answer yet: some of them may be on its way.
        self.dropped: Counter[str] = Counter()
        self.abandoned = False
        self.garbled = False  # it sent what is no WebSocket: a length, perhaps, that never comes
        self.sending = anyio.Lock()
        self.got_close = False
        self.settled = False  # it does nothing odd, and never did
        self.rng = client.rng
        self.world = client.world
        self.asked: dict[int, Sent] = {}
        self.questions: dict[int, Question] = {}
        self.nets = 0  # safety nets that it has asked for
        self.nonsense = 0  # how often it said what has to be answered with an error
        self.numbers = 0  # of its posts
        self.pace = 0.0  # seconds it waits before it reads again
        network = client.world.network
        number = client.number
        where = f"10.0.0.{number + 1}"
        self.sock = network.connect(process.name, address=where, quirks=quirks)
        deflate = [ClientPerMessageDeflateFactory()] if client.rng.random() < 0.4 else []
        self.protocol = ClientProtocol(_URI, extensions=deflate, max_size=None)

    @property
    def is_up(self) -> bool:
        """It reads all that it has asked for, if anybody can know what it has asked for."""
        if self.garbled:
            return True
        is_open = self.protocol.state is State.OPEN and not self.abandoned
        return is_open and all(one.confirmed for one in self.reads.values())

    def describe(self) -> str:
        """For a verdict."""
        waits = [one.key for one in self.reads.values() if not one.confirmed]
        return f"{self.protocol.state.name} {len(self.reads)} read, not confirmed: {waits}"

    async def live(self) -> None:
        """Until it ends, in one way or the other."""
        client = self.client
        try:
            protocol = self.protocol
            protocol.send_request(protocol.connect())
            await self.flush()
            while not await self._read():
                pass
            if protocol.state is not State.OPEN:
                return
            self._subscribe_first()
            await self.flush()
            self.settled = client.witness
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._misbehave, tasks)
                await self._read_on()
                tasks.cancel_scope.cancel()
        except OSError:
            pass
        finally:
            self._leave()

    async def _read_on(self) -> None:
        with suppress(OSError):
            while not self._is_over():
                if self.pace and not self.world.ending:
                    await anyio.sleep(self.pace)
                await self._read()
                await self.flush()

    def _leave(self) -> None:
        for reading in self.reads.values():
            reading.ended = True
        if not self.abandoned:
            self.sock.close()

    def _is_over(self) -> bool:
        return self.protocol.state is State.CLOSED or self.got_close

    async def _read(self) -> bool:
        """One read, and what it says; whether the handshake is over. Raises `OSError`, also at the
        end.
        """
        protocol, client = self.protocol, self.client
        data = await self.sock.receive(self.rng.choice((1 << 16, 1 << 16, 300)))
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for event in protocol.events_received():
            if isinstance(event, Response):
                continue
            self._take(event)
        error = protocol.parser_exc
        if error is not None and not isinstance(error, EOFError):
            client.broken.append(f"{type(error).__name__}: {error}")
        refused = protocol.handshake_exc
        if refused is not None:
            raise ConnectionResetError(str(refused))
        if not data:
            raise ConnectionResetError("the end")
        return protocol.state is not State.CONNECTING

    def _take(self, event: Any) -> None:
        assert isinstance(event, Frame)
        if event.opcode is Opcode.TEXT:
            self._hear(bytes(event.data))
        elif event.opcode is Opcode.CLOSE:
            self.got_close = True
            close = self.protocol.close_rcvd
            if close is not None:
                self.client.closes.append((close.code, close.reason))

    async def flush(self) -> None:
        async with self.sending:
            for data in self.protocol.data_to_send():
                if data:
                    await self.sock.send_all(data)
                else:
                    self.sock.shutdown(1)

    def _hear(self, text: bytes) -> None:
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            self.client.broken.append(f"no JSON: {text[:80]!r}")
            return
        channel = message["channel"]
        kind = CHANNEL_TYPES.get(channel, channel)
        if channel == "gap":
            kind = message["data"]["subscription"]["type"]
        if channel == "subscriptionResponse":
            self._confirmed(message["data"])
        elif channel == "post":
            self._answered(message)
        elif channel == "error":
            self._refused(message)
        elif channel not in ("pong", "onDisconnect"):
            self._push(kind, text, message)

    def _confirmed(self, data: dict[str, Any]) -> None:
        kind = data["subscription"]["type"]
        if data["method"] == "unsubscribe":
            self.dropped[kind] -= 1  # that was all of it
        elif kind in self.reads and not self.dropped[kind]:  # else it is of one that was given up
            self.reads[kind].confirmed = True

    def _push(self, kind: str, text: bytes, message: dict[str, Any]) -> None:
        reading = self.reads.get(kind)
        if reading is not None and reading.confirmed:
            reading.texts.append(text)
            if "height" in message:
                self.client.heights[reading.key] = message["height"]
        elif not self.dropped[kind]:
            self.client.broken.append(f"a message that was not asked for: {text[:80]!r}")

    def _answered(self, message: dict[str, Any]) -> None:
        sent = self.asked.pop(message["data"]["id"], None)
        if sent is not None:
            sent.answer = message
        question = self.questions.pop(message["data"]["id"], None)
        if question is not None:
            question.answer = message["data"]["response"]
            if self.process.incarnation == question.incarnation:
                question.until = self.process.height or None  # it has gone

    def _refused(self, message: dict[str, Any]) -> None:
        """An error is for who says what makes no sense, once each time, or whose safety net would
        not hold.
        """
        if self.nets and message["data"].startswith("onDisconnect: "):
            self.nets -= 1
            return
        self.nonsense -= 1
        if self.nonsense < 0 and not self.garbled:
            self.client.broken.append(f"an error out of nothing: {message}")

    def ask(self, payload: dict[str, Any]) -> None:
        """An info request."""
        process = self.process
        self.numbers += 1
        question = Question(payload, process.incarnation, process.height)
        self.questions[self.numbers] = question
        self.client.questions.append(question)
        request = {"type": "info", "payload": payload}
        self.say(method="post", id=self.numbers, request=request)

    def say(self, **request: Any) -> None:
        self.protocol.send_text(json.dumps(request).encode())

    def _subscribe_first(self) -> None:
        if self.client.witness:
            chosen = [{"type": "status"}, {"type": "blocks"}, {"type": "trades", "coin": "SONY"}]
            chosen += [
                {"type": kind, "coin": "TOYOTA"} for kind in ("bookDelta", "l4Book", "l2Book")
            ]
        else:
            count = self.rng.randrange(1, 6)
            chosen = [choose(self.rng, self.client.wallet) for _ in range(count)]
        for subscription in chosen:
            self.subscribe(subscription)

    def subscribe(self, subscription: dict[str, Any]) -> None:
        kind = subscription["type"]
        if kind in self.reads:
            return
        key = json.dumps(subscription, sort_keys=True)
        height = self.client.heights.get(key) if self.rng.random() < 0.7 else None
        request: dict[str, Any] = {"subscription": subscription}
        if height is not None:
            request["resume"] = {"height": height}
        incarnation = self.process.incarnation
        reading = Reading(subscription, height, incarnation, self.world.clock.now)
        self.reads[kind] = reading
        self.client.readings.append(reading)
        self.say(method="subscribe", **request)

    async def _misbehave(self, tasks: anyio.abc.TaskGroup) -> None:
        client = self.client
        while True:
            await anyio.sleep(0.05 + self.rng.random())
            if self.world.ending or client.witness:
                continue
            if self.protocol.state is not State.OPEN:
                return
            habit = client.weights.habit(self.rng)
            if habit is None:
                continue
            try:
                over = await client.behave(self, habit)
                await self.flush()
            except OSError:
                over = True
            if over:
                tasks.cancel_scope.cancel()
                return


_URI = parse_uri("ws://127.0.0.1:8010/ws")
