"""A scripted node, a real sidecar beside it and a client of that, to do harm to; and the clean run
over the same blocks that they have to agree with whatever was done.
"""

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from l4_client import L4Client
from processes import Server
from tests.faults.recorder import EVERY, Message, Missed, Recorder, Topic, check_stream
from tests.faults.recording import BLOCK_MS, BLOCKS, COINS, MARK, START, Recording
from tests.faults.scripted import NODES, FilesNode, NativeNode, ScriptedNode

LAUNCH = Path(__file__).with_name("launch.py")
QUICK: dict[str, float] = {
    "REBUILD_RETRY_S": 0.2,
    "REBUILD_QUIET_S": 0.4,
    "REBUILD_RETRY_MAX_S": 0.8,
    "HALF_LINE_QUIET_S": 0.3,
    "BEHIND_WARN_S": 0.2,
    "SNAPSHOT_QUIET_S": 0.3,
    "SNAPSHOT_LOOK_S": 0.02,
    "SNAPSHOT_RETRY_S": 0.05,
    "FRESHNESS_INTERVAL_S": 0.05,
    "FOLLOW_COMPLAIN_S": 0.1,
    "FOLLOW_POLL_S": 0.1,
    "LOG_REPEATS_SHOWN": 1_000_000,
}
"""Limits of time, a tenth of what they are or less; and every line of the log is shown."""
PATIENT = ("--source-behind-after-s=1e12", "--source-stale-after-s=1e6")  # the chain's past is long
DEADLINE_S = 60.0
WELL = ("live", "stale", "behind")  # what is known is right


def subscriptions(node: ScriptedNode) -> Iterator[dict[str, str]]:
    """What a client of a stage reads."""
    yield {"type": "status"}
    yield {"type": "blocks"}
    for coin in COINS:
        yield from ({"type": kind, "coin": coin} for kind in ("l4Book", "trades", "l2Book"))
    yield {"type": "bookDelta", "coin": COINS[0]}
    for user in node.recording.users:
        yield from ({"type": kind, "user": user} for kind in ("orderUpdates", "userFills"))
    if node.kind == "native":
        yield {"type": "clearinghouseState", "user": node.recording.users[0]}


def start_sidecar(
    node: ScriptedNode,
    *flags: str,
    output: Path,
    limits: dict[str, float] | None = None,
    before: Iterable[str] = (),
    environment: dict[str, str] | None = None,
) -> Server:
    """The real process, with quick limits. `before` is what its command is run by."""
    given = json.dumps(QUICK | (limits or {}))
    command = (*before, sys.executable, str(LAUNCH), given)
    name = output / f"serve-{time.monotonic_ns()}.log"
    arguments = (*node.flags(), *PATIENT, *flags)
    return Server(name, *arguments, command=command, environment=environment or {})


def answers_of(port: int, node: ScriptedNode) -> dict[str, Any]:
    """Books with every order, and what is known of the users."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)

    def ask(**request: str) -> Any:
        body = json.dumps(request)
        connection.request("POST", "/info", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.load(response)
        assert response.status == 200, (request, answer)
        return answer

    found = {f"book {coin}": ask(type="l4Snapshot", coin=coin) for coin in COINS}
    kinds = ["openOrders", "userFills"]
    kinds += ["clearinghouseState"] if node.kind == "native" else []
    for user in node.recording.users:
        found |= {f"{kind} {user}": plain(kind, ask(type=kind, user=user)) for kind in kinds}
    connection.close()
    return found


def plain(kind: str, answer: Any) -> Any:
    """Without what is known from where a sidecar started only."""
    return _without_funding(answer) if kind == "clearinghouseState" else answer


def _without_funding(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_funding(one) for key, one in value.items() if key != "cumFunding"}
    return [_without_funding(one) for one in value] if isinstance(value, list) else value


class Clean:
    """What a sidecar says to whom nothing happened: its answers at each mark, and its streams."""

    def __init__(self, kind: str, recording: Recording, scratch: Path) -> None:
        self.answers: dict[int, dict[str, Any]] = {}
        node = NODES[kind](scratch / "node", recording)
        server = start_sidecar(node, output=scratch)
        try:
            with Recorder(server.ready().ws_url, subscriptions(node)) as recorder:
                for height in range(START, BLOCKS + 1, MARK):
                    recorder.reach(node.play(height - node.height))
                    self.answers[height] = answers_of(server.port, node)
                streams = recorder.streams
        finally:
            server.kill()
            node.close()
        self.streams: dict[Topic, dict[int, Message]] = {
            topic: {one["height"]: plain(topic[0], one) for one in told}
            for topic, told in streams.items()
        }
        assert all(check_stream(topic, list(by_height.values()), by_height, START, BLOCKS) == []
                   for topic, by_height in self.streams.items())  # fmt: skip


class Stage:
    """One sidecar, its node and its client."""

    def __init__(
        self, kind: str, clean: Clean, recording: Recording, scratch: Path, *flags: str, **how: Any
    ) -> None:
        self.clean = clean
        self.scratch = scratch
        self.node = NODES[kind](scratch / "node", recording)
        self.agreed = True
        self._known: list[Missed] = []
        self._flags, self._how = flags, {"output": scratch} | how
        self._wrong: dict[Topic, set[int]] = {}
        self._stack = ExitStack()
        self._stack.callback(self.node.close)
        self.first = self.node.height
        try:
            self.server = self.start()
            self.recorder = Recorder(self.server.ws_url, subscriptions(self.node))
            self.recorder.reach(self.first)
            self.recorder.await_feed("live")
        except BaseException:
            self.close()
            raise

    @property
    def native(self) -> NativeNode:
        assert isinstance(self.node, NativeNode)
        return self.node

    @property
    def files(self) -> FilesNode:
        assert isinstance(self.node, FilesNode)
        return self.node

    def start(self, *flags: str, ready: bool = True) -> Server:
        """A sidecar of this node; it ends with the stage. Flags may name its {scratch}."""
        given = [one.format(scratch=self.scratch) for one in (*self._flags, *flags)]
        server = start_sidecar(self.node, *given, **self._how)
        self._stack.callback(server.kill)
        return server.ready() if ready else server

    def close(self) -> None:
        if hasattr(self, "recorder"):
            self.recorder.close()
        self._stack.close()

    def play(self, count: int = 1) -> None:
        """So many blocks, which the client gets."""
        self.recorder.reach(self.node.play(count))

    def told(self) -> int:
        """How many messages of `status` there were: to wait for what comes behind them."""
        self.recorder.wait("told well", lambda: self.recorder.feed[-1] in WELL)
        return len(self.recorder.of("status"))

    def may_be_wrong(self, channel: str, about: str, first: int, last: int) -> None:
        """What the node said there was not true, and nobody could know."""
        self._wrong.setdefault((channel, about), set()).update(range(first, last + 1))

    def come_back(self) -> None:
        """The client, to a new sidecar: up to what it missed."""
        self.server = self.start()
        self.recorder.come_back(self.server.ws_url)
        for topic, clean in self.clean.streams.items():
            if topic[0] in EVERY:
                last = max((one for one in clean if one <= self.node.height), default=0)
                self.recorder.reach_topic(topic, last)

    def settle(self) -> list[Missed]:
        """Plays on to the next mark, where the sidecar has to agree with the clean run: all that
        it knows, and all that its client was told. Returns what that was told to have missed since
        the last time.
        """
        while self.node.height % MARK:
            self.node.write(self.node.height + 1)
        return self.agree()

    def agree(self) -> list[Missed]:
        """Likewise where it is."""
        self.recorder.reach(self.node.height)
        self._await_well()
        self.recorder.round_trip()
        missed = self._check_streams()
        self._check_answers(missed)
        news = [one for one in missed if one not in self._known]
        self._known = missed
        self.agreed = True
        return news

    def _await_well(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            told = self.server.info(type="serverInfo")
            well = told["height"] == self.node.height and told["feed"]["state"] in WELL
            if well and not (told["coins"] or told["users"]):
                return
            assert time.monotonic() < deadline, told
            time.sleep(0.01)

    def _check_streams(self) -> list[Missed]:
        missed: list[Missed] = []
        for topic, clean in self.clean.streams.items():
            if topic[0] in ("status", "blocks"):
                continue
            told = [plain(topic[0], one) for one in self.recorder.of(*topic)]
            expected = self._expected(topic, clean, told)
            backs = self.recorder.backs.get(topic, ())
            place = topic, told, expected, self.first, self.node.height
            found = check_stream(*place, backs=backs, rebuilt=self._was_wrong())
            missed += (one for one in found if one not in missed)
            if topic[0] == "l4Book":
                self._check_book(topic[1])
        return missed

    def _was_wrong(self) -> bool:
        """Whether the client was told that something was known to be wrong."""
        told = [one["data"] for one in self.recorder.of("status")]
        broken = {one["feed"]["state"] for one in told} & {"gap", "resyncing"}
        return bool(broken) or any(one["coins"] or one["users"] for one in told)

    def _expected(
        self, topic: Topic, clean: dict[int, Message], told: list[Message]
    ) -> dict[int, Message]:
        """As the clean run, but for what nobody could know to be wrong."""
        wrong = self._wrong.get(topic, set[int]())
        believed = {one["height"]: one for one in told if one.get("height") in wrong}
        return {height: one for height, one in clean.items() if height not in wrong} | believed

    def _check_book(self, coin: str) -> None:
        """Who applies the messages has the book of the clean run, queue by queue."""
        client = L4Client()
        for message in self.recorder.of("l4Book", coin):
            if "Snapshot" in message.get("data", {}):
                client = L4Client()
            if message["channel"] == "l4Book":
                client.apply(message)
        wanted = L4Client()
        book = self.clean.answers[self.node.height][f"book {coin}"]
        wanted.apply({"data": {"Snapshot": book}, "prev": None})
        assert client.queues() == wanted.queues(), coin

    def _check_answers(self, missed: list[Missed]) -> None:
        wanted = self.clean.answers[self.node.height]
        found = answers_of(self.server.port, self.node)
        assert found.keys() == wanted.keys()
        for name, answer in found.items():
            if name.startswith("userFills") and missed:
                self._check_fills(answer, wanted[name], missed)
            else:
                assert answer == wanted[name], name  # pytest shows how they differ

    def _check_fills(self, known: list[Any], really: list[Any], missed: list[Missed]) -> None:
        """None that was not; all of those behind what was missed."""
        last = max(one.last for one in missed)
        behind_ms = self.node.recording.genesis_ns // 1_000_000 + last * BLOCK_MS
        assert [one for one in known if one not in really] == []
        assert [one for one in really if one["time"] > behind_ms and one not in known] == []


class Stages:
    """One stage for all tests of a family, as long as it agrees: another one for who comes behind a
    test that failed, or where too little is left to play.
    """

    def __init__(self, clean: Callable[[str], Clean], recording: Recording, scratch: Path) -> None:
        self._clean = clean
        self._recording = recording
        self._scratch = scratch
        self._stages: dict[Any, Stage] = {}

    @contextmanager
    def of(self, kind: str, *flags: str, blocks: int = 300, **how: Any) -> Iterator[Stage]:
        """One in which so many blocks are left."""
        key = (kind, flags, json.dumps(how, sort_keys=True))
        stage = self._stages.pop(key, None)
        if stage is not None and stage.node.height + blocks > BLOCKS:
            stage.close()
            stage = None
        if stage is None:
            scratch = self._scratch / f"stage-{time.monotonic_ns()}"
            scratch.mkdir()
            clean = self._clean(kind)
            stage = Stage(kind, clean, self._recording, scratch, *flags, **how)
        stage.agreed = False
        try:
            yield stage
        finally:
            if stage.agreed and "Traceback" not in stage.server.output:
                self._stages[key] = stage
            else:
                sys.stdout.write(stage.server.output)
                stage.close()

    def close(self) -> None:
        for stage in self._stages.values():
            stage.close()
