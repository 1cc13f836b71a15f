"""Snapshots that the node writes for us: whole ones only, and no more than two kept."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream
from structlog.testing import capture_logs

from hyperliquid_node import USER, encode, order
from info_peer import Answer, InfoPeer, free_port, http, info_peer, says
from sidecar.errors import ConfigInvalid, NodeRefused, NodeUnreachable, SnapshotInvalid
from sidecar.node.hyperliquid import InfoClient, SnapshotFiles
from sidecar.node.hyperliquid.snapshot_files import Absence

pytestmark = pytest.mark.anyio

SNAPSHOT = encode([100, [["BTC", [[[USER, order(5)]], []]]]])


def writing(*contents: bytes, pause_s: float = 0.0, before: bool = True) -> Answer:
    """A node that writes these parts one after the other, before or behind its answer."""

    async def answer(stream: SocketStream, body: bytes) -> None:
        path = Path(msgspec.json.decode(body)["outPath"])
        if not before:
            await stream.send(http(200, b"null"))
        for content in contents:
            with path.open("ab") as file:
                file.write(content)
            await anyio.sleep(pause_s)
        if before:
            await stream.send(http(200, b"null"))

    return answer


def files_of(peer: InfoPeer, tmp_path: Path, **options: Any) -> SnapshotFiles:
    return SnapshotFiles(InfoClient(peer.url), tmp_path / "snapshots", **options)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "sidecar.node.hyperliquid.snapshot_files"
    monkeypatch.setattr(f"{module}.SNAPSHOT_LOOK_S", 0.002)
    monkeypatch.setattr(f"{module}.SNAPSHOT_QUIET_S", 0.2)
    monkeypatch.setattr(f"{module}.SNAPSHOT_RETRY_S", 0.001)
    monkeypatch.setattr(f"{module}.SOURCE_RETRY_S", 0.001)


async def test_the_node_is_asked_for_everything(tmp_path: Path) -> None:
    async with info_peer(writing(SNAPSHOT)) as peer:
        path = await files_of(peer, tmp_path).request()
    assert path.read_bytes() == SNAPSHOT
    assert peer.requests == [
        {
            "type": "fileSnapshot",
            "request": {
                "type": "l4Snapshots",
                "includeUsers": True,
                "includeTriggerOrders": True,
            },
            "outPath": str(path),
            "includeHeightInOutput": True,
        }
    ]


@pytest.mark.parametrize("before", [True, False])
async def test_a_file_that_grows_is_waited_for(tmp_path: Path, before: bool) -> None:
    parts = (b"", SNAPSHOT[:1], SNAPSHOT[1:60], SNAPSHOT[60:-1], SNAPSHOT[-1:])
    async with info_peer(writing(*parts, pause_s=0.01, before=before)) as peer:
        path = await files_of(peer, tmp_path).request()
    assert path.read_bytes() == SNAPSHOT


async def test_a_file_that_stays_incomplete_is_named(tmp_path: Path) -> None:
    async with info_peer(writing(SNAPSHOT[:-1])) as peer:
        with pytest.raises(SnapshotInvalid, match="not written to its end"):
            await files_of(peer, tmp_path).request()


async def test_an_answer_without_a_file_is_named(tmp_path: Path) -> None:
    async with info_peer(says(http(200, b"null"))) as peer:
        with pytest.raises(SnapshotInvalid, match=r"answered, but .* No such file"):
            await files_of(peer, tmp_path).request()


async def test_a_file_that_grows_for_ever_has_its_time(tmp_path: Path) -> None:
    growing = writing(*(b"[" for _ in range(500)), pause_s=0.005, before=False)
    async with info_peer(growing) as peer:
        with pytest.raises(NodeUnreachable, match=r"took more than 0\.3 s") as raised:
            await files_of(peer, tmp_path, timeout_s=0.3).request()
    assert raised.value.timeout


async def test_an_error_answer_says_what_the_node_says(tmp_path: Path) -> None:
    async with info_peer(says(http(500, b"can't write: permission denied", "text/plain"))) as peer:
        with pytest.raises(NodeRefused, match="status 500: can't write: permission") as raised:
            await files_of(peer, tmp_path).request()
    assert raised.value.status == 500
    assert "source.snapshot_directory has to be one that the node may write into" in str(
        raised.value
    )


async def test_a_start_asks_a_node_that_refuses_a_few_times(tmp_path: Path) -> None:
    async with info_peer(says(http(422, b"what?"))) as peer:
        with pytest.raises(NodeRefused, match="422: what"):
            await files_of(peer, tmp_path).request_first()
    assert len(peer.requests) == 5


async def test_a_start_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    port = free_port()
    files = SnapshotFiles(InfoClient(f"http://127.0.0.1:{port}/info"), tmp_path)
    async with anyio.create_task_group() as tasks:
        paths: list[Path] = []

        async def start() -> None:
            paths.append(await files.request_first())

        tasks.start_soon(start)
        await anyio.sleep(0.05)
        assert paths == []
        async with info_peer(writing(SNAPSHOT), port):
            while not paths:
                await anyio.sleep(0.002)
    assert paths[0].read_bytes() == SNAPSHOT


async def test_a_server_that_is_not_there_is_asked_in_silence(tmp_path: Path) -> None:
    tries = 0

    async def breaks(stream: SocketStream, body: bytes) -> None:
        nonlocal tries
        tries += 1
        if tries == 6:
            await writing(SNAPSHOT)(stream, body)

    async with info_peer(breaks) as peer:
        with capture_logs() as logs, anyio.fail_after(30):
            await files_of(peer, tmp_path).request_first()
    told = [(line["log_level"], line["event"]) for line in logs if line["log_level"] != "debug"]
    assert told == [
        ("info", "asking the node for a snapshot"),
        ("warning", "waiting for the node"),
        ("info", "snapshot there"),
    ]


def test_an_absence_is_looked_at_less_and_less_and_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # of the hurry
    now = 1000.0
    absence = Absence(lambda: now)
    before, pauses = absence.began, []
    with capture_logs() as logs:
        while now < 1130:
            pauses.append(absence.goes_on("refused"))
            now += pauses[-1]
    assert (before, absence.began) == (False, True)
    assert pauses[:6] == [0.5, 1, 2, 4, 5, 5]
    assert set(pauses[6:]) == {5}
    assert [line.get("waited_s") for line in logs] == [None, 62, 122]


async def test_the_newest_two_are_kept_and_strangers_left_alone(tmp_path: Path) -> None:
    async with info_peer(writing(SNAPSHOT)) as peer:
        files = files_of(peer, tmp_path)
        (files.directory / "l4-notes.json").touch()
        paths = [await files.request() for _ in range(4)]
    assert len(set(paths)) == 4
    left = sorted(path.name for path in files.directory.iterdir())
    assert left == sorted(["l4-notes.json", *(path.name for path in paths[2:])])


async def test_it_opens_with_the_ids_that_are_known(tmp_path: Path) -> None:
    async with info_peer(writing(SNAPSHOT)) as peer:
        snapshot = await files_of(peer, tmp_path).open({"ETH": 0, "BTC": 4})
    assert (snapshot.height, snapshot.markets) == (100, {"ETH": 0, "BTC": 4})
    assert len(list(snapshot.orders("BTC"))) == 1


def test_a_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigInvalid, match=r"source.snapshot_directory: can't make"):
        SnapshotFiles(InfoClient("http://h"), tmp_path / "file" / "x")


def test_the_directory_for_temporary_files_has_to_be_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    directory = SnapshotFiles(InfoClient("http://h")).directory
    assert directory.parent == tmp_path
    assert directory.stat().st_mode & 0o777 == 0o700
    directory.chmod(0o777)
    with pytest.raises(ConfigInvalid, match="is not a directory of ours alone"):
        SnapshotFiles(InfoClient("http://h"))
    directory.rmdir()
    (tmp_path / "elsewhere").mkdir()
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigInvalid, match="is not a directory of ours alone"):
        SnapshotFiles(InfoClient("http://h"))
