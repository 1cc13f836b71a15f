"""The checker of the streams beside a fault finds each way in which they can break the promise."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.recorder import Message, check_stream

TOPIC = "trades", "TOYOTA"
FIRST, LAST = 2, 9
HEIGHTS = (3, 5, 6, 9)


def trades(height: int, prev: int) -> Message:
    return {"channel": "trades", "data": [{"tid": height}], "height": height, "prev": prev}


def gap(first: int, last: int) -> Message:
    return {"channel": "gap", "data": {"from": first, "to": last, "reason": "a hole"}}


CLEAN = {height: trades(height, prev) for prev, height in zip((0, *HEIGHTS), HEIGHTS, strict=False)}


def checked(told: list[Message]) -> list[tuple[int, int]]:
    found = check_stream(TOPIC, told, CLEAN, FIRST, LAST)
    return [(one.first, one.last) for one in found]


def test_a_clean_stream_passes() -> None:
    assert checked(list(CLEAN.values())) == []


def test_what_a_gap_tells_may_be_missing() -> None:
    assert checked([CLEAN[3], gap(4, 6), CLEAN[9]]) == [(4, 6)]
    assert checked([CLEAN[3], gap(4, 6), CLEAN[9] | {"prev": None}]) == [(4, 6)]


def lacking(told: list[Any]) -> None:
    del told[1]


def doubled(told: list[Any]) -> None:
    told.insert(1, told[1])


def reordered(told: list[Any]) -> None:
    told[1], told[2] = told[2], told[1]


def cut_off(told: list[Any]) -> None:
    del told[-1]


def made_up(told: list[Any]) -> None:
    told.insert(1, trades(4, 3))


def torn(told: list[Any]) -> None:
    told[1]["data"] = []


def unchained(told: list[Any]) -> None:
    told[2]["prev"] = 3


def gap_too_small(told: list[Any]) -> None:
    told[1:3] = [gap(5, 5)]


def gap_too_early(told: list[Any]) -> None:
    told[2:3] = [gap(3, 6)]


@pytest.mark.parametrize(
    "wrong",
    [lacking, doubled, reordered, cut_off, made_up, torn, unchained, gap_too_small, gap_too_early],
)
def test_what_is_wrong_is_found(wrong: Callable[[list[Any]], None]) -> None:
    told = copy.deepcopy(list(CLEAN.values()))
    wrong(told)
    with pytest.raises(AssertionError):
        checked(told)
