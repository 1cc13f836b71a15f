"""The checker finds every kind of violation that is planted, and none where there is none."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.history import checker, journal
from tests.history.journal import Told
from tests.history.topics import LATEST, topic_of
from tests.history.written import BLOCKS, COIN, History, write_log

CHECKER = Path(__file__).with_name("checker.py")
Spoil = Callable[[History], Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


@pytest.fixture(scope="module")
def clean(place: Path) -> History:
    return History(write_log(place))


def told(history: History, at: int, number: int = 0) -> Told:
    one = history.clients[number][at]
    assert isinstance(one, Told)
    return one


def test_what_is_as_it_should_be_passes(clean: History) -> None:
    assert list(clean.spoilt().judge().lines()) == []
    kinds = {one.topic.partition(":")[0] for one in clean.contents}
    assert kinds >= {"trades", "l4Book", "bookDelta", "orderUpdates", "userFills", "candle"}
    assert any(one.part[1] > 1 for one in clean.contents)  # some come in parts


def replace(history: History, at: int, number: int = 0, **fields: Any) -> None:
    entries = history.clients[number]
    entries[at] = msgspec.structs.replace(told(history, at, number), **fields)


def swap(history: History, kind: str) -> None:
    entries, places = history.clients[0], history.at(kind)
    one, other = places[4:6]
    entries[one], entries[other] = entries[other], entries[one]


def double(history: History, kind: str) -> None:
    at = history.at(kind)[5]
    history.clients[0].insert(at, history.clients[0][at])


def drop(history: History, kind: str, which: int = 5, number: int = 0) -> None:
    del history.clients[number][history.at(kind, number)[which]]


def in_parts(history: History) -> list[int]:
    """Where a message of more than one part begins."""
    return [
        at
        for at in history.at("userEvents")
        if told(history, at).part[0] == 1 < told(history, at).part[1]
    ]


def swap_parts(history: History) -> None:
    at, entries = in_parts(history)[0], history.clients[0]
    entries[at], entries[at + 1] = entries[at + 1], entries[at]


def unsubscribe(history: History) -> None:
    at = history.at("trades")[3]
    history.clients[0].insert(at, journal.Unsubscribed(f"trades:{COIN}"))


def lose_snapshot(history: History) -> None:
    del history.clients[0][history.at("bookDelta", first=True)[0]]


def second_snapshot(history: History) -> None:
    first = history.clients[0][history.at("bookDelta", first=True)[0]]
    history.clients[0].insert(history.at("bookDelta")[0], first)


def add(history: History, entry: journal.Entry, kind: str = "trades", which: int = 5) -> None:
    history.clients[0].insert(history.at(kind)[which], entry)


def invent(history: History) -> None:
    """Trades in a block that has none, with a chain that fits."""
    places = history.at("userFills")
    at = next(
        at for at in places[1:] if told(history, at).height - 1 > (told(history, at).prev or 0)
    )
    replace(history, at, height=told(history, at).height - 1)


def beyond_the_log(history: History) -> None:
    last = history.contents[-1]
    history.contents.append(msgspec.structs.replace(last, height=BLOCKS + 1))


def hide_behind_a_gap(history: History) -> None:
    """It resumed from before what the gap names, and was not told what is between."""
    entries = history.clients[1]
    at = history.at("trades", 1)
    later = [one for one in at if told(history, one, 1).height > 45]
    sub = next(
        i
        for i, one in enumerate(entries)
        if isinstance(one, journal.Subscribed) and one.topic == f"trades:{COIN}" and one.resume
    )
    height = told(history, later[0], 1).height
    for one in reversed([one for one in at if one > sub and one < later[0]]):
        del entries[one]
    entries.insert(sub + 1, journal.Gap(f"trades:{COIN}", height, height - 1, "why not"))


def tell_one_more(history: History) -> None:
    """The first one is told at the end what does not follow from the log, of a topic that has been
    quiet.
    """
    at = history.at("activeAssetData")[-1]
    last = told(history, at)
    assert last.height < BLOCKS - 1
    (content,) = (one for one in history.contents if one.digest == last.digest)
    data = msgspec.json.decode(content.data) | {"availableToTrade": ["1.0", "1.0"]}
    history.tell(0, history.at("blocks")[-1], last.topic, BLOCKS, data)


def mark_all(history: History, state: str) -> None:
    for entries in history.clients:
        for at, one in enumerate(entries):
            if isinstance(one, Told):
                entries[at] = msgspec.structs.replace(one, state=state)


def tell_status(history: History, state: str) -> None:
    at = history.at("blocks")[5] + 1
    data = {"feed": {"state": state}, "coins": {}, "users": {}}
    history.tell(0, at, "status", told(history, at - 1).height, data, prev=None)
    replace(history, at, state=state)


def unmarked_status(history: History) -> None:
    tell_status(history, "stale")
    replace(history, history.at("status")[-1], state=None)


def resume_too_far(history: History) -> None:
    """The server's word of where to go on names a height that was not read."""
    at = history.at("trades")[5]
    before = told(history, at).prev
    assert before is not None
    reason = f"too slow on trades:{COIN}: resume from height {told(history, at).height}"
    del history.clients[0][at:]
    history.clients[0] += [journal.Closed("server", 1013, reason)]


def says(kind: str, *path: Any, to: Any, everybody: bool = True) -> Spoil:
    """The last message of a kind has something else at a path."""

    def changed(data: Any) -> Any:
        if not path:
            return to
        within = data
        for name in path[:-1]:
            within = within[name]
        within[path[-1]] = to
        return data

    return lambda one: one.say_otherwise(kind, changed, everybody=everybody)


ORDER, CHAIN = "order", "chain"
PLANTED: dict[str, tuple[str, Spoil]] = {
    "a message is missing": ("missing", lambda one: drop(one, "trades")),
    "one of a resumed topic is missing": ("missing", lambda one: drop(one, "trades", -3, 1)),
    "the first behind a resume is missing": (
        "missing",
        lambda one: drop(one, "orderUpdates", len(one.at("orderUpdates")) // 2, 1),
    ),
    "the last one is missing": ("missing", lambda one: drop(one, "l4Book", -1)),
    "a message came twice": (ORDER, lambda one: double(one, "bookDelta")),
    "a message of a LATEST topic came twice": (ORDER, lambda one: double(one, "bbo")),
    "two messages changed places": (ORDER, lambda one: swap(one, "orderUpdates")),
    "two books changed places": (ORDER, lambda one: swap(one, "l2Book")),
    "prev names another": (CHAIN, lambda one: replace(one, one.at("trades")[5], prev=1)),
    "there is no prev": (CHAIN, lambda one: replace(one, one.at("trades")[5], prev=-1)),
    "prev is forgotten": (CHAIN, lambda one: replace(one, one.at("userFills")[5], prev=None)),
    "a LATEST message has a prev": (CHAIN, lambda one: replace(one, one.at("bbo")[5], prev=3)),
    "a snapshot's prev is another": (
        CHAIN,
        lambda one: replace(one, one.at("bookDelta", first=True)[0], prev=3),
    ),
    "the last part is missing": ("torn", lambda one: one.clients[0].pop(in_parts(one)[0] + 1)),
    "the first part is missing": ("torn", lambda one: one.clients[0].pop(in_parts(one)[0])),
    "parts changed places": ("torn", swap_parts),
    "it goes on behind an unsubscription": (ORDER, unsubscribe),
    "a topic begins without its snapshot": (ORDER, lose_snapshot),
    "a second snapshot without a gap": (ORDER, second_snapshot),
    "it is answered twice": (
        ORDER,
        lambda one: add(one, journal.Subscribed(f"trades:{COIN}", None)),
    ),
    "a message of a block without any": ("invented", invent),
    "a block that is not in the log": ("invented", beyond_the_log),
    "a gap of what can't have one": ("gap", lambda one: add(one, journal.Gap("bbo", 3, 4, "no"))),
    "a gap without a reason": (
        "gap",
        lambda one: add(one, journal.Gap(f"trades:{COIN}", 30, 31, "")),
    ),
    "a gap that names less than is missing": ("missing", hide_behind_a_gap),
    "resume from beyond what was read": ("missing", resume_too_far),
    "the end was not seen": ("unfinished", lambda one: one.clients[1].pop()),
    "a refusal": ("refused", lambda one: add(one, journal.Refused("no"))),
    "an error of the server": ("closed", lambda one: add(one, journal.Closed("server", 1011, ""))),
    "the newest of a LATEST topic is missing": ("missing", lambda one: drop(one, "l2Book", -1)),
    "the last block is not told": ("missing", lambda one: drop(one, "blocks", -1, 1)),
    "one is not told what changed in a block": ("missing", lambda one: drop(one, "openOrders", 9)),
    "others were told more": ("missing", tell_one_more),
    "all is marked as without blocks": ("mark", lambda one: mark_all(one, "stale")),
    "all is marked as old, and status says live": ("mark", lambda one: mark_all(one, "behind")),
    "nothing is marked, and status says behind": ("mark", lambda one: tell_status(one, "behind")),
    "status is not marked with its own word": ("mark", unmarked_status),
    "an unknown state": (
        "mark",
        lambda one: replace(one, one.at("trades")[5], state="wonderful"),
    ),
    "one is told something else": (
        "bytes",
        says("trades", 0, "px", to="1.0", everybody=False),
    ),
    "all are told another price": ("content", says("trades", 0, "px", to="1.0")),
    "another side": ("content", says("trades", 0, "side", to="C")),
    "another checksum": ("content", says("bookDelta", "checksum", to=1)),
    "another level": ("content", says("bookDelta", "bids", to=[["1.0", "1.0", 1]])),
    "an update is left out": ("content", says("orderUpdates", to=None)),
    "another status": ("content", says("orderUpdates", 0, "status", to="filled?")),
    "a diff is left out": ("content", says("l4Book", "Updates", "book_diffs", to=[])),
    "a fill of another size": ("content", says("userFills", "fills", 0, "sz", to="7.0")),
    "a book as it was": ("content", says("l2Book", "levels", 0, 0, "sz", to="1.0")),
    "another best bid": ("content", says("bbo", "bbo", 0, to=None)),
    "another mid": ("content", says("allMids", "mids", COIN, to="1.0")),
    "another mark": ("content", says("activeAssetCtx", "ctx", "markPx", to="1.0")),
    "another candle": ("content", says("candle", "h", to="1.0")),
    "an open order is hidden": ("content", says("openOrders", "orders", to=[])),
    "a position is hidden": (
        "content",
        says("clearinghouseState", "clearinghouseState", "assetPositions", to=[]),
    ),
    "blocks count otherwise": ("content", says("blocks", "trades", to=999)),
    "events of another kind": ("content", says("userEvents", to={"fills": []})),
    "an order of nobody": (
        "answer",
        lambda one: one.answers[0].statuses.append({"filled": {"oid": 10**15}}),
    ),
    "an order of another block": ("answer", lambda one: setattr(one.answers[0], "height", 2)),
    "an order beyond the log": ("answer", lambda one: setattr(one.answers[0], "height", 10**6)),
}


@pytest.mark.parametrize("what", sorted(PLANTED))
def test_what_is_planted_is_found(clean: History, what: str) -> None:
    kind, spoil = PLANTED[what]
    history = clean.spoilt()
    spoil(history)
    assert kind in history.judge().counts


@pytest.mark.parametrize("kind", sorted(LATEST))
def test_a_topic_that_freezes_is_found(clean: History, kind: str) -> None:
    """After its second message nobody is told anything of it."""
    history = clean.spoilt()
    for number, entries in enumerate(history.clients):
        places = sorted(history.at(kind, number) + history.at(kind, number, first=True))
        assert len(places) > 5
        for at in reversed(places[2:]):
            del entries[at]
    assert "missing" in history.judge().counts


def test_each_message_counts_wherever_it_is(clean: History) -> None:
    """Any one that is doubled or named wrongly is found, and any that is lost and may not be."""
    places = every_message(clean)
    assert len(places) > 250
    for at in places:
        doubled, renamed = clean.spoilt(), clean.spoilt()
        doubled.clients[0].insert(at, doubled.clients[0][at])
        replace(renamed, at, prev=(told(renamed, at).prev or 0) + 1)
        for history in (doubled, renamed, *lost(clean, at)):
            assert history.judge_streams(), f"{told(clean, at)}"


def lost(clean: History, at: int) -> list[History]:
    """Without it. A LATEST topic's first message may be overtaken by its second one, and a `blocks`
    message by the next.
    """
    kind = topic_of(told(clean, at).topic).kind
    later = [one for one in clean.at(kind) if one > at]
    earlier = [one for one in (*clean.at(kind), *clean.at(kind, first=True)) if one < at]
    if kind in LATEST and (not earlier or (kind == "blocks" and later)):
        return []
    history = clean.spoilt()
    del history.clients[0][at]
    return [history]


def test_nothing_to_judge_is_no_verdict(tmp_path: Path) -> None:
    found, _ = checker.check(tmp_path)
    assert found.counts["nothing"] == 4
    done = subprocess.run((sys.executable, str(CHECKER), str(tmp_path)), check=False)
    assert done.returncode == 1
    done = subprocess.run((sys.executable, str(CHECKER), str(tmp_path / "not")), check=False)
    assert done.returncode == 2


def test_as_a_command_on_files(clean: History, place: Path, tmp_path: Path) -> None:
    """What recorders write is what the checker reads."""
    clean.save(tmp_path)
    (tmp_path / "log").symlink_to(place / "log")
    found, seen = checker.check(tmp_path)
    assert list(found.lines()) == []
    assert seen["messages"] == sum(
        isinstance(one, Told) for one in clean.clients[0] + clean.clients[1]
    )
    assert seen["contents"] == len(clean.contents)
    history = clean.spoilt()
    drop(history, "trades")
    history.save(tmp_path)
    done = subprocess.run(
        (sys.executable, str(CHECKER), str(tmp_path)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "VIOLATION missing: 1" in done.stdout, done.stdout + done.stderr


def every_message(history: History) -> list[int]:
    """Where the first client was told something: of LATEST topics every eighth."""
    places = [
        at
        for at, one in enumerate(history.clients[0])
        if isinstance(one, Told) and one.topic != "status"
    ]
    latest = [at for at in places if topic_of(told(history, at).topic).kind in LATEST]
    return sorted(set(places) - set(latest) | set(latest[::8]) | {latest[-1]})
