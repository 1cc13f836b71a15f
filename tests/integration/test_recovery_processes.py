"""Starting again, as an operator meets it: what is taken, what is refused and why."""

import re
import time
from pathlib import Path

import anyio
import pytest

from processes import Serve, Server, Start
from sidecar.checkpoints import CHECKPOINTS
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.producer import produce
from sidecar.node.row_files import RowDirectory
from sidecar.node.segments import list_segments
from sidecar.node.snapshot import list_snapshots

BLOCKS, SNAPSHOT_BLOCKS = 80, 20


@pytest.fixture
def ipc(tmp_path: Path) -> Path:
    """A chain of 80 blocks in segments of 15, with snapshots at 60 and 80, ended."""
    path = tmp_path / "ipc"
    config = DevnetConfig(
        path, block_ms=1, blocks=BLOCKS, snapshot_blocks=SNAPSHOT_BLOCKS, segment_blocks=15
    )
    anyio.run(produce, config)
    return path


def flags_of(ipc: Path) -> tuple[str, str]:
    return f"--source-path={ipc}", f"--checkpoint-directory={checkpoints(ipc).path}"


def checkpoints(ipc: Path) -> RowDirectory[object]:
    return RowDirectory(ipc.parent / "checkpoints", CHECKPOINTS)


def began(server: Server) -> tuple[str, int]:
    found = re.search(r'"origin": "(\w+)", "height": (\d+)', server.output)
    assert found is not None
    return found[1], int(found[2])


def books(server: Server) -> list[object]:
    return [server.info(type="l2Book", coin=coin) for coin in ("TOYOTA", "SONY", "NTT")]


def test_a_polite_end_is_where_the_next_start_begins(ipc: Path, serve: Serve) -> None:
    first = serve(*flags_of(ipc))
    assert began(first) == ("snapshot", 80)
    expected = books(first)
    assert first.stop() == 0
    assert '"checkpoint written"' in first.output
    again = serve(*flags_of(ipc))
    assert began(again) == ("checkpoint", 80)
    assert books(again) == expected


def test_checkpoints_are_of_one_sidecar_alone(tmp_path: Path, start: Start, serve: Serve) -> None:
    ipc, own = tmp_path / "ipc", tmp_path / "own"
    start("devnet", "--path", str(ipc), "--block-ms", "20")
    flags = ("--source-path", str(ipc), "--checkpoint-directory", str(own))
    first = serve(*flags)
    second = serve(*flags, ready=False)
    assert second.wait() == 1
    assert f"another sidecar keeps its checkpoints in {own}; give each its own" in second.output
    assert first.stop() == 0
    serve(*flags)


def test_operators_are_answered_before_the_node_is_there(
    tmp_path: Path, start: Start, serve: Serve
) -> None:
    server = serve("--source-path", str(tmp_path / "ipc"), "--operator-port", "0", ready=False)
    port = server.operator_port
    assert server.get("/healthz", port) == (200, {"alive": True})
    status, told = server.get("/readyz", port)
    assert (status, told["ready"], told["feed"]["state"]) == (503, False, "starting")
    start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "20")
    server.ready()
    assert server.get("/readyz", port)[0] == 200


def test_a_damaged_checkpoint_a_damaged_snapshot_a_missing_segment(ipc: Path, serve: Serve) -> None:
    server = serve(*flags_of(ipc))
    expected = books(server)
    assert server.stop() == 0
    (checkpoint,) = checkpoints(ipc).list()
    damage(checkpoint)
    server = serve(*flags_of(ipc))
    assert "checkpoint not used" in server.output
    assert began(server) == ("snapshot", 80)
    server.kill()
    damage(list_snapshots(ipc / "snapshots")[0])
    server = serve(*flags_of(ipc))
    assert "snapshot not used" in server.output
    assert began(server) == ("snapshot", 60)
    assert books(server) == expected
    server.kill()
    list_segments(ipc / "log")[-2].unlink()
    server = serve(*flags_of(ipc), ready=False)
    assert server.wait() == 1
    last = server.output.splitlines()[-1]
    assert last.startswith("sidecar: LogGap: there is no checkpoint or snapshot to start from")
    assert re.search(r"the log (has no blocks|starts at height) \d+", last)


def test_a_checkpoint_above_the_log_is_refused_and_replaced(ipc: Path, serve: Serve) -> None:
    assert serve(*flags_of(ipc)).stop() == 0
    above, below = list_snapshots(ipc / "snapshots")
    above.unlink()
    for segment in list_segments(ipc / "log"):
        if int(segment.stem) > int(below.stem) + 1:
            segment.unlink()  # the node was set back behind its older snapshot
    server = serve(*flags_of(ipc))
    assert "below it: it was cut or replaced" in server.output
    assert began(server) == ("snapshot", 60)
    assert server.stop() == 0
    (kept,) = checkpoints(ipc).list()
    assert int(kept.stem) < BLOCKS


def test_a_start_without_a_directory_says_what_that_means(ipc: Path, serve: Serve) -> None:
    server = serve(f"--source-path={ipc}")
    assert "no checkpoints" in server.output
    assert "set checkpoint.directory" in server.output
    assert server.stop() == 0


def test_one_is_written_beside_the_running_pipeline(
    tmp_path: Path, start: Start, serve: Serve
) -> None:
    ipc = tmp_path / "ipc"
    start("devnet", f"--path={ipc}", "--block-ms=5")
    server = serve(*flags_of(ipc), "--checkpoint-blocks=30")
    written = server.wait_for(r'"height": (\d+), "bytes": \d+, "seconds": [\d.]+, "fork_ms"')
    before = server.info(type="exchangeStatus")["time"]
    deadline = time.monotonic() + 20
    while server.info(type="exchangeStatus")["time"] <= before:
        assert time.monotonic() < deadline
    server.kill()
    again = serve(*flags_of(ipc), "--checkpoint-blocks=30")
    origin, height = began(again)
    assert (origin, height >= int(written[1])) == ("checkpoint", True)


def test_a_directory_that_can_not_be_written_is_named(ipc: Path, serve: Serve) -> None:
    place = ipc.parent / "a-file"
    place.write_text("")
    server = serve(f"--source-path={ipc}", f"--checkpoint-directory={place}", ready=False)
    assert server.wait() == 1
    assert f"ConfigInvalid: checkpoint.directory: can't write {place}" in server.output


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
