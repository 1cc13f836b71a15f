"""Clients and nodes that come back: from too long ago, by the thousand, by another way."""

import json
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from rig import Client, Node, Sidecar, client_of, sidecar_of
from sidecar import feed
from sidecar.devnet.chain import Chain
from sidecar.devnet.rows import snapshot_rows
from sidecar.node import follow
from sidecar.node.block_records import block_digest
from sidecar.node.log import LogReader
from sidecar.node.log_writer import LogWriter
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import AccountRow
from sidecar.node.transitions import BID, BookAdded, Fill
from sidecar.recovery import repair, replica
from sidecar.server import hub
from sidecar.server.breaks import Breaks
from sidecar.state.chain import ChainState
from test_faults import steps_to_check

pytestmark = pytest.mark.anyio
TRADES = {"type": "trades", "coin": "TOYOTA"}


def truth(node: Node) -> set[tuple[int, bytes]]:
    return {
        (one.tid, one.hash)
        for block in node.blocks
        for one in block.transitions
        if isinstance(one, Fill)
    }


async def feed_is(sidecar: Sidecar, state: str) -> None:
    assert sidecar.state.health is not None
    while sidecar.state.health.feed.state != state:
        await anyio.sleep(0.01)


async def test_a_node_that_went_another_way_leaves_nothing_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REBUILD_RETRY_S", 0.04)
    monkeypatch.setattr(feed, "REBUILD_RETRY_MAX_S", 0.4)
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 0.05)  # a few looks find a file to be gone
    first = Node(tmp_path / "ipc", segment_blocks=10)
    second = Node(tmp_path / "again", segment_blocks=10, actions_per_block=30)
    with first, second:
        first.step(45)
        async with sidecar_of(first) as sidecar, client_of(sidecar) as client:
            await client.subscribe(None, **TRADES)
            for segment in list_segments(first.ipc.log):
                segment.unlink()
            await feed_is(sidecar, "gap")
            second.step(45)
            second.snapshot()
            second.step(15)
            for segment in list_segments(second.ipc.log):
                shutil.copy(segment, first.ipc.log)
            for snapshot in second.ipc.snapshots.iterdir():
                shutil.copy(snapshot, first.ipc.snapshots)
            await sidecar.reaches(60)
            await feed_is(sidecar, "live")
            assert "gap" in {message["channel"] for message in await client.quiet(0.3)}
            state, really = sidecar.state, truth(second)
            rows = (row for row in snapshot_rows(second.chain) if isinstance(row, AccountRow))
            assert all(state.users.look(row.user).balance == row.balance for row in rows)
            known = [one.fill for market in state.markets.values() for one in market.trades]
            assert {(one.tid, one.hash) for one in known} <= really
            for user in state.users.by_address.values():
                assert {(f.trade.fill.tid, f.trade.fill.hash) for f in user.fills or ()} <= really


async def test_thousands_of_comebacks_beyond_the_log_cost_a_few_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = 0
    init = LogReader.__init__

    def counted(self: LogReader, *args: Any, **kwargs: Any) -> None:
        nonlocal opened
        opened += 1
        init(self, *args, **kwargs)

    with Node(tmp_path / "ipc", segment_blocks=10) as node:
        node.step(400)
        node.snapshot()
        for segment in list_segments(node.ipc.log)[:-3]:
            segment.unlink()
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            monkeypatch.setattr(LogReader, "__init__", counted)
            for height in range(1, 301):
                wanted = {"type": "orderUpdates", "user": f"0x{height:040x}"}
                resume = {"height": height}
                await client.say(method="subscribe", subscription=wanted, resume=resume)
            gaps = 0
            while gaps < 300:
                gaps += (await client.next())["channel"] == "gap"
            assert opened < 300  # as many as there are groups, times a few


async def test_who_gave_up_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TOPICS_LINGERING_MAX", 0)
    monkeypatch.setattr("sidecar.recovery.waiting.RESUMPTIONS_WAITING_MAX", 100)
    with Node(tmp_path / "ipc") as node:
        node.step(40)
        async with sidecar_of(node) as sidecar:
            async with client_of(sidecar) as quitter:
                for _ in range(150):
                    await quitter.say(
                        method="subscribe", subscription=TRADES, resume={"height": 5_000}
                    )
                    await quitter.say(method="unsubscribe", subscription=TRADES)
                for _ in range(300):
                    answer = json.loads(await quitter.websocket.recv())
                    assert answer["channel"] == "subscriptionResponse"
            async with client_of(sidecar) as client:
                await client.subscribe(20, **TRADES)
                assert (await client.next())["channel"] == "trades"


async def test_one_address_keeps_nobody_from_coming_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TOPICS_LINGERING_MAX", 0)
    monkeypatch.setattr("sidecar.recovery.waiting.RESUMPTIONS_WAITING_PER_IP", 40)
    monkeypatch.setattr("sidecar.recovery.waiting.RESUMPTIONS_WAITING_MAX", 60)
    with Node(tmp_path / "ipc") as node:
        node.step(40)
        async with (
            sidecar_of(node) as sidecar,
            client_of(sidecar) as greedy,
            client_of(sidecar, "127.0.0.3") as second,
            client_of(sidecar, "127.0.0.2") as other,
        ):
            assert await gaps_of(greedy, 50) == ["40 topics of this address wait already"] * 10
            assert await gaps_of(second, 20) == []
            for coin in ("TOYOTA", "SONY"):  # those that are ahead give way to it
                await other.subscribe(20, type="trades", coin=coin)
                told = await other.quiet(0.3)
                assert {one["channel"] for one in told} == {"trades"}
            crowded = "too many clients are coming back at once"
            assert await gaps_of(other, 3) == [crowded] * 2  # it is ahead itself: one place is left


async def gaps_of(client: Client, count: int) -> list[str]:
    """Why topics are not waited for that are ahead, of so many."""
    for number in range(1, count + 1):
        wanted = {"type": "orderUpdates", "user": f"0x{number:040x}"}
        await client.say(method="subscribe", subscription=wanted, resume={"height": 5_000})
    told = await client.quiet(0.3)
    return [one["data"]["reason"] for one in told if one["channel"] == "gap"]


async def test_a_height_that_no_chain_reaches_soon_is_not_waited_for(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(4)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            await client.subscribe(10**9, **TRADES)
            gap = await client.next()
            assert gap["channel"] == "gap"
            assert "this sidecar is at height 4, below 1000000000" in json.dumps(gap)


async def test_a_log_that_was_cut_ends_the_run_and_the_next_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "REBUILD_QUIET_S", 0.2)
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 0.05)  # a few looks find a file to be gone
    with Node(tmp_path / "ipc", segment_blocks=10) as node:
        node.step(95)
        async with (
            sidecar_of(node) as sidecar,
            client_of(sidecar) as high,
            client_of(sidecar) as low,
        ):
            for segment in list_segments(node.ipc.log)[6:]:
                segment.unlink()
            await feed_is(sidecar, "gap")
            await high.subscribe(80, **TRADES)
            await low.subscribe(20, **TRADES)
            assert "gap" in {one["channel"] for one in await high.quiet(1.0)}
            told = await low.quiet(0.5)
            assert told[-1]["channel"] == "gap"
            heights = [one["height"] for one in told[:-1] if one["channel"] == "trades"]
            assert 20 < heights[0] < heights[-1] <= 60


async def test_what_sums_up_books_is_told_anew_after_a_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "REBUILD_POLL_S", 0.3)
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        node.snapshot()
        async with (
            sidecar_of(node) as sidecar,
            client_of(sidecar) as mids,
            client_of(sidecar) as context,
            client_of(sidecar) as orders,
        ):
            market = sidecar.state.by_symbol["TOYOTA"]
            await mids.subscribe(type="allMids")
            await context.subscribe(type="activeAssetCtx", coin="TOYOTA")
            await orders.subscribe(type="openOrders", user="0x" + "07" * 20)  # has none
            list(market.book.queue(0))[-1].sz += 1
            steps_to_check(node, market.id)
            while not sidecar.state.faults:
                await anyio.sleep(0.001)
            while sidecar.state.faults:
                await anyio.sleep(0.01)
            _, answer = await sidecar.ask(type="allMids")
            assert (await mids.quiet(0.3))[-1]["data"]["mids"] == answer
            assert (await context.quiet(0.3))[-1]["data"]["ctx"]["midPx"] == answer["TOYOTA"]
            assert len(await orders.quiet(0.2)) == 1  # the first snapshot: nothing of it was wrong


def resting(state: ChainState) -> dict[str, list[int]]:
    """The orders of each market."""
    return {market.symbol: sorted(market.book.orders) for market in state.markets.values()}


def goes_another_way(node: Node, back: int) -> None:
    """A node that is set back to a block, and writes others from there on, as many."""
    node.writer.close()
    chain = Chain(node.chain.config)
    kept = [chain.step() for _ in range(back)]
    chain.set_time(chain.time_ns + 2 * chain.config.block_ns)
    others = [chain.step() for _ in range(node.chain.height - back)]
    (segment,) = list_segments(node.ipc.log)
    segment.unlink()
    node.chain, node.writer = chain, LogWriter(node.ipc.log, chain.config.chain)
    for block in (*kept, *others):
        node.writer.append(block)


async def test_a_node_that_goes_another_way_as_a_rebuild_ends_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had been rebuilt went on with blocks of the other way. Found by simulation."""
    adopted = []
    adopt = ChainState.adopt

    def adopt_as_it_goes(state: ChainState, rebuilt: ChainState, *, doubted: bool) -> None:
        adopt(state, rebuilt, doubted=doubted)
        adopted.append(rebuilt.height)
        if len(adopted) == 1:
            goes_another_way(node, 20)

    with Node(tmp_path / "ipc") as node:
        node.step(15)
        node.snapshot()
        node.step(20)
        async with sidecar_of(node) as sidecar:
            monkeypatch.setattr(ChainState, "adopt", adopt_as_it_goes)
            sidecar.state.mark_everything("for a test")
            while len(adopted) < 2:
                node.step()
                await anyio.sleep(0.05)
            await feed_is(sidecar, "live")
            await sidecar.reaches(node.chain.height)
            ours, right = sidecar.state, ChainState()
            with LogReader(node.ipc.log) as reader:
                for block in iter(reader.next_block, None):
                    right.apply(block)
            assert ours.way.last is not None
            assert right.way.last is not None
            assert block_digest(ours.way.last) == block_digest(right.way.last)
            assert resting(ours) == resting(right)


async def test_an_order_that_can_not_be_is_a_fault_of_its_book(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(30)
        async with sidecar_of(node) as sidecar:
            block = node.chain.step()
            at, added = next(
                (at, one) for at, one in enumerate(block.transitions) if isinstance(one, BookAdded)
            )
            odd = BookAdded(added.market, -1, added.user, added.side, added.px, added.sz)
            block.transitions.insert(at + 1, odd)
            node.writer.append(block)
            node.step(20)
            await sidecar.reaches(51)
            assert sidecar.state.faults.books[added.market].height == 31


async def test_a_newest_start_that_leads_nowhere_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint was written of a book that the next check contradicts: the client reads on
    from the one before.
    """
    monkeypatch.setattr(repair, "REBUILD_POLL_S", 0.3)
    monkeypatch.setattr(hub, "TOPICS_LINGERING_MAX", 0)  # read from the log, not from memory
    monkeypatch.setattr(Breaks, "height", lambda *_: 0)  # as in a process that was started since
    kept = tmp_path / "checkpoints"
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        node.snapshot()
        async with sidecar_of(node, checkpoint__directory=str(kept)) as sidecar:
            market = sidecar.state.by_symbol["TOYOTA"]
            steps_to_check(node, market.id)
            await sidecar.reaches(node.chain.height)
            last = list(market.book.queue(BID))[-1]
            last.sz += 777
            market.book.bids[-last.px].sz += 777
            assert sidecar.app.parts.checkpoints is not None
            sidecar.app.parts.checkpoints._write()
            damaged_at = sidecar.state.height
            steps_to_check(node, market.id)
            node.step(30)
            await sidecar.reaches(node.chain.height)
            while sidecar.state.faults or not any(kept.iterdir()):
                await anyio.sleep(0.01)
            async with sidecar_of(node) as clean:
                told = [await deltas_since(one, damaged_at) for one in (clean, sidecar)]
            assert told[0]
            assert told[0] == told[1]


async def deltas_since(sidecar: Sidecar, height: int) -> list[tuple[int, Any]]:
    """What a client that read up to `height` is told of a book, by heights."""
    async with client_of(sidecar) as client:
        await client.subscribe(height, type="bookDelta", coin="TOYOTA")
        told = await client.quiet(1.0)
    return [(one["height"], one["data"]) for one in told if one["channel"] == "bookDelta"]
