"""Books against snapshots of a node whose blocks go on: wrong ones are found, right ones never."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.hyperliquid.files import HyperliquidFiles
from sidecar.devnet.hyperliquid.snapshot import l4_snapshot
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.errors import LogGap, NodeError, SnapshotInvalid
from sidecar.node.hyperliquid import DiffReader, HyperliquidReader, HyperliquidSnapshot
from sidecar.node.transitions import ASK, BID
from sidecar.recovery import verify
from sidecar.recovery.verify import Verdict, compare_snapshot
from sidecar.state.book import Book
from sidecar.state.chain import ChainState

pytestmark = pytest.mark.anyio

COINS = ["TOYOTA", "SONY", "NTT", "KEYENCE", "NINTENDO"]


class Node:
    """A chain that writes a Hyperliquid node's files, and a state that follows them."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.chain = Chain(DevnetConfig("unused", seed=3, actions_per_block=40))
        self.files = HyperliquidFiles(self.data, [], [])
        self.reader = HyperliquidReader(self.data, after=0, markets={})
        self.state = ChainState()
        self.last = 100  # what goes on while books are compared ends there
        self._path = directory / "l4.json"

    def run(self, blocks: int, *, behind: int = 0) -> None:
        """Makes blocks; the state follows but for the last `behind`."""
        for _ in range(blocks):
            self.files.write(self.chain.step())
        self.follow(behind)

    def follow(self, behind: int = 0) -> None:
        while self.state.height < self.chain.height - behind:
            block = self.reader.next_block()
            assert block is not None
            self.state.apply(block)

    def snapshot(self, edit: Callable[[bytes], bytes] = lambda text: text) -> HyperliquidSnapshot:
        """As of now."""
        header, rows = snapshot_header(self.chain), list(snapshot_rows(self.chain))
        text = l4_snapshot(header, rows, users=True, triggers=True, height=True)
        self._path.write_bytes(edit(text))
        known = {symbol: market.id for symbol, market in self.state.by_symbol.items()}
        return HyperliquidSnapshot(self._path, markets=known)

    def book(self, coin: str) -> Book:
        return self.state.by_symbol[coin].book

    async def compare(
        self, snapshot: HyperliquidSnapshot, every: int = 0, **options: Callable[[str], bool]
    ) -> list[Verdict]:
        """A block goes by each time that the comparison pauses for the `every`th time."""
        pauses = itertools.count(1)

        async def breathe() -> None:
            if every and next(pauses) % every == 0 and self.chain.height < self.last:
                self.run(1)

        with DiffReader(self.data, after=snapshot.height, markets=snapshot.markets) as diffs:
            found = compare_snapshot(self.state, snapshot, diffs, breathe, **options)
            return [verdict async for verdict in found]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    with node.files, node.reader:
        node.run(60)
        yield node


def problems(verdicts: list[Verdict]) -> list[str]:
    return [one.symbol for one in verdicts if one.difference is not None or one.doubt is not None]


@pytest.mark.parametrize("ahead", [0, 1, 40])
async def test_books_that_are_right(node: Node, ahead: int) -> None:
    snapshot = node.snapshot()
    node.run(ahead)
    verdicts = await node.compare(snapshot)
    assert sorted(one.symbol for one in verdicts) == sorted(node.state.by_symbol)
    assert problems(verdicts) == []
    assert {one.height for one in verdicts} == {60 + ahead}
    for one in verdicts:
        assert one.orders == len(node.book(one.symbol).orders)


@pytest.mark.parametrize("every", [5, 50])
async def test_blocks_go_on_while_books_are_compared(
    node: Node, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.state.compare.VERIFY_SLICE_ORDERS", 5)
    snapshot = node.snapshot()
    node.run(5)
    verdicts = await node.compare(snapshot, every)
    assert problems(verdicts) == []
    assert verdicts[-1].height > 80


def swap_first(book: Book) -> None:
    """Two orders of one queue change places."""
    for side in (BID, ASK):
        for level in book.side(side).values():
            if len(level.orders) > 1:
                first = next(iter(level.orders))
                level.orders[first] = level.orders.pop(first)
                return
    raise AssertionError("no queue of two")


def lose_last(book: Book) -> None:
    """The tail of a side is missing."""
    *_, last = book.queue(ASK)
    book.remove(last, {})


def grow_worst(book: Book) -> None:
    *_, last = book.queue(BID)
    book.change(last, last.sz + 1, {})


@pytest.mark.parametrize("damage", [lose_last, grow_worst])
async def test_a_book_that_is_wrong_is_found_and_no_other(
    node: Node, damage: Callable[[Book], None]
) -> None:
    snapshot = node.snapshot()
    node.run(20)
    damage(node.book("SONY"))
    verdicts = await node.compare(snapshot)
    assert problems(verdicts) == ["SONY"]
    (wrong,) = [one for one in verdicts if one.difference is not None]
    assert wrong.difference is not None
    assert wrong.difference.field in ("order", "sz")


async def test_a_wrong_queue_is_found(node: Node) -> None:
    snapshot = node.snapshot()
    coin = next(one for one in node.state.by_symbol if _has_queue(node.book(one)))
    swap_first(node.book(coin))
    verdicts = await node.compare(snapshot)
    assert problems(verdicts) == [coin]
    assert next(one.difference.field for one in verdicts if one.difference) == "oid"


def _has_queue(book: Book) -> bool:
    return any(len(one.orders) > 1 for side in (BID, ASK) for one in book.side(side).values())


async def test_coins_that_are_known_to_be_wrong_are_left_out(node: Node) -> None:
    snapshot = node.snapshot()
    lose_last(node.book("SONY"))
    verdicts = await node.compare(snapshot, skip=lambda coin: coin == "SONY")
    assert "SONY" not in {one.symbol for one in verdicts}
    asked: list[str] = []

    def marked_meanwhile(coin: str) -> bool:
        asked.append(coin)
        return asked.count(coin) > 1

    verdicts = await node.compare(snapshot, skip=marked_meanwhile)
    assert "SONY" not in {one.symbol for one in verdicts}
    assert len(verdicts) == len(node.state.by_symbol) - 1


async def test_a_book_that_was_replaced_meanwhile_is_left_out(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.state.compare.VERIFY_SLICE_ORDERS", 5)
    snapshot = node.snapshot()
    pauses, rows = itertools.count(), len(list(snapshot.orders("TOYOTA")))

    async def replace_late() -> None:
        if next(pauses) == rows + 2:
            node.state.by_symbol["TOYOTA"].book = Book()

    with DiffReader(node.data, after=60, markets=snapshot.markets) as diffs:
        verdicts = compare_snapshot(node.state, snapshot, diffs, replace_late)
        found = [verdict.symbol async for verdict in verdicts]
    assert "TOYOTA" not in found
    assert len(found) == len(node.state.by_symbol) - 1


async def test_a_state_that_has_not_reached_the_snapshot_is_waited_for(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.run(10, behind=10)
    snapshot = node.snapshot()
    assert (snapshot.height, node.state.height) == (70, 60)
    monkeypatch.setattr(verify, "VERIFY_POLL_S", 0.001)
    monkeypatch.setattr(verify, "VERIFY_WAIT_S", 0.02)
    with pytest.raises(NodeError, match=r"files end below its snapshot's height .* 70"):
        await node.compare(snapshot)
    monkeypatch.setattr(verify, "VERIFY_WAIT_S", 5.0)
    found: list[Verdict] = []
    async with anyio.create_task_group() as tasks:

        async def compare() -> None:
            found.extend(await node.compare(snapshot))

        tasks.start_soon(compare)
        await anyio.sleep(0.01)
        node.follow()
    assert problems(found) == []
    assert {one.height for one in found} == {70}


async def test_diffs_that_do_not_come_end_the_comparison(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = node.snapshot()
    node.state.height += 1  # a block that the files do not hold
    monkeypatch.setattr(verify, "VERIFY_POLL_S", 0.001)
    monkeypatch.setattr(verify, "VERIFY_WAIT_S", 0.02)
    with pytest.raises(NodeError, match=r"diffs did not come for 0\.02 s \(height 61\)"):
        await node.compare(snapshot)


async def test_files_that_begin_above_the_snapshot_are_a_gap(node: Node) -> None:
    snapshot = node.snapshot()
    node.run(10)
    for path in (node.data / "node_raw_book_diffs_by_block").glob("hourly/*/*"):
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[62:]))
    with pytest.raises(LogGap, match="files start at block 63, and block 61 is needed"):
        await node.compare(snapshot)


async def test_a_comparison_that_can_not_keep_up_is_given_up(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "VERIFY_CATCH_UP_BLOCKS_MAX", 0)
    snapshot = node.snapshot()
    with pytest.raises(NodeError, match="blocks come faster than they can be compared"):
        await node.compare(snapshot, every=20)


async def test_too_many_steps_are_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = node.snapshot()
    node.run(20)
    monkeypatch.setattr(verify, "VERIFY_STEPS_MAX", 50)
    with pytest.raises(NodeError, match="over 50 book steps since the snapshot: given up"):
        await node.compare(snapshot)


async def test_a_snapshot_that_its_own_diffs_contradict_is_a_doubt(node: Node) -> None:
    """The books here are right: it is not they that are told to be wrong."""
    snapshot = node.snapshot(lambda text: text.replace(b'[60,[["TOYOTA",[[', b'[61,[["TOYOTA",[['))
    assert snapshot.height == 61
    node.run(30)
    verdicts = await node.compare(snapshot)
    assert problems(verdicts)
    assert all(
        one.difference is not None or "snapshot and diffs disagree" in (one.doubt or "")
        for one in verdicts
        if one.symbol in problems(verdicts)
    )


async def test_a_coin_that_only_the_snapshot_has(node: Node) -> None:
    order = b'{"coin":"X","side":"B","limitPx":"1","sz":"1","oid":1}'
    user = b'"0x' + b"0a" * 20 + b'"'
    for bids, expected in ((b"", []), (b"[" + user + b"," + order + b"]", ["X"])):
        books = b'["X",[[' + bids + b'],[]]],["TOYOTA"'
        verdicts = await node.compare(
            node.snapshot(lambda text, books=books: text.replace(b'["TOYOTA"', books, 1))  # type: ignore[misc]
        )
        assert problems(verdicts) == expected
    assert [one.doubt for one in verdicts if one.symbol == "X"] == ["not listed here"]


async def test_a_coin_that_only_the_state_has(node: Node) -> None:
    def without_sony(text: bytes) -> bytes:
        start = text.index(b',["SONY",')
        return text[:start] + text[text.index(b']]],["', start) + 3 :]

    snapshot = node.snapshot(without_sony)
    assert "SONY" not in snapshot.symbols
    verdicts = await node.compare(snapshot)
    assert [one for one in verdicts if one.difference is not None] == []
    (doubtful,) = [one for one in verdicts if one.doubt is not None]
    assert (doubtful.symbol, doubtful.doubt) == ("SONY", "not in the node's snapshot")


async def test_a_broken_book_in_the_snapshot_ends_the_comparison(node: Node) -> None:
    snapshot = node.snapshot(lambda text: text.replace(b'"side":"B"', b'"side":"?"', 1))
    with pytest.raises(SnapshotInvalid, match="has a broken book of TOYOTA"):
        await node.compare(snapshot)
