"""Raw book diffs: every kind and spelling; one that is not known is never ignored."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hyperliquid_node import (
    DIFFS,
    OTHER,
    USER,
    FakeNode,
    diff,
    new,
    remove,
    status,
    update,
    without,
)
from sidecar.node.transitions import ASK, BID, BookAdded, BookChanged, BookRemoved, Transition

ADDRESS = bytes.fromhex(USER[2:])
PX = 8130700000000


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


def book(node: FakeNode, *events: Any, statuses: list[Any] | None = None) -> list[Transition]:
    transitions = node.block(diffs=list(events), statuses=statuses).transitions
    kinds = (BookAdded, BookChanged, BookRemoved)
    return [one for one in transitions if isinstance(one, kinds)]


def test_new_joins_the_back_of_its_queue(node: FakeNode) -> None:
    assert book(node, new(7, "0.61488")) == [BookAdded(0, 7, ADDRESS, BID, PX, 61488000)]


def test_new_in_front_of_another_order(node: FakeNode) -> None:
    priority = diff(7, {"new": {"sz": "1.5", "insertBefore": 105338503859}})
    assert book(node, priority) == [
        BookAdded(0, 7, ADDRESS, BID, PX, 150000000, before_oid=105338503859)
    ]


@pytest.mark.parametrize("anchor", [None, 0])
def test_new_in_front_of_nobody(node: FakeNode, anchor: int | None) -> None:
    (added,) = book(node, diff(7, {"new": {"sz": "1.5", "insertBefore": anchor}}))
    assert isinstance(added, BookAdded)
    assert added.before_oid == 0


def test_update_has_the_new_and_the_old_size(node: FakeNode) -> None:
    assert book(node, update(7, "0.18007", "0.1804")) == [BookChanged(0, 7, 18007000, 18040000)]


def test_repeated_updates_are_all_yielded(node: FakeNode) -> None:
    sizes = ("0.2", "0.19567", "0.19414", "0.19261")
    chain = [update(7, after, before) for before, after in pairwise(sizes)]
    assert book(node, *chain) == [
        BookChanged(0, 7, 19567000, 20000000),
        BookChanged(0, 7, 19414000, 19567000),
        BookChanged(0, 7, 19261000, 19414000),
    ]


def test_update_to_zero_then_remove_both_yielded(node: FakeNode) -> None:
    changed = BookChanged(0, 7, 0, 50000000)
    assert book(node, update(7, "0.0"), remove(7)) == [changed, BookRemoved(0, 7)]


def test_modified_is_a_change_of_size(node: FakeNode) -> None:
    assert book(node, diff(7, {"modified": {"sz": "2"}})) == [BookChanged(0, 7, 200000000)]


def test_diffs_keep_the_order_of_the_file(node: FakeNode) -> None:
    found = book(node, new(9), remove(3), new(5), update(9, "0.1"), remove(5))
    assert [(type(one).__name__, getattr(one, "oid", 0)) for one in found] == [
        ("BookAdded", 9),
        ("BookRemoved", 3),
        ("BookAdded", 5),
        ("BookChanged", 9),
        ("BookRemoved", 5),
    ]


@pytest.mark.parametrize(("text", "side"), [("B", BID), ("Bid", BID), ("A", ASK), ("Ask", ASK)])
def test_sides_are_spelled_in_four_ways(node: FakeNode, text: str, side: int) -> None:
    (added,) = book(node, new(7, side=text))
    assert isinstance(added, BookAdded)
    assert added.side == side


@pytest.mark.parametrize("name", ["open", "triggered"])
def test_a_missing_side_is_that_of_the_status(node: FakeNode, name: str) -> None:
    statuses = [status(6, side="B"), status(7, name, side="A")]
    (added,) = book(node, without(new(7), "side"), statuses=statuses)
    assert isinstance(added, BookAdded)
    assert added.side == ASK


def test_a_missing_side_that_nothing_tells_is_corrupt(node: FakeNode) -> None:
    error = node.corrupt(diffs=[without(new(7), "side")], statuses=[status(7, "canceled")])
    assert "order 7 has no side, and no open or triggered status" in str(error)
    assert (error.path, error.offset, error.height) == (node.path(DIFFS), 0, 1)


def test_update_and_remove_need_no_side_and_no_price(node: FakeNode) -> None:
    events = [without(event, "side", "px") for event in (update(7, "0.1"), remove(7))]
    assert book(node, *events) == [BookChanged(0, 7, 10000000, 50000000), BookRemoved(0, 7)]


@pytest.mark.parametrize("address", ["0x" + "ff" * 20, "0x" + "fe" * 20])
def test_orders_of_system_addresses_have_diffs_without_statuses(
    node: FakeNode, address: str
) -> None:
    added = book(node, new(7, user=address), new(8, user=OTHER))[0]
    assert isinstance(added, BookAdded)
    assert added.user == bytes.fromhex(address[2:])


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (diff(7, {"swap": {"sz": "1"}}), "unknown field `swap`"),
        (diff(7, {}), "order 7 is of no kind"),
        (diff(7, "vanish"), "Invalid enum value 'vanish'"),
        (diff(7, None), "got `null`"),
        (diff(7, {"new": {}}), "missing required field `sz`"),
        (diff(7, {"update": {"origSz": "1.0"}}), "missing required field `newSz`"),
        (new(7, "-"), "'-' is not a decimal number"),
        (new(7, px="1.123456789"), "more than 8 decimals"),
        (without(new(7), "px"), "order 7 has no px"),
        (new(7, side="Left"), "'Left' is not a side"),
        (new(7, user="0x1"), "'0x1' is not 0x and 40 hex digits"),
        (without(new(7), "oid"), "missing required field `oid`"),
    ],
)
def test_a_diff_that_can_not_be_read_is_corrupt(node: FakeNode, event: Any, message: str) -> None:
    error = node.corrupt(diffs=[event])
    assert message in str(error)
    assert (error.path, error.offset, error.height) == (node.path(DIFFS), 0, 1)
