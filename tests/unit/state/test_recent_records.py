"""What is kept of the past stays within its bounds, and comes back the same."""

from hypothesis import given
from hypothesis import strategies as st

from sidecar.state.recent import Recent
from sidecar.state.users import User, Users

PER_USER, OVERALL = 3, 7


def kept(users: Users) -> dict[bytes, list[int]]:
    return {
        address: list(user.fills)  # type: ignore[arg-type]
        for address, user in users.by_address.items()
        if user.fills is not None
    }


def fill(users: Users, gone: list[tuple[User, int]] | None = None) -> Recent[int]:
    evicted = None if gone is None else lambda user, one: gone.append((user, one))
    return Recent("fills", PER_USER, OVERALL, evicted)


@given(owners=st.lists(st.integers(0, 4), max_size=60))
def test_the_newest_are_kept_within_both_bounds(owners: list[int]) -> None:
    users, gone = Users(), list[tuple[User, int]]()
    recent = fill(users, gone)
    added: dict[bytes, list[int]] = {}
    for number, owner in enumerate(owners):
        address = bytes([owner]) * 20
        recent.add(users.get(address), number)
        added.setdefault(address, []).append(number)
        now = kept(users)
        assert len(recent) == sum(map(len, now.values())) <= OVERALL
        for address, entries in now.items():
            assert 0 < len(entries) <= PER_USER
            assert entries == added[address][-len(entries) :]
        assert number in now[bytes([owner]) * 20]  # what came last is never what goes
    left = [one for entries in kept(users).values() for one in entries]
    assert sorted([*left, *(one for _, one in gone)]) == list(range(len(owners)))


@given(
    owners=st.lists(st.integers(0, 4), max_size=60), later=st.lists(st.integers(0, 4), max_size=20)
)
def test_entries_make_the_same_again_and_it_goes_on_equally(
    owners: list[int], later: list[int]
) -> None:
    users, again = Users(), Users()
    recent, copy = fill(users), fill(again)
    for number, owner in enumerate(owners):
        recent.add(users.get(bytes([owner]) * 20), number)
    for user, entry in recent.entries():
        copy.add(again.get(user.address), entry)
    assert kept(again) == kept(users)
    for number, owner in enumerate(later, start=1000):
        recent.add(users.get(bytes([owner]) * 20), number)
        copy.add(again.get(bytes([owner]) * 20), number)
    assert kept(again) == kept(users)


def test_a_busy_user_does_not_push_others_out() -> None:
    users = Users()
    recent = fill(users)
    quiet, busy = users.get(b"q" * 20), users.get(b"b" * 20)
    recent.add(quiet, 1)
    for number in range(1000):
        recent.add(busy, number)
    assert kept(users) == {b"q" * 20: [1], b"b" * 20: [997, 998, 999]}


def test_as_many_are_kept_as_the_bounds_say_and_no_more() -> None:
    users, gone = Users(), list[tuple[User, int]]()
    recent = fill(users, gone)
    many = [users.get(bytes([owner]) * 20) for owner in range(OVERALL + 1)]
    for number, user in enumerate(many[:OVERALL]):
        recent.add(user, number)
    assert (len(recent), gone) == (OVERALL, [])
    recent.add(many[OVERALL], OVERALL)
    assert (len(recent), gone) == (OVERALL, [(many[0], 0)])
