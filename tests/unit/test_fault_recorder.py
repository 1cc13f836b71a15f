"""The checker of the streams beside a fault finds each way in which they can break the promise."""

import copy
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.faults.recorder import PATIENCE_S, Message, Recorder, check_stream

TOPIC = "trades", "TOYOTA"
FIRST, LAST = 2, 9
HEIGHTS = (3, 5, 6, 9)


def trades(height: int, prev: int) -> Message:
    return {"channel": "trades", "data": [{"tid": height}], "height": height, "prev": prev}


def gap(first: int, last: int) -> Message:
    return {"channel": "gap", "data": {"from": first, "to": last, "reason": "a hole"}}


CLEAN = {height: trades(height, prev) for prev, height in zip((0, *HEIGHTS), HEIGHTS, strict=False)}


def book(height: int) -> Message:
    return {"channel": "bbo", "data": {"bbo": height}, "height": height}


BOOKS = {height: book(height) for height in HEIGHTS}


def checked_book(told: list[Message], **how: Any) -> None:
    assert check_stream(("bbo", "TOYOTA"), told, BOOKS, FIRST, LAST, **how) == []


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


def forgetful(told: list[Any]) -> None:
    told[2]["prev"] = None


def told_again_at_first(told: list[Any]) -> None:
    told.insert(0, trades(FIRST, 0))


def torn(told: list[Any]) -> None:
    told[1]["data"] = []


def unchained(told: list[Any]) -> None:
    told[2]["prev"] = 3


def gap_too_small(told: list[Any]) -> None:
    told[1:3] = [gap(5, 5)]


def gap_too_early(told: list[Any]) -> None:
    told[2:3] = [gap(3, 6)]


WRONG = (
    *(lacking, doubled, reordered, cut_off, made_up, torn, unchained, forgetful),
    *(gap_too_small, gap_too_early, told_again_at_first),
)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_found(wrong: Callable[[list[Any]], None]) -> None:
    told = copy.deepcopy(list(CLEAN.values()))
    wrong(told)
    with pytest.raises(AssertionError):
        checked(told)


def test_a_chain_may_begin_unknown() -> None:
    first, *rest = CLEAN.values()
    assert checked([first | {"prev": None}, *rest]) == []
    told = [first, CLEAN[5], CLEAN[6] | {"prev": None}, CLEAN[9]]
    assert check_stream(TOPIC, told, CLEAN, FIRST, LAST, backs={2}) == []


def test_a_latest_topic_may_leave_heights_out() -> None:
    checked_book([book(FIRST), book(3), book(9)])
    checked_book([book(3), book(5), book(5), book(9)], backs={2})
    checked_book([book(3), book(5), book(3), book(9)], backs={2})
    checked_book([book(3), book(5), book(5), book(9)], rebuilt=True)


@pytest.mark.parametrize("heights", [(3, 5, 5, 9), (3, 6, 5, 9), (3, 5, 6), ()])
def test_a_latest_topic_never_goes_back_and_ends_with_the_newest(heights: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError):
        checked_book([book(height) for height in heights])


def test_an_error_ends_the_wait_at_once() -> None:
    """What the client is not to be told is said by whoever waits, not by a timeout."""
    error = json.dumps({"channel": "error", "data": "unknown coin"})

    def answer(connection: ServerConnection) -> None:
        for _ in connection:
            connection.send(error)

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        with Recorder(f"ws://127.0.0.1:{port}", [{"type": "bbo", "coin": "x"}]) as recorder:
            since = time.monotonic()
            with pytest.raises(AssertionError, match="unknown coin"):
                recorder.reach(1)
            assert time.monotonic() - since < PATIENCE_S / 4
        server.shutdown()
        thread.join()
