"""The producer writes what the chain says, alone, and goes on where it stopped."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from eth_account import Account
from hyperliquid.utils.signing import sign_l1_action
from test_devnet_replay import Replay

from sidecar.devnet import producer as producer_module
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.devnet.inputs import InputsLog
from sidecar.devnet.producer import produce
from sidecar.devnet.recipe import read_recipe, write_recipe
from sidecar.errors import ConfigInvalid, LogUnwritable
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log import LogReader
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import SnapshotReader, list_snapshots
from sidecar.node.submission import (
    Answer,
    RecordStream,
    Request,
    decode_answer,
    encode_request,
)
from sidecar.node.transitions import Block, BookAdded

pytestmark = pytest.mark.anyio


def config(path: Path, **settings: Any) -> DevnetConfig:
    """A quick chain of few actions."""
    quick: dict[str, Any] = {"block_ms": 1, "actions_per_block": 10, "blocks": 20}
    return DevnetConfig(path, **(quick | settings))


def read(path: Path, after: int = 0) -> list[Block]:
    with LogReader(path / "log", after=after, chain="devnet-1") as log:
        return list(iter(log.next_block, None))


async def test_everything_written_can_be_read(tmp_path: Path) -> None:
    told: list[Block] = []
    await produce(config(tmp_path), on_block=told.append)
    info = IpcDirectory(tmp_path).read_chain()
    blocks = read(tmp_path)
    assert blocks == told
    assert [block.height for block in blocks] == list(range(1, 21))
    assert (info.chain, info.block_ms) == ("devnet-1", 1)
    assert blocks[0].time_ns >= info.genesis_ns
    assert all(block.written_ns >= block.time_ns - 10**9 for block in blocks)


async def test_snapshots_say_what_the_log_says(tmp_path: Path) -> None:
    await produce(config(tmp_path, blocks=35, snapshot_blocks=10))
    snapshots = [SnapshotReader(path) for path in list_snapshots(tmp_path / "snapshots")]
    assert [snapshot.header.height for snapshot in snapshots] == [30, 20]
    replay = Replay()
    for block in read(tmp_path):
        replay.apply(block)
        for snapshot in snapshots:
            if snapshot.header.height == block.height:
                replay.agrees_with(list(snapshot.rows()))
                assert snapshot.header.time_ns == block.time_ns


async def test_old_segments_go_but_none_that_a_kept_snapshot_needs(tmp_path: Path) -> None:
    settings = config(tmp_path, blocks=64, snapshot_blocks=10, segment_blocks=4)
    await produce(settings)
    heights = [int(path.stem) for path in list_segments(tmp_path / "log")]
    assert heights[0] == 49  # the older snapshot is of 50
    assert [block.height for block in read(tmp_path, after=50)] == list(range(51, 65))


async def test_a_chain_goes_on_where_it_stopped(tmp_path: Path) -> None:
    await produce(config(tmp_path, blocks=20))
    await produce(config(tmp_path, blocks=15, snapshot_blocks=30))
    blocks = read(tmp_path)
    assert [block.height for block in blocks] == list(range(1, 36))
    assert [block.time_ns for block in blocks] == sorted(block.time_ns for block in blocks)
    inputs = InputsLog(tmp_path / "inputs").read(0, 35)
    assert sorted(inputs) == [1, 21]
    chain = Chain(config(tmp_path))
    for block in blocks:
        clock_ns = inputs[block.height].clock_ns if block.height in inputs else None
        if clock_ns is not None:
            chain.set_time(clock_ns)
        assert chain.step() == msgspec.structs.replace(block, written_ns=0)
    for path in list_snapshots(tmp_path / "snapshots"):
        assert SnapshotReader(path).header.height == 30


async def test_it_goes_on_from_retired_segments(tmp_path: Path) -> None:
    settings = config(tmp_path, blocks=40, snapshot_blocks=10, segment_blocks=4)
    await produce(settings)
    assert list_segments(tmp_path / "log")[0].stem != f"{1:020d}"
    await produce(settings)
    assert read(tmp_path, after=70)[-1].height == 80


async def test_a_half_written_block_is_cut_off_and_made_again(tmp_path: Path) -> None:
    await produce(config(tmp_path))
    before = read(tmp_path)
    segment = list_segments(tmp_path / "log")[-1]
    os.truncate(segment, segment.stat().st_size - 3)
    await produce(config(tmp_path, blocks=2))
    after = read(tmp_path)
    assert [block.height for block in after] == list(range(1, 22))
    assert after[:19] == before[:19]


@pytest.mark.parametrize("broken", [0, 1, 2])
async def test_it_goes_on_from_the_newest_usable_snapshot(tmp_path: Path, broken: int) -> None:
    settings = config(tmp_path, blocks=34, snapshot_blocks=10, segment_blocks=64)
    await produce(settings)
    for path in list_snapshots(tmp_path / "snapshots")[:broken]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    if broken == 2:  # the older one's inputs went with it
        with pytest.raises(LogUnwritable, match="inputs of block 1 are gone"):
            await produce(settings)
        return
    await produce(settings)
    assert [block.height for block in read(tmp_path)] == list(range(1, 69))


async def test_signed_actions_are_executed_again(tmp_path: Path) -> None:
    """A chain that starts again has what traders did, between its snapshots and before."""
    wallet = Account.from_key("0x" + "77" * 32)

    async def post(action: dict[str, Any], nonce: int) -> Answer:
        signature = sign_l1_action(wallet, action, None, nonce, None, False)
        body = msgspec.json.encode({"action": action, "nonce": nonce, "signature": signature})
        async with await anyio.connect_unix(tmp_path / "submit.sock") as stream:
            await stream.send(encode_request(Request(nonce, 0, body)))
            records = RecordStream(1 << 20)
            while (payload := records.next_payload()) is None:
                records.feed(await stream.receive())
            return decode_answer(payload)

    async def trade(settings: DevnetConfig) -> list[Answer]:
        answers = []
        running = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: produce(settings, on_block=lambda _: running.set()))
            await running.wait()
            nonce = time.time_ns() // 1_000_000
            order = {"a": 3, "b": True, "p": "120", "s": "50", "r": False}
            order["t"] = {"limit": {"tif": "Gtc"}}
            place: dict[str, Any] = {"type": "order", "orders": [order], "grouping": "na"}
            faucet: dict[str, Any] = {"type": "faucet", "amount": "1000000"}
            for number, action in enumerate((faucet, place)):
                answers.append(await post(action, nonce + number))
            tasks.cancel_scope.cancel()
        return answers

    settings = config(tmp_path, blocks=None, block_ms=2, snapshot_blocks=25)
    heights = []
    for _ in range(3):
        answers = await trade(settings)
        assert [answer.ok for answer in answers] == [True, True]
        heights += [answer.height for answer in answers]
    blocks = read(tmp_path)
    assert [block.height for block in blocks] == list(range(1, blocks[-1].height + 1))
    user = bytes.fromhex(wallet.address[2:])
    added = [
        (block.height, one.oid)
        for block in blocks
        for one in block.transitions
        if isinstance(one, BookAdded) and one.user == user
    ]
    assert [height for height, _ in added] == heights[1::2]
    replay = Replay()
    for block in blocks:
        replay.apply(block)
    assert {row.oid for row in replay.orders[3] if row.user == user} == {oid for _, oid in added}


async def test_a_snapshot_that_the_log_lost_is_dropped(tmp_path: Path) -> None:
    await produce(config(tmp_path, snapshot_blocks=20))
    segment = list_segments(tmp_path / "log")[-1]
    os.truncate(segment, segment.stat().st_size - 3)
    await produce(config(tmp_path, blocks=0, snapshot_blocks=20))
    assert list_snapshots(tmp_path / "snapshots") == []


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"actions_per_block": 11},
        {"burst": True},
        {"markets": ("NTT",)},
        {"block_ms": 2},
        {"prices_blocks": 2},
        {"makers": 5},
        {"funding_ms": 1_000},
        {"moves": (Move("NTT", 5, 5, 5),)},
    ],
)
async def test_other_settings_need_a_fresh_directory(tmp_path: Path, other: dict[str, Any]) -> None:
    await produce(config(tmp_path, blocks=3))
    with pytest.raises(ConfigInvalid, match=rf"{next(iter(other))}.*fresh directory"):
        await produce(config(tmp_path, **other))
    assert len(read(tmp_path)) == 3


async def test_other_code_needs_a_fresh_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await produce(config(tmp_path, blocks=12))
    monkeypatch.setattr("sidecar.devnet.traders.crowd._TAKER_TURNS", 0.1)
    with pytest.raises(LogUnwritable, match=r"made by other code.*height"):
        await produce(config(tmp_path))


async def test_a_log_without_its_record_needs_a_fresh_directory(tmp_path: Path) -> None:
    await produce(config(tmp_path, blocks=3))
    record = tmp_path / "devnet.json"
    recipe = read_recipe(record)
    assert recipe is not None
    write_recipe(record, msgspec.structs.replace(recipe, rules="devnet/0"))
    with pytest.raises(LogUnwritable, match=r"'devnet/0'.*fresh directory"):
        await produce(config(tmp_path))
    for content in (b"{", b'{"rules": "\xff"}'):
        record.write_bytes(content)
        with pytest.raises(LogUnwritable, match="fresh directory"):
            await produce(config(tmp_path))
    record.unlink()
    with pytest.raises(LogUnwritable, match="fresh directory"):
        await produce(config(tmp_path))


async def test_two_producers_cant_write_one_log(tmp_path: Path) -> None:
    async with anyio.create_task_group() as tasks:
        first = anyio.Event()
        run = config(tmp_path, blocks=None)
        tasks.start_soon(lambda: produce(run, on_block=lambda _: first.set()))
        await first.wait()
        with pytest.raises(LogUnwritable, match="another development chain"):
            await produce(run)
        tasks.cancel_scope.cancel()
    blocks = read(tmp_path)  # and the cancelled one left a whole log and a free lock
    await produce(config(tmp_path, blocks=1))
    assert len(read(tmp_path)) == len(blocks) + 1


async def test_a_directory_that_cant_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnwritable, match="can't be written"):
        await produce(config(tmp_path / "file" / "ipc"))


async def test_a_full_disk_stops_the_chain_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(producer_module, "write_snapshot", full)
    with pytest.raises(LogUnwritable, match="No space left on device"):
        await produce(config(tmp_path, snapshot_blocks=7))
    assert len(read(tmp_path)) == 7


async def test_a_producer_that_was_held_up_sets_its_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer_module, "_CATCH_UP_S", -1.0)  # everything is too late
    await produce(config(tmp_path, blocks=5))
    inputs = InputsLog(tmp_path / "inputs").read(0, 5)
    assert sorted(inputs) == [1, 2, 3, 4, 5]
    await produce(config(tmp_path, blocks=5))  # and all of these go into the second making
    assert len(read(tmp_path)) == 10


async def test_the_schedule_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a block takes, the next one is due one interval after this one was."""
    dues: list[float] = []

    async def sleep_until(due: float) -> None:
        dues.append(due)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(anyio, "sleep_until", sleep_until)
    await produce(config(tmp_path, blocks=50, block_ms=7))
    assert [due - dues[0] for due in dues] == pytest.approx([0.007 * n for n in range(50)])
