"""Urgent actions that the node does not take at once: kept within bounds, sent when it does."""

from pathlib import Path

import pytest

from order_desk import HERE, THERE, desk_of, noop
from sidecar.limits import ORDERS_ADMITTED_PER_TURN, SUBMIT_IN_FLIGHT_MAX
from submit_node import until

pytestmark = pytest.mark.anyio


async def test_they_go_in_order_when_the_node_is_back(tmp_path: Path) -> None:
    """More than one turn's; what is sent then is answered as ever."""
    async with desk_of(tmp_path) as desk:
        await desk.ends()
        nets = [noop() for _ in range(ORDERS_ADMITTED_PER_TURN + 10)]
        told = [desk.take(net, urgent=True) for net in nets]
        (refused,) = desk.take(noop())
        assert refused.code == 503
        assert not any(told)
        await desk.connects()
        for net in nets:
            request = await desk.peer.request()
            assert request.body == net
            desk.peer.answer(request.request_id, {"type": "default"})
        await until(lambda: all(told))
        assert {one.status for (one,) in told} == {"ok"}


async def test_what_was_not_written_is_kept_too(tmp_path: Path) -> None:
    """The node stops reading, then it is gone."""
    async with desk_of(tmp_path) as desk:
        submitter = desk.orders.submitter
        while not submitter._out:
            submitter.submit(b"x" * 60_000, 1, lambda _: None)
        net, order = noop(), noop()
        told, refused = desk.take(net, urgent=True), desk.take(order)
        await desk.ends()
        await until(lambda: refused)
        assert (refused[0].code, told) == (503, [])
        await desk.connects()
        assert (await desk.peer.request()).body == net


async def test_they_have_room_where_others_have_none(tmp_path: Path) -> None:
    async with desk_of(tmp_path) as desk:
        for _ in range(SUBMIT_IN_FLIGHT_MAX):
            desk.orders.submitter.submit(b"x", 1, lambda _: None)
        (refused,) = desk.take(noop())
        assert b"too many are in flight" in refused.body
        net = noop()
        desk.take(net, urgent=True)
        for _ in range(SUBMIT_IN_FLIGHT_MAX):
            assert (await desk.peer.request()).body == b"x"
        assert (await desk.peer.request()).body == net


@pytest.mark.parametrize(("limit", "most"), [("UNSENT_KEPT", 2), ("UNSENT_BYTES_MAX", 900)])
async def test_so_many_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(f"sidecar.server.unsent.{limit}", most)
    async with desk_of(tmp_path) as desk:
        await desk.ends()
        told = [desk.take(noop(), urgent=True) for _ in range(6)]
        counts = [len(one) for one in told]
        assert counts == sorted(counts)
        assert {one.code for ones in told for one in ones} == {503}
        assert 1 <= counts.count(0) <= 3


async def test_one_that_is_too_old_by_then_is_refused(tmp_path: Path) -> None:
    async with desk_of(tmp_path) as desk:
        await desk.ends()
        told = desk.take(noop(), urgent=True)
        assert told == []
        desk.applied(2, later_ns=3 * 24 * 3_600 * 10**9)
        await desk.connects()
        await until(lambda: told)
        assert b"is not within two days before" in told[0].body


async def test_they_are_told_when_the_server_ends(tmp_path: Path) -> None:
    async with desk_of(tmp_path) as desk:
        await desk.ends()
        told = [desk.take(noop(), address, urgent=True) for address in (HERE, THERE)]
    assert [one.code for (one,) in told] == [503, 503]
