"""Each fuzz target finds a bug that is planted for it, in its corpus or a few mutations of it."""

import random
import re
from typing import Any, NamedTuple

import msgspec
import pytest
from test_fuzz_targets import corpus

import targets
from sidecar.api import money_view
from sidecar.api.channels import l4_book
from sidecar.api.messages import ChainedPush
from sidecar.api.orders import admission
from sidecar.node import log, segments, submission
from sidecar.node.hyperliquid import draft, snapshot_index, stream
from sidecar.protocol import deflate, head, http, inbound, proxy
from sidecar.state import checkpoint

MUTATIONS_MAX = 300


class Plant(NamedTuple):
    """`bug` takes the place of what is there."""

    target: str
    where: Any
    name: str
    bug: Any


def forgets_the_seam(buffer: bytearray, searched: int) -> int:
    return head.measure(buffer, searched and min(searched + 3, len(buffer)))


def keeps_the_last_piece(self: submission.RecordStream, data: bytes) -> None:
    self._waiting = bytearray(data)


def enters_any_segment(self: log.LogReader, path: Any, before: segments.SegmentReader) -> None:
    before.close()
    self._segment = segments.SegmentReader(path, chain=self.chain)


def tells_a_wrong_prev(channel: str, data: Any, height: int, prev: int | None) -> ChainedPush:
    return ChainedPush(channel, data, height, 7)


PLANTS = (
    Plant("http", http, "measure", forgets_the_seam),
    Plant("proxy", proxy, "_IP_BYTES", {0x11: 3, 0x21: 16}),
    Plant("websocket", inbound, "_TABLES", inbound._TABLES[::-1]),
    Plant("compressed", deflate, "_TAIL", b""),
    Plant("requests", l4_book, "ChainedPush", tells_a_wrong_prev),
    Plant("actions", admission, "NumberInvalid", ZeroDivisionError),
    Plant("answers", submission.RecordStream, "feed", keeps_the_last_piece),
    Plant("records", segments, "UNDECODABLE", UnicodeError),
    Plant("segments", log.LogReader, "_enter", enters_any_segment),
    Plant("blocks", money_view, "_plain", lambda value: value),
    Plant("row_files", checkpoint, "_restore", lambda state, restore, row: restore(state, row)),
    Plant("hyperliquid_lines", draft, "INVALID", msgspec.DecodeError),
    Plant("hyperliquid_files", stream.Stream, "_check_next", lambda self, row: None),
    Plant("hyperliquid_snapshots", snapshot_index, "_BETWEEN", re.compile(b"(never)")),
)


def test_every_target_has_one() -> None:
    assert [plant.target for plant in PLANTS] == list(targets.NAMES)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.target)
def test_it_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    target, kept = targets.load(plant.target), corpus(plant.target)
    monkeypatch.setattr(plant.where, plant.name, plant.bug)
    rng = random.Random(plant.target)
    with pytest.raises(Exception):  # noqa: B017, PT011 - a bug may raise anything
        for number in range(len(kept) + MUTATIONS_MAX):
            if number < len(kept):
                target.check(kept[number])
            elif target.mutate is not None:
                target.check(target.mutate(rng.choice(kept), rng))
