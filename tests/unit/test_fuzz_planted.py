"""Each fuzz target finds the bugs that are planted for it, in its corpus or a few mutations of it.
Without them its corpus passes, and each is found by the error that it makes, not by any.
"""

import random
import re
from typing import Any, NamedTuple

import msgspec
import pytest
from test_fuzz_targets import corpus

import targets
from sidecar.api import money_view
from sidecar.api.channels import l4_book
from sidecar.api.channels.clearinghouse_state import AccountChannel
from sidecar.api.messages import ChainedPush
from sidecar.api.orders import admission
from sidecar.errors import NumberInvalid, StateUnavailable
from sidecar.node import log, segments, submission
from sidecar.node.hyperliquid import HyperliquidReader, draft, snapshot_index, stream
from sidecar.protocol import deflate, head, http, inbound, proxy
from sidecar.protocol.websocket import Event, Violation, WebSocketConnection
from sidecar.state import checkpoint
from sidecar.state.chain import ChainState

MUTATIONS_MAX = 300


class Plant(NamedTuple):
    """`bug` takes the place of what is there, and leads to `error`."""

    target: str
    where: Any
    name: str
    bug: Any
    error: type[Exception] = AssertionError


def forgets_the_seam(buffer: bytearray, searched: int) -> int:
    return head.measure(buffer, searched and min(searched + 3, len(buffer)))


def keeps_the_last_piece(self: submission.RecordStream, data: bytes) -> None:
    self._waiting = bytearray(data)


def enters_any_segment(self: log.LogReader, path: Any, before: segments.SegmentReader) -> None:
    before.close()
    self._segment = segments.SegmentReader(path, chain=self.chain)


def tells_a_wrong_prev(channel: str, data: Any, height: int, prev: int | None) -> ChainedPush:
    return ChainedPush(channel, data, height, 7)


def restores_anything(state: ChainState, restore: checkpoint.Restore, row: Any) -> None:
    restore(state, row)


def never_looks_again(self: HyperliquidReader) -> Any:
    block = None if self.__dict__.get("silent") else _NEXT_BLOCK(self)
    self.__dict__["silent"] = block is None
    return block


def codes_by_the_cuts(self: WebSocketConnection, data: bytes) -> list[Event]:
    events = _RECEIVE(self, data)
    if len(data) < 8 and events and isinstance(events[-1], Violation):
        events[-1] = Violation(1000, "as the bytes were cut")
    return events


_NEXT_BLOCK, _RECEIVE = HyperliquidReader.next_block, WebSocketConnection.receive
PLANTS = (
    Plant("http", http, "measure", forgets_the_seam),
    Plant("proxy", proxy, "_IP_BYTES", {0x11: 3, 0x21: 16}, ValueError),
    Plant("websocket", inbound, "_TABLES", inbound._TABLES[::-1]),
    Plant("websocket", WebSocketConnection, "receive", codes_by_the_cuts),
    Plant("compressed", deflate, "_TAIL", b""),
    Plant("compressed", WebSocketConnection, "receive", codes_by_the_cuts),
    Plant("requests", l4_book, "ChainedPush", tells_a_wrong_prev),
    Plant(
        "requests", AccountChannel, "_view", lambda self, topic: self.view(topic), StateUnavailable
    ),
    Plant("actions", admission, "NumberInvalid", ZeroDivisionError, NumberInvalid),
    Plant("answers", submission.RecordStream, "feed", keeps_the_last_piece),
    Plant("records", segments, "UNDECODABLE", UnicodeError, msgspec.DecodeError),
    Plant("segments", log.LogReader, "_enter", enters_any_segment),
    Plant("blocks", money_view, "_plain", lambda value: value, TypeError),
    Plant("row_files", checkpoint, "_restore", restores_anything, KeyError),
    Plant("hyperliquid_lines", draft, "INVALID", msgspec.DecodeError, ValueError),
    Plant("hyperliquid_files", stream.Stream, "_check_next", lambda self, row: None),
    Plant("hyperliquid_files", HyperliquidReader, "next_block", never_looks_again),
    Plant("hyperliquid_snapshots", snapshot_index, "_BETWEEN", re.compile(b"(never)")),
)


def test_every_target_has_one() -> None:
    assert list(dict.fromkeys(plant.target for plant in PLANTS)) == list(targets.NAMES)


def _name(plant: Plant) -> str:
    return f"{plant.target} {plant.name}"


@pytest.mark.parametrize("plant", PLANTS, ids=_name)
def test_it_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    target, kept = targets.load(plant.target), corpus(plant.target)
    for data in kept:
        target.check(data)
    monkeypatch.setattr(plant.where, plant.name, plant.bug)
    rng = random.Random(plant.target)
    with pytest.raises(plant.error) as found:
        for number in range(len(kept) + MUTATIONS_MAX):
            if number < len(kept):
                target.check(kept[number])
            elif target.mutate is not None:
                target.check(target.mutate(rng.choice(kept), rng))
    assert type(found.value) is plant.error
