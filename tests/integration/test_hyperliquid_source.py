"""A sidecar beside a development chain that looks like a Hyperliquid node, info server and all."""

import json
import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from websockets.asyncio.client import connect

from processes import Serve, Server, Start
from sidecar.node.hyperliquid import (
    DiffReader,
    HyperliquidReader,
    HyperliquidSnapshot,
    InfoClient,
    SnapshotFiles,
)
from sidecar.node.snapshot import TriggerRow
from sidecar.node.transitions import ASK
from sidecar.recovery.verify import Verdict, compare_snapshot
from sidecar.state.book import Order
from sidecar.state.chain import ChainState

USER = "0x" + "0a" * 20


@pytest.fixture
def node(start: Start, tmp_path: Path) -> tuple[str, Path]:
    """A chain's info server and data directory, once it has made some blocks."""
    data = tmp_path / "hl"
    process = start(
        "devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "50", "--hyperliquid", str(data),
        "--info-port", "0",
    )  # fmt: skip
    port = int(process.wait_for(r'"port": (\d+), "event": "info server"')[1])
    time.sleep(1.0)
    return f"http://127.0.0.1:{port}/info", data


def beside(serve: Serve, node: tuple[str, Path], tmp_path: Path, **options: Any) -> Server:
    url, data = node
    return serve(
        "--source-kind", "hyperliquid", "--source-path", str(data), "--source-info-url", url,
        "--source-snapshot-directory", str(tmp_path / "snapshots"), **options,
    )  # fmt: skip


def test_it_starts_from_a_snapshot_that_the_node_writes_for_it(
    serve: Serve, node: tuple[str, Path], tmp_path: Path
) -> None:
    server = beside(serve, node, tmp_path)
    assert "asking the node for a snapshot" in server.output
    assert "snapshot there" in server.output
    book = server.info(type="l2Book", coin="TOYOTA")
    assert min(map(len, book["levels"])) == 20
    (path,) = (tmp_path / "snapshots").iterdir()
    waiting = [row for row in HyperliquidSnapshot(path).rows() if isinstance(row, TriggerRow)]
    assert waiting
    time.sleep(0.3)
    assert server.info(type="l2Book", coin="TOYOTA")["time"] > book["time"]


def test_a_node_that_has_not_started_is_waited_for(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    first = start(
        "devnet", "--path", str(tmp_path / "other"), "--block-ms", "50", "--info-port", "0",
    )  # fmt: skip
    port = first.wait_for(r'"port": (\d+), "event": "info server"')[1]
    first.stop()
    data = tmp_path / "hl"
    data.mkdir()
    server = beside(serve, (f"http://127.0.0.1:{port}/info", data), tmp_path, ready=False)
    server.wait_for("waiting for the node")
    start(
        "devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "50", "--hyperliquid", str(data),
        "--info-port", port,
    )  # fmt: skip
    assert server.ready().info(type="exchangeStatus")["time"] >= 0


def test_a_directory_that_the_node_can_not_write_into_is_named(
    serve: Serve, node: tuple[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    url, data = node
    server = serve(
        "--source-kind", "hyperliquid", "--source-path", str(data), "--source-info-url", url,
        "--source-snapshot-directory", str(tmp_path / "file" / "x"), ready=False,
    )  # fmt: skip
    assert server.wait() == 1
    assert "source.snapshot_directory: can't make" in server.output.splitlines()[-1]


def test_what_the_files_do_not_hold_is_asked_of_the_node(
    serve: Serve, node: tuple[str, Path], tmp_path: Path
) -> None:
    """The development chain's info server answers few types; its refusal is told as it is."""
    server = beside(serve, node, tmp_path)
    status, refused = _post_text(server, {"type": "delegations", "user": USER})
    assert status == 422
    assert refused.startswith("Failed to deserialize the JSON body into the target type")
    outside = tmp_path / "outside.json"
    request = {"type": "fileSnapshot", "request": {"type": "l4Snapshots"}, "outPath": str(outside)}
    status, refused = _post_text(server, request)
    assert status == 422
    assert "unknown info type 'fileSnapshot'" in refused
    assert not outside.exists()

    async def ask() -> Any:
        async with connect(server.ws_url) as client:
            body = {"type": "info", "payload": {"type": "delegations", "user": USER}}
            await client.send(json.dumps({"method": "post", "id": 5, "request": body}))
            return json.loads(await client.recv())["data"]

    answer = anyio.run(ask)
    assert answer["id"] == 5
    assert answer["response"]["payload"].startswith("422: Failed to deserialize the JSON body")


def _post_text(server: Server, request: Any) -> tuple[int, str]:
    async def post() -> tuple[int, str]:
        client = InfoClient(f"{server.url}/info")
        answer = await client.post(
            json.dumps(request).encode(), timeout_s=10, answer_bytes_max=1 << 20
        )
        return answer.status, answer.body.decode()

    return anyio.run(post)


def test_books_are_compared_with_the_node_while_it_runs(
    node: tuple[str, Path], tmp_path: Path
) -> None:
    """Right ones are found right, again and again; one that is damaged is found wrong."""
    url, data = node

    async def follow(state: ChainState, reader: HyperliquidReader) -> None:
        while True:
            block = reader.next_block()
            if block is None:
                await anyio.sleep(0.002)
            else:
                state.apply(block)

    async def verdicts(state: ChainState, files: SnapshotFiles) -> list[Verdict]:
        known = {symbol: market.id for symbol, market in state.by_symbol.items()}
        snapshot = await files.open(known)
        with DiffReader(data, after=snapshot.height, markets=snapshot.markets) as diffs:
            found = compare_snapshot(state, snapshot, diffs, breathe=_breathe)
            return [verdict async for verdict in found]

    async def run() -> None:
        files = SnapshotFiles(InfoClient(url), tmp_path / "snapshots")
        first = HyperliquidSnapshot(await files.request_first())
        state = ChainState()
        state.restore(first.height, 0, first.rows())
        with HyperliquidReader(data, after=first.height, markets=first.markets) as reader:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow, state, reader)
                heights = []
                for _ in range(5):
                    found = await verdicts(state, files)
                    assert len(found) >= 5
                    assert not any(one.difference or one.doubt for one in found)
                    heights.append(found[-1].height)
                    await anyio.sleep(0.1)
                assert heights == sorted(set(heights))
                _add_a_ghost(state, "NTT")
                wrong = [one for one in await verdicts(state, files) if one.difference]
                assert [one.symbol for one in wrong] == ["NTT"]
                tasks.cancel_scope.cancel()

    anyio.run(run)


async def _breathe() -> None:
    await anyio.lowlevel.checkpoint()


def _add_a_ghost(state: ChainState, coin: str) -> None:
    """An order that the node does not have, far from where it trades."""
    ghost = Order(10**15, bytes(20), ASK, 10**15, 10**8, 0)
    state.by_symbol[coin].book.add(ghost, 0, {})
