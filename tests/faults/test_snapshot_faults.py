"""What can be wrong with snapshots: of a Hyperliquid node while books are compared with them, and
when one is needed; of a native node where one is to lead over a hole.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from sidecar.node.snapshot import MarketRow, RestingRow, write_snapshot
from sidecar.node.transitions import MarketListed
from tests.faults.recording import COINS, MARK
from tests.faults.scripted_info import Behaviour
from tests.faults.stages import Stage, Stages

COMPARED_EVERY_S = 0.1
TIMEOUT_S = 0.6


@pytest.fixture
def stage(stages: Stages) -> Iterator[Stage]:
    """Its books are compared with a snapshot again and again."""
    interval = f"--source-verify-interval-s={COMPARED_EVERY_S}"
    limits = {"SNAPSHOT_TIMEOUT_S": TIMEOUT_S}
    with stages.of("hyperliquid", interval, limits=limits) as stage:
        yield stage


class Log:
    """What a sidecar says from now on."""

    def __init__(self, stage: Stage) -> None:
        self._server = stage.server
        self._start = len(stage.server.output)

    def until(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + 30
        while not (found := re.search(pattern, self.told)):
            assert self._server.running
            assert time.monotonic() < deadline, pattern
            time.sleep(0.01)
        return found

    @property
    def told(self) -> str:
        return self._server.output[self._start :]


def compared(stage: Stage, behaviour: Behaviour, pattern: str) -> Log:
    """The next comparison is with that."""
    log = Log(stage)
    stage.files.info.script.append(behaviour)
    log.until(pattern)
    return log


def changed(stage: Stage, change: Callable[[Any], Any]) -> Behaviour:
    """The node's newest snapshot, otherwise."""
    info = stage.files.info

    def content() -> bytes:
        height, books = msgspec.json.decode(stage.node.recording.l4(info.mark))
        return msgspec.json.encode([height, change(books)])

    return info.writing(content)


def all_books(height: int) -> str:
    return rf'"height": {height}, "books": 3, "event": "books compared"'


def harmless(stage: Stage, since: int) -> None:
    """Nobody was told of anything."""
    assert stage.settle() == []
    assert stage.recorder.feed[since:] == []
    assert stage.recorder.of("status")[-1]["data"]["coins"] == {}


def test_snapshot_older(stage: Stage) -> None:
    """It is moved forward by the node's diffs."""
    since = stage.told()
    stage.play(2 * MARK)
    older = stage.files.info.mark - 2 * MARK
    log = compared(stage, stage.files.info.at(older), all_books(older))
    assert "differs" not in log.told
    harmless(stage, since)


def test_snapshot_newer(stage: Stage) -> None:
    """The node's files lag behind it: they are waited for."""
    since = stage.told()
    newer = stage.files.info.mark + MARK
    log = Log(stage)
    stage.files.info.script.append(stage.files.info.at(newer))
    log.until("snapshot there")
    stage.play(MARK + 3)
    log.until(all_books(newer))
    harmless(stage, since)


def test_snapshot_cut_short(stage: Stage) -> None:
    """A file that ends early is none."""
    since = stage.told()
    info = stage.files.info
    cut = info.writing(lambda: stage.node.recording.l4(info.mark)[:-40])
    compared(stage, cut, "books not compared.*|its snapshot can't be used")
    harmless(stage, since)


def test_snapshot_short_of_orders(stage: Stage) -> None:
    """The tail of one book is missing: that is a difference of that coin, and of no other. It is
    rebuilt, and again when the next snapshot has the tail.
    """

    def without_tail(books: Any) -> Any:
        for coin, (bids, asks) in books:
            if coin == COINS[0]:
                del bids[-2:], asks[-2:]
        return books

    first = stage.node.height
    log = compared(stage, changed(stage, without_tail), f'"coin": "{COINS[0]}".*book differs')
    log.until("repaired")
    log.until(f'(?s)repaired.*"coin": "{COINS[0]}"[^\n]*book differs.*repaired')
    assert not [coin for coin in COINS[1:] if f'"coin": "{coin}"' in log.told]
    for channel in ("l4Book", "l2Book", "bookDelta"):
        stage.may_be_wrong(channel, COINS[0], first, stage.node.height)
    stage.play(2)
    missed = stage.settle()
    assert {one.topic for one in missed} <= {("l4Book", COINS[0]), ("bookDelta", COINS[0])}


def test_snapshot_with_a_market_less(stage: Stage) -> None:
    """A book that is served and not in the snapshot can't be compared; it stays what it is."""
    since = stage.told()
    lacking = changed(stage, lambda books: [one for one in books if one[0] != COINS[2]])
    log = compared(stage, lacking, f'"coin": "{COINS[2]}".*not in the node\'s snapshot')
    log.until("books compared")
    harmless(stage, since)


def test_snapshot_with_a_market_more(stage: Stage) -> None:
    """A coin that no block has named is not served."""
    since = stage.told()

    def with_one_more(books: Any) -> Any:
        _, sides = msgspec.json.decode(msgspec.json.encode(books[0]))
        for side in sides:
            for _, order in side:
                order["coin"] = "GHOST"
        return [*books, ["GHOST", sides]]

    log = compared(stage, changed(stage, with_one_more), '"coin": "GHOST".*book not compared')
    assert "not listed here" in log.told
    assert "GHOST" not in stage.server.info(type="allMids")
    harmless(stage, since)


def test_snapshot_timing_out(stage: Stage) -> None:
    since = stage.told()
    silent = stage.files.info.silent(2 * TIMEOUT_S)
    log = compared(stage, silent, "gave no answer in.*books not compared")
    log.until(all_books(stage.files.info.mark))
    harmless(stage, since)


def test_snapshot_refused(stage: Stage) -> None:
    since = stage.told()
    refused = stage.files.info.writing(lambda: b"", status=500)
    compared(stage, refused, "refuses a snapshot.*books not compared")
    harmless(stage, since)


def test_wrong_snapshots_of_every_kind_when_one_is_needed(stage: Stage) -> None:
    """A hole in the files: none of them leads on but the one that is right."""
    node = stage.files
    since = stage.told()
    stage.play(3)
    first, info = node.height + 1, node.info
    info.script += [
        info.silent(2 * TIMEOUT_S),
        info.writing(lambda: b"", status=500),
        info.writing(lambda: node.recording.l4(info.mark)[:-40]),
        info.at(info.mark),  # older than the hole
    ]
    node.skip(3)
    node.play(MARK - 6)
    stage.recorder.await_feed("gap", since)
    stage.recorder.reach(node.height)
    stage.play(1)
    missed = stage.settle()
    assert missed
    assert {one.first for one in missed} == {first}


def test_wrong_snapshots_of_a_native_node(stages: Stages) -> None:
    """Likewise: one that is short, one that is above the log, one that is older than the hole."""
    with stages.of("native") as stage:
        node = stage.native
        since = stage.told()
        node.snapshot()
        stage.play(3)
        first = node.height + 1
        node.skip(2)
        node.play(MARK - 5)
        stage.recorder.await_feed("gap", since)
        log = Log(stage)
        snapshots = node.ipc.snapshots
        whole = write_snapshot(stage.scratch, *node.recording.rows(node.height))
        path = snapshots / whole.name
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
        log.until("torn or whose CRC does not match.*snapshot not used")
        path.unlink()
        path = write_snapshot(snapshots, *node.recording.rows(node.height + MARK))
        log.until(f"the log ends at height {node.height}.*snapshot not used")
        path.unlink()
        node.snapshot()
        missed = stage.agree()
        assert {one.first for one in missed} == {first}


def test_a_market_less_and_more_in_a_snapshot_of_a_native_node(stages: Stages) -> None:
    """A market that a snapshot lacks is one without orders there; the node's next check of its book
    says that it is not. Another one that no block names is one more.
    """
    with stages.of("native") as stage:
        node, coin = stage.native, COINS[2]
        since = stage.told()
        stage.play(3)
        first = node.height + 1
        node.skip(1)
        node.play(MARK - 4)
        stage.recorder.await_feed("gap", since)
        header, rows = node.recording.rows(node.height)
        listings = [row.listing for row in rows if isinstance(row, MarketRow)]
        lost = next(one.market for one in listings if one.symbol == coin)
        ghost = MarketRow(MarketListed(max(one.market for one in listings) + 1, "GHOST"))
        log = Log(stage)
        few = [row for row in rows if not isinstance(row, RestingRow) or row.market != lost]
        write_snapshot(node.ipc.snapshots, header, [*few[:1], ghost, *few[1:]])
        log.until('"rebuilt"')
        before = node.height
        node.play(MARK)
        node.snapshot()
        log.until(f"the book of {coin}.*repaired")
        for channel in ("l4Book", "l2Book"):
            stage.may_be_wrong(channel, coin, before, node.height)
        missed = stage.agree()
        assert min(one.first for one in missed) == first
        assert {one.topic[1] for one in missed if one.first != first} == {coin}
