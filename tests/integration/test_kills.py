"""kill -9 at random moments, again and again: the state in the end is that of nobody killed."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from processes import Server
from sidecar.checkpoints import CHECKPOINTS
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter
from sidecar.node.row_files import RowDirectory, RowFileReader
from sidecar.state.chain import ChainState
from sidecar.state.checkpoint import checkpoint_rows

CHECKPOINT_BLOCKS = 20
BLOCKS_AT_FIRST = 60
# What a process is doing when it is killed. "writing": its child, which writes a checkpoint, is
# killed with it, as systemd does; "orphaning": the child is left to itself.
MOMENTS = ("starting", "running", "writing", "orphaning")
WRITING_S = 2.0  # a process that has begun no checkpoint by then is killed all the same


class Node:
    """A node that writes a block when it is asked to, and the state that its blocks make."""

    def __init__(self, ipc: IpcDirectory, seed: int) -> None:
        self._chain = Chain(DevnetConfig(path=str(ipc.root), seed=seed, funding_ms=1_000))
        ipc.create(self._chain.config.chain, self._chain.time_ns, 100)
        self.writer = LogWriter(ipc.log, self._chain.config.chain, segment_blocks=100)
        self.state = ChainState()

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            block = self._chain.step()
            self.writer.append(block)
            self.state.apply(decode_block(encode_block(block)))


def kill_again_and_again(kills: int, seed: int, tmp_path: Path) -> Counter[str]:
    """Kills a sidecar so often while its node goes on; asserts what the last one knows. Returns how
    often what happened.
    """
    chance = random.Random(seed)
    ipc = IpcDirectory(tmp_path / "ipc")
    own = RowDirectory(tmp_path / "checkpoints", CHECKPOINTS)
    node, counts = Node(ipc, seed), Counter[str]()
    node.write(BLOCKS_AT_FIRST)
    for number in range(kills):
        server = serve(tmp_path, ipc, own, number)
        try:
            moment = chance.choice(MOMENTS)
            counts[f"killed {moment}"] += 1
            for count in until(moment, server, own, chance):
                node.write(count)
            if moment == "writing":
                kill_children(server)
        finally:
            server.kill()
        counts["found half a checkpoint"] += bool(half_written(own))
        counts.update(told(server))
    counts["blocks"] = node.state.height
    check_the_last(tmp_path, ipc, own, node.state)
    return counts


def until(
    moment: str, server: Server, own: RowDirectory[Any], chance: random.Random
) -> Iterator[int]:
    """Says now and then how many blocks come next, and ends when the moment is there."""
    if moment == "starting":
        yield from during(chance.uniform(0.0, 0.8))
        return
    server.wait_for("state restored")
    yield from during(chance.uniform(0.0, 0.3))
    if moment != "running":
        before = set(half_written(own))
        yield CHECKPOINT_BLOCKS
        deadline = time.monotonic() + WRITING_S
        while set(half_written(own)) <= before and time.monotonic() < deadline:
            time.sleep(0.0002)
        time.sleep(chance.uniform(0.0, 0.01))


def during(seconds: float) -> Iterator[int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield 1
        time.sleep(0.002)


def kill_children(server: Server) -> None:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


def half_written(own: RowDirectory[Any]) -> list[str]:
    return [path.name for path in own.path.glob(".*.tmp")]


def told(server: Server) -> Iterator[str]:
    """What its log says of how it began, and of what it wrote."""
    assert "Traceback" not in server.output
    for origin in ("log", "checkpoint", "snapshot"):
        if f'"origin": "{origin}"' in server.output:
            yield f"started from {origin}"
    yield from ["checkpoint written"] * server.output.count('"checkpoint written"')
    yield from ["checkpoint not used"] * server.output.count('"checkpoint not used"')


def serve(tmp_path: Path, ipc: IpcDirectory, own: RowDirectory[Any], number: int) -> Server:
    return Server(
        tmp_path / f"serve-{number}.log",
        f"--source-path={ipc.root}",
        f"--checkpoint-directory={own.path}",
        f"--checkpoint-blocks={CHECKPOINT_BLOCKS}",
    )


def check_the_last(
    tmp_path: Path, ipc: IpcDirectory, own: RowDirectory[Any], state: ChainState
) -> None:
    """One that is not killed leaves a checkpoint of the whole log that is row by row the state of
    all blocks, and answers as one that starts without any.
    """
    last = serve(tmp_path, ipc, own, -1).ready()
    fresh = serve(tmp_path, ipc, RowDirectory(tmp_path / "none", CHECKPOINTS), -2).ready()
    try:
        for coin in state.by_symbol:
            for query in ("l2Book", "recentTrades"):
                assert last.info(type=query, coin=coin) == fresh.info(type=query, coin=coin)
        assert last.info(type="allMids") == fresh.info(type="allMids")
    finally:
        assert (last.stop(), fresh.stop()) == (0, 0)
    newest = own.list()[0]
    assert int(newest.stem) == state.height
    rows = RowFileReader(newest, CHECKPOINTS).rows()
    for ours, theirs in zip(checkpoint_rows(state), rows, strict=True):
        assert ours == theirs
    assert not half_written(own)


def test_eight_kills_leave_the_state_of_nobody_killed(tmp_path: Path) -> None:
    counts = kill_again_and_again(8, 5, tmp_path)
    assert counts["checkpoint written"] >= 1  # on a busy machine
    assert counts["started from checkpoint"] >= 1
