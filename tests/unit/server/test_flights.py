"""Actions between the socket to the node and their block, with a node that answers as it likes."""

from pathlib import Path

import pytest

from order_desk import ALICE, Desk, another, desk_of, noop
from sidecar.limits import HEIGHT_AHEAD_MAX
from sidecar.node.submission import Request
from submit_node import until

pytestmark = pytest.mark.anyio

USER = bytes.fromhex(ALICE.address[2:])


def settled(desk: Desk) -> bool:
    return USER not in desk.orders.flights.unsettled


async def sent(desk: Desk, body: bytes | None = None) -> Request:
    """An action that has reached the node."""
    desk.take(noop() if body is None else body)
    return await desk.peer.request()


async def test_a_nonce_that_the_chain_did_not_use_can_be_used(tmp_path: Path) -> None:
    """An action that is refused in a block may have left it: what follows is the chain's to say."""
    async with desk_of(tmp_path) as desk:
        first = noop()
        told = desk.take(first)
        desk.peer.answer((await desk.peer.request()).request_id, "Action expired", ok=False)
        await until(lambda: told)
        second = another(first)
        executed = desk.take(second)
        request = await desk.peer.request()
        assert request.body == second
        desk.peer.answer(request.request_id, {"type": "default"})
        await until(lambda: executed)
        (refused,) = desk.take(another(first, minutes=2))
        assert b"duplicate nonce" in refused.body


async def test_a_nonce_of_an_action_whose_fate_is_unknown_can_be_tried(tmp_path: Path) -> None:
    async with desk_of(tmp_path) as desk:
        first = noop()
        told = desk.take(first)
        await desk.peer.request()
        await desk.ends()
        await until(lambda: told)
        assert told[0].status == "unknown"
        await desk.connects()
        second = another(first)
        assert (await sent(desk, second)).body == second


async def test_an_unknown_fate_is_not_settled_by_the_next_block(tmp_path: Path) -> None:
    """But by the block that the late answer names."""
    async with desk_of(tmp_path, answer_timeout_s=0.01) as desk:
        body = noop()
        told = desk.take(body)
        request = await desk.peer.request()
        await until(lambda: told)
        assert told[0].status == "unknown"
        for height in (2, 3, 4):
            desk.applied(height)
            assert not settled(desk)
        desk.peer.answer(request.request_id, {"type": "default"}, height=5)
        await until(lambda: desk.take(body)[0].status == "ok")
        assert not settled(desk)
        desk.applied(5)
        assert settled(desk)


async def test_an_unknown_fate_is_settled_when_nobody_waits_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.server.adrift.SUBMIT_LATE_S", 0.05)
    async with desk_of(tmp_path) as desk:
        await sent(desk)
        await desk.ends()
        await until(lambda: not desk.orders.flights.open_by_ip)
        assert not settled(desk)
        heights = iter(range(2, 1 << 30))

        def applied() -> bool:
            desk.applied(next(heights))
            return settled(desk)

        await until(applied)


async def test_what_was_not_sent_is_settled_at_once(tmp_path: Path) -> None:
    async with desk_of(tmp_path) as desk:
        while not desk.orders.submitter._out:  # until the kernel takes no more
            desk.orders.submitter.submit(b"x" * 60_000, 1, lambda _: None)
        told = desk.take(noop())
        assert not settled(desk)
        await desk.ends()
        await until(lambda: told)
        assert told[0].code == 503
        assert settled(desk)


async def test_an_answer_of_a_block_that_cannot_be_is_none(tmp_path: Path) -> None:
    """And holds nothing up: not the answers behind it, nor their traces."""
    async with desk_of(tmp_path) as desk:
        odd = noop()
        told = [desk.take(odd), desk.take(noop(), "another")]
        for height in (1 + HEIGHT_AHEAD_MAX + 1, 2):
            desk.peer.answer((await desk.peer.request()).request_id, "x", height)
        await until(lambda: all(told))
        assert [one.status for (one,) in told] == ["unknown", "ok"]
        assert b"is of block 1000002; it may have been executed" in told[0][0].body
        desk.applied(2)
        assert [one.height for one in desk.orders.flights.traces.recent] == [2]
        assert not settled(desk)  # the odd one may be in any block


async def test_no_answer_waits_behind_one_of_a_later_block(tmp_path: Path) -> None:
    async with desk_of(tmp_path) as desk:
        told = [desk.take(noop()) for _ in range(3)]
        for height in (9, 2, 3):
            desk.peer.answer((await desk.peer.request()).request_id, "x", height)
        await until(lambda: all(told))
        desk.applied(3)
        assert [one.height for one in desk.orders.flights.traces.recent] == [2, 3]
        assert not settled(desk)
        desk.applied(9)
        assert settled(desk)
