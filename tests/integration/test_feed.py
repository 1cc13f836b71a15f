"""The feed outlives what the node's log does: it stops, lags, breaks, has a hole, goes back."""

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from rig import Client, Node, Sidecar, client_of, sidecar_of
from sidecar import feed
from sidecar.devnet.rows import snapshot_rows
from sidecar.errors import SidecarError, SourceMissing
from sidecar.feed import Feed
from sidecar.node import follow
from sidecar.node.log import LogReader
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import AccountRow
from sidecar.node.transitions import Block

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "REBUILD_RETRY_S", 0.04)
    monkeypatch.setattr(feed, "REBUILD_RETRY_MAX_S", 0.4)
    monkeypatch.setattr(follow, "FOLLOW_POLL_S", 0.05)


async def up_to_status(client: Client, state: str) -> list[Any]:
    """All messages up to the next status message that has the feed in that state."""
    seen = await client.until("status")
    while seen[-1]["data"]["feed"]["state"] != state:
        seen += await client.until("status")
    return seen


async def status(client: Client, state: str) -> Any:
    """That message."""
    return (await up_to_status(client, state))[-1]


async def test_a_log_that_turns_corrupt_is_told_and_goes_on_when_it_is_mended(
    tmp_path: Path,
) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(30)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            await client.subscribe(type="status")
            await client.subscribe(type="l4Book", coin="TOYOTA")
            (segment,) = list_segments(node.ipc.log)
            size = segment.stat().st_size
            with segment.open("ab") as file:
                file.write(b"\x01\x00\x00\x00garbage garbage")
            message = await status(client, "gap")
            said = message["data"]["feed"]["reason"]
            assert "CRC" in said
            assert f"file {segment}, offset {size}, height 31" in said
            assert (await sidecar.ask(type="serverInfo"))[1]["feed"]["state"] == "gap"
            assert (await sidecar.ask(type="l2Book", coin="TOYOTA"))[0] == 200
            with segment.open("r+b") as file:
                file.truncate(size)
            await status(client, "live")
            node.step(3)
            await sidecar.reaches(33)
            heights = [one["height"] for one in await client.quiet() if one["channel"] == "l4Book"]
            assert heights[-1] == 33


async def test_a_hole_is_crossed_by_the_next_snapshot_and_told_to_every_reader(
    tmp_path: Path,
) -> None:
    twin = Node(tmp_path / "whole", segment_blocks=10)
    shown = Node(tmp_path / "ipc", segment_blocks=10)
    with twin, shown:
        shown.step(50)
        async with sidecar_of(shown) as sidecar, client_of(sidecar) as client:
            await client.subscribe(type="status")
            await client.next()
            for kind in ("trades", "l4Book"):
                await client.subscribe(type=kind, coin="TOYOTA")
            await client.subscribe(type="l2Book", coin="TOYOTA")
            await client.quiet()
            twin.step(70)
            shutil.copy(list_segments(twin.ipc.log)[6], shown.ipc.log)
            message = await status(client, "gap")
            assert "the next segment starts at height 61" in message["data"]["feed"]["reason"]
            assert message["height"] == 50
            twin.step(15)
            snapshot = twin.snapshot()
            twin.step(5)
            shutil.copy(list_segments(twin.ipc.log)[7], shown.ipc.log)
            shutil.copy(list_segments(twin.ipc.log)[8], shown.ipc.log)
            shutil.copy(snapshot, shown.ipc.snapshots)
            seen = await up_to_status(client, "live") + await client.quiet(0.3)
            await sidecar.reaches(90)
            gaps = [one["data"] for one in seen if one["channel"] == "gap"]
            assert [gap["subscription"]["type"] for gap in gaps] == ["trades", "l4Book"]
            assert {(gap["from"], gap["to"]) for gap in gaps} == {(51, 85)}
            book = [one["data"] for one in seen if one["channel"] == "l4Book"]
            assert "Snapshot" in book[0]
            assert book[-1]["Updates"]["height"] == 90


async def test_a_log_that_went_back_is_waited_for(tmp_path: Path) -> None:
    twin = Node(tmp_path / "again", segment_blocks=10)
    shown = Node(tmp_path / "ipc", segment_blocks=10)
    with twin, shown:
        shown.step(45)
        async with sidecar_of(shown) as sidecar, client_of(sidecar) as client:
            await client.subscribe(type="status")
            await client.subscribe(type="l4Book", coin="TOYOTA")
            for segment in list_segments(shown.ipc.log)[2:]:
                segment.unlink()
            message = await status(client, "gap")
            assert message["height"] == 45
            twin.step(60)
            for segment in list_segments(twin.ipc.log)[2:]:
                shutil.copy(segment, shown.ipc.log)
            await status(client, "live")
            await sidecar.reaches(60)
            updates = [one for one in await client.quiet() if one["channel"] == "l4Book"]
            assert [one["height"] for one in updates][-1] == 60
            assert all(one["height"] > 45 for one in updates)


async def test_a_log_that_can_be_opened_but_not_read_is_tried_with_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where each attempt takes the last descriptor: it would go round thousands of times."""
    recover, attempts, fails = Feed._recover, 0, True
    next_block = LogReader.next_block

    async def counted(self: Feed, error: SidecarError) -> None:
        nonlocal attempts
        attempts += 1
        await recover(self, error)

    def refused(reader: LogReader) -> Block | None:
        block = next_block(reader)
        if block is None and fails:
            raise SourceMissing("can't be read: Too many open files", path=tmp_path)
        return block

    with Node(tmp_path / "ipc") as node:
        node.step(5)
        async with sidecar_of(node) as sidecar:
            monkeypatch.setattr(Feed, "_recover", counted)
            monkeypatch.setattr(Feed, "_go_on", _opens_a_reader)
            monkeypatch.setattr(LogReader, "next_block", refused)
            node.step()  # wakes it
            await anyio.sleep(0.5)
            assert 1 <= attempts < 50
            fails = False
            node.step(3)
            await sidecar.reaches(9)


def _opens_a_reader(self: Feed, _: SidecarError) -> bool:
    self._reader = self._origin.reader(self._state.height)
    return True


def replace_log(node: Node, other: Node) -> None:
    """The one node's log becomes the other one's."""
    for segment in list_segments(node.ipc.log):
        segment.unlink()
    for segment in list_segments(other.ipc.log):
        shutil.copy(segment, node.ipc.log)


async def test_a_node_that_comes_back_another_way_is_found_out_and_everything_rebuilt(
    tmp_path: Path,
) -> None:
    shown = Node(tmp_path / "ipc", segment_blocks=10)
    other = Node(tmp_path / "other", segment_blocks=10, actions_per_block=30)  # at the same times
    with shown, other:
        shown.step(45)
        async with sidecar_of(shown) as sidecar, client_of(sidecar) as client:
            await client.subscribe(type="status")
            await client.next()
            await client.subscribe(type="trades", coin="TOYOTA")
            other.step(45)
            assert other.blocks[-1].time_ns == shown.blocks[-1].time_ns
            replace_log(shown, other)
            shutil.copy(other.snapshot(), shown.ipc.snapshots)
            seen = await up_to_status(client, "resyncing")
            assert "another block than the one that was read" in seen[-1]["data"]["feed"]["reason"]
            seen = await up_to_status(client, "live")
            (gap,) = [one["data"] for one in seen if one["channel"] == "gap"]
            assert (gap["from"], gap["to"]) == (45, 45)
            assert "what was sent of the blocks before it may be of the other" in gap["reason"]
            assert not sidecar.state.faults
            balances = {
                row.user: row.balance
                for row in snapshot_rows(other.chain)
                if isinstance(row, AccountRow)
            }
            assert balances
            assert {user: sidecar.state.users.look(user).balance for user in balances} == balances
            await begins_anew_from(45, sidecar)
            await begins_anew_from(30, sidecar)
            shown_further(shown, other)
            await sidecar.reaches(47)
            async with client_of(sidecar) as back:  # what it has is of this way
                await back.subscribe(46, **L4_BOOK)
                assert [one["height"] for one in await back.quiet()] == [47]


@pytest.mark.parametrize("another", [True, False])
async def test_who_comes_back_over_a_gap_begins_anew_where_the_way_can_not_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, another: bool
) -> None:
    """A snapshot leads on where blocks are missing; what was read before may be of another way
    unless the log still shows it. Found by simulation.
    """
    monkeypatch.setattr(feed, "REBUILD_RETRY_S", 0.04)
    shown = Node(tmp_path / "ipc", segment_blocks=10)
    other = Node(tmp_path / "other", segment_blocks=10, actions_per_block=30 if another else 40)
    with shown, other:
        shown.step(45)
        async with sidecar_of(shown) as sidecar:
            other.step(62)
            for segment in list_segments(shown.ipc.log)[: 9 if another else 0]:
                segment.unlink()
            shutil.copy(other.snapshot(), shown.ipc.snapshots)
            other.step(3)
            shutil.copy(list_segments(other.ipc.log)[-1], shown.ipc.log)
            await sidecar.reaches(65)
            assert sidecar.state.doubted == (45 if another else 0)


L4_BOOK = {"type": "l4Book", "coin": "TOYOTA"}


async def begins_anew_from(height: int, sidecar: Sidecar) -> None:
    """Who comes back from there with what may be of the other way."""
    async with client_of(sidecar) as back:
        await back.subscribe(height, **L4_BOOK)
        gap, snapshot = await back.quiet()
    assert (gap["channel"], snapshot["channel"]) == ("gap", "l4Book")
    assert (gap["data"]["from"], gap["data"]["to"]) == (height + 1, 45)
    assert "another way" in gap["data"]["reason"]
    assert "Snapshot" in snapshot["data"]


def shown_further(shown: Node, other: Node) -> None:
    """The other one's next blocks, one that has something of the book among them."""
    other.step(2)
    (newest,) = (path for path in list_segments(other.ipc.log)[-1:])
    shutil.copy(newest, shown.ipc.log / "copy")
    (shown.ipc.log / "copy").rename(shown.ipc.log / newest.name)


async def test_a_node_that_comes_back_the_same_way_is_followed_on(tmp_path: Path) -> None:
    shown = Node(tmp_path / "ipc", segment_blocks=10)
    again = Node(tmp_path / "again", segment_blocks=7)  # the same chain, in other segments
    with shown, again:
        shown.step(45)
        async with sidecar_of(shown) as sidecar, client_of(sidecar) as client:
            for kind in ("trades", "blocks"):
                await client.subscribe(type=kind, coin="TOYOTA")
            again.step(48)
            replace_log(shown, again)
            seen = [await client.next()]
            while seen[-1].get("height") != 48:
                seen.append(await client.next())
            assert "gap" not in [one["channel"] for one in seen + await client.quiet()]
            assert sidecar.state.way.last == again.blocks[-1]


async def test_silence_is_stale_and_old_blocks_are_behind(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(10)
        flags = {"source__stale_after_s": "0.3", "source__behind_after_s": "5"}
        async with sidecar_of(node, **flags) as sidecar, client_of(sidecar) as client:
            await client.subscribe(type="status")
            stale = await status(client, "stale")
            assert stale["data"]["feed"]["reason"] == "the node has written no block for 0.3 s"
            assert stale["data"]["age"] > 5_000
            node.step()  # of long ago
            await status(client, "behind")
            await client.subscribe(type="blocks")
            assert (await client.until("blocks"))[-1]["state"] == "behind"
            answer = await sidecar.ask(type="serverInfo")
            assert answer[1]["feed"]["state"] in ("behind", "stale")


async def test_a_sidecar_that_starts_at_a_corrupt_record_says_so_and_waits(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(30)
        (segment,) = list_segments(node.ipc.log)
        size = segment.stat().st_size
        with segment.open("ab") as file:
            file.write(b"\x01\x00\x00\x00garbage garbage")
        with anyio.move_on_after(0.5) as scope:
            async with sidecar_of(node):
                raise AssertionError("it is not at the head")
        assert scope.cancelled_caught
        with segment.open("r+b") as file:
            file.truncate(size)
        async with sidecar_of(node) as sidecar:
            assert sidecar.state.height == 30
