"""Whose action is looked at next: every address has its turn, and none fills the others' room."""

from collections import Counter
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order_desk import HERE, THERE, desk_of, noop
from sidecar import limits
from sidecar.api.orders.incoming import Incoming
from sidecar.api.orders.outcomes import Outcome
from sidecar.errors import Limited, Overloaded
from sidecar.server import turns as module
from sidecar.server.turns import Turns
from sidecar.telemetry.tracecontext import continue_trace
from submit_node import until

TRACE = continue_trace(None)


def unheard(_: Outcome) -> None:
    """Nobody wants to know."""


def action(
    address: str, name: str = "", connection: object = None, *, urgent: bool = False
) -> Incoming:
    body, whose = name.encode(), connection or address
    return Incoming(body, address, whose, TRACE, 0, unheard, urgent=urgent)


def names(turns: Turns) -> list[str]:
    return [one.body.decode() for one in turns.take_all()]


def test_one_of_each_address_after_the_other() -> None:
    turns = Turns()
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        turns.add(action(name[0], name))
    assert len(turns) == 6
    assert names(turns) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert not turns


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_nobody_waits_for_more_than_one_of_each_other(steps: list[tuple[str, bool]]) -> None:
    """Whatever comes and goes: an address's own actions in order, and no address twice while
    another waits.
    """
    turns, waiting, since = Turns(), Counter[str](), dict[str, Counter[str]]()
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    for number, (address, add) in enumerate(steps):
        if add or not turns:
            if not waiting[address]:
                since[address] = Counter()
            turns.add(action(address, f"{address}{number}"))
            waiting[address] += 1
            continue
        one = turns.next()
        seen[one.address].append(int(one.body[1:]))
        waiting[one.address] -= 1
        since[one.address] = Counter()
        for other in "abc":
            if other != one.address and waiting[other]:
                since[other][one.address] += 1
                assert since[other][one.address] <= 1
    assert len(turns) == waiting.total()
    assert all(numbers == sorted(numbers) for numbers in seen.values())


@pytest.mark.parametrize(
    ("limit", "size", "fits"),
    [("ORDERS_WAITING_PER_IP", 1, 4), ("ORDERS_WAITING_BYTES_PER_IP", 2, 2)],
)
def test_an_address_has_so_much_room(
    monkeypatch: pytest.MonkeyPatch, limit: str, size: int, fits: int
) -> None:
    monkeypatch.setattr(module, limit, 4)
    turns = Turns()
    for _ in range(fits):
        turns.add(action("a", "x" * size))
    with pytest.raises(Limited, match="of this address"):
        turns.add(action("a", "x" * size))
    turns.add(action("b", "x" * size))
    turns.next()
    turns.add(action("a", "x" * size))


@pytest.mark.parametrize("limit", ["ORDERS_WAITING_MAX", "ORDERS_WAITING_BYTES_MAX"])
def test_one_of_each_address_has_room_however_full_it_is(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(module, limit, 4)
    turns = Turns()
    for _ in range(4):
        turns.add(action("a", "a"))
    with pytest.raises(Overloaded):
        turns.add(action("a", "a"))
    turns.add(action("b", "b"))
    with pytest.raises(Overloaded):
        turns.add(action("b", "b"))
    assert names(turns) == ["a", "b", "a", "a", "a"]
    turns.add(action("b", "b"))


def test_an_urgent_one_waits_for_its_own_connection_alone() -> None:
    turns, mine, other = Turns(), object(), object()
    for name, connection in (("o1", other), ("m1", mine), ("o2", other), ("m2", mine)):
        turns.add(action("a", name, connection))
    turns.add(action("b", "b1"))
    assert turns.hurry(action("a", "net", mine, urgent=True))
    assert len(turns) == 6
    assert names(turns) == ["m1", "b1", "o1", "m2", "o2", "net"]
    assert not turns.hurry(action("a", "net", mine, urgent=True))
    turns.add(action("a", "o3", other))
    assert not turns.hurry(action("a", "net", mine, urgent=True))
    assert names(turns) == ["o3"]


@pytest.mark.anyio
async def test_a_flood_of_one_address_keeps_nobody_out(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first turn is full, hundreds wait; another address's one goes in the next turn, and
    what is too much for all together is no fault of anybody's.
    """
    monkeypatch.setattr(module, "ORDERS_WAITING_MAX", 150)
    async with desk_of(tmp_path_factory.mktemp("desk")) as desk:
        flood = [desk.take(noop(), THERE) for _ in range(limits.ORDERS_ADMITTED_PER_TURN + 160)]
        body = noop()
        desk.take(body, HERE)
        assert {one.code for told in flood for one in told} == {503}
        assert sum(map(len, flood)) == 10
        sent = [(await desk.peer.request()).body for _ in range(201)]
        assert sent.index(body) <= limits.ORDERS_ADMITTED_PER_TURN + 1


@pytest.mark.anyio
async def test_who_has_nothing_left_does_not_wait(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its actions are refused before they take room, and cost no turn."""
    limited = {"burst_per_ip": 20, "per_s_per_ip": 1e-6}
    async with desk_of(tmp_path_factory.mktemp("desk"), **limited) as desk:
        for _ in range(40):
            desk.take(b"nonsense", THERE)
        await anyio.lowlevel.checkpoint()
        turns: Callable[[], int] = desk.orders._turns.__len__
        flood = [desk.take(noop(), THERE) for _ in range(limits.ORDERS_ADMITTED_PER_TURN + 100)]
        assert turns() == 0
        assert {one.code for told in flood for one in told} == {429}
        assert sum(map(len, flood)) == len(flood)


@pytest.mark.anyio
async def test_long_bodies_use_a_turn_up_sooner(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with desk_of(tmp_path_factory.mktemp("desk")) as desk:
        nonsense = b"x" * 60_000
        told = [desk.take(nonsense) for _ in range(limits.ORDERS_ADMITTED_PER_TURN)]
        assert sum(map(len, told)) == 4
        await until(lambda: all(told))


@pytest.mark.anyio
async def test_what_waits_in_a_hurry_goes_when_no_more_turns_are_given(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The server ends at once: a net goes, and before it what its connection had sent."""
    async with desk_of(tmp_path_factory.mktemp("desk")) as desk:
        here, there = object(), object()
        mine, others = ([noop() for _ in range(60)] for _ in range(2))
        for _ in range(limits.ORDERS_ADMITTED_PER_TURN):
            desk.take(b"nonsense", THERE)
        for one, other in zip(mine, others, strict=True):
            desk.take(one, HERE, here)
            desk.take(other, HERE, there)
        net = noop()
        desk.take(net, HERE, here, urgent=True)
        desk.tasks.cancel_scope.cancel()  # it may have had one turn by then
        sent: list[bytes] = []
        with anyio.CancelScope(shield=True):
            while net not in sent:
                sent.append((await desk.peer.request()).body)
        assert [one for one in sent if one not in others] == [*mine, net]
        assert len(sent) <= 61 + limits.ORDERS_ADMITTED_PER_TURN // 2


@pytest.mark.anyio
async def test_what_still_waits_when_the_server_ends_is_told(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Nothing of it was sent."""
    async with desk_of(tmp_path_factory.mktemp("desk")) as desk:
        told = [desk.take(noop()) for _ in range(limits.ORDERS_ADMITTED_PER_TURN + 200)]
        await desk.orders.close(0.0)
        assert all(told)
        codes = Counter(one.code for (one,) in told)
        assert codes[503] >= 200 - limits.ORDERS_ADMITTED_PER_TURN
        assert codes[504] >= limits.ORDERS_ADMITTED_PER_TURN
        assert set(codes) == {503, 504}
