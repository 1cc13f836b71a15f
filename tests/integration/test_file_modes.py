"""Who may read, write and connect to what the processes make, whatever their umask is."""

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from processes import Serve, Start
from sidecar.checkpoints import CHECKPOINTS, open_directory
from sidecar.errors import ConfigInvalid
from sidecar.node.row_files import RowDirectory, RowFileHeader
from sidecar.settings import CheckpointSettings
from test_workers import until

HEADER = RowFileHeader(CHECKPOINTS.name, "devnet-1", 7, 0)


@pytest.fixture(params=(0o000, 0o077), ids=("umask 000", "umask 077"))
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """That of what is started."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_sockets_checkpoints_and_locks(
    tmp_path: Path, start: Start, serve: Serve, umask: int
) -> None:
    ipc, own, api, operator = (tmp_path / name for name in ("ipc", "own", "a.sock", "o.sock"))
    start("devnet", "--path", str(ipc), "--block-ms", "100", "--actions-per-block", "5").wait_for(
        "block|height"
    )
    server = serve(
        *("--source-path", str(ipc), "--server-host", f"unix:{api}"),
        *("--operator-host", f"unix:{operator}"),
        *("--checkpoint-directory", str(own), "--checkpoint-blocks", "20"),
        ready=False,
    )
    server.wait_for("serving ")
    until(lambda: RowDirectory(own, CHECKPOINTS).list())
    sockets = (api, operator, ipc / "submit.sock")
    assert {path.name: oct(mode(path)) for path in sockets} == dict.fromkeys(
        (path.name for path in sockets), "0o660"
    )
    assert mode(ipc / "devnet.lock") & 0o077 == 0
    assert mode(own) & 0o027 == 0
    assert all(mode(path) == 0o640 for path in RowDirectory(own, CHECKPOINTS).list())
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(operator))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert json.loads(client.recv(4096).split(b"\r\n\r\n")[1]) == {"alive": True}
    assert server.stop() == 0


def test_a_link_in_the_place_of_a_half_written_checkpoint_is_not_followed(tmp_path: Path) -> None:
    victim, own = tmp_path / "victim", tmp_path / "own"
    victim.write_text("precious")
    own.mkdir()
    path = own / CHECKPOINTS.file_name(HEADER.height)
    CHECKPOINTS.temporary(path, os.getpid()).symlink_to(victim)
    written = CHECKPOINTS.write(own, HEADER, ())
    assert victim.read_text() == "precious"
    assert not written.is_symlink()


def test_a_link_in_the_place_of_a_checkpoint_is_replaced(tmp_path: Path) -> None:
    victim, own = tmp_path / "victim", tmp_path / "own"
    victim.write_text("precious")
    own.mkdir()
    (own / CHECKPOINTS.file_name(HEADER.height)).symlink_to(victim)
    written = CHECKPOINTS.write(own, HEADER, ())
    assert victim.read_text() == "precious"
    assert not written.is_symlink()


def test_a_name_that_leads_where_nobody_can_look_stands_in_no_ones_way(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINTS.file_name(1)).symlink_to(300 * "x")  # too long to be a name
    for height in (2, 3, 4):
        CHECKPOINTS.write(tmp_path, replace(HEADER, height=height), ())
    assert sorted(tmp_path.iterdir()) == [
        tmp_path / CHECKPOINTS.file_name(height) for height in (3, 4)
    ]


def test_a_directory_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    own.chmod(0o1777)
    with pytest.raises(ConfigInvalid, match="everybody may write"):
        open_directory(CheckpointSettings(str(own)))


ROOT, NOBODY = 0, 65534
as_root = pytest.mark.skipif(os.geteuid() != ROOT, reason="only root gives files away")


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o770])
def test_a_directory_of_another_user_is_refused(tmp_path: Path, mode: int) -> None:
    own = tmp_path / "own"
    own.mkdir(mode)
    os.chown(own, NOBODY, NOBODY)
    with pytest.raises(ConfigInvalid, match=f"own is user {NOBODY}'s.*chown"):
        open_directory(CheckpointSettings(str(own)))


@pytest.mark.parametrize("above", ["a", "a/b"])
def test_a_directory_that_everybody_may_move_away_is_refused(tmp_path: Path, above: str) -> None:
    own = tmp_path / "a" / "b" / "own"
    own.mkdir(0o750, parents=True)
    (tmp_path / above).chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(own)
    for path in (own, link):
        with pytest.raises(ConfigInvalid, match=f"everybody may write .*{above}, .*chmod"):
            open_directory(CheckpointSettings(str(path)))
    (tmp_path / above).chmod(0o1777)
    assert open_directory(CheckpointSettings(str(link))) is not None


@as_root
@pytest.mark.parametrize(
    ("of", "owner", "group", "mode", "reason"),
    [
        ("a", NOBODY, ROOT, 0o755, f"a is user {NOBODY}'s, who may put another directory"),
        ("a", NOBODY, ROOT, 0o1777, f"a is user {NOBODY}'s, who may put another directory"),
        ("a", ROOT, NOBODY, 0o775, None),  # as /usr/local is
        ("a", ROOT, ROOT, 0o1777, None),
        ("a/own", ROOT, NOBODY, 0o770, None),
    ],
)
def test_one_below_another_users_is_refused(
    tmp_path: Path, of: str, owner: int, group: int, mode: int, reason: str | None
) -> None:
    own = tmp_path / "a" / "own"
    own.mkdir(parents=True)
    os.chown(tmp_path / of, owner, group)
    (tmp_path / of).chmod(mode)
    if reason is None:
        assert open_directory(CheckpointSettings(str(own))) is not None
    else:
        with pytest.raises(ConfigInvalid, match=reason):
            open_directory(CheckpointSettings(str(own)))


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A directory in /tmp, which everybody may look into."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@as_root
@pytest.mark.parametrize(
    ("owners", "user"),
    [
        ({"var": ROOT, "var/private": ROOT, "var/private/sidecar": NOBODY}, NOBODY),
        ({"var": ROOT, "var/private": ROOT, "var/private/sidecar": ROOT}, ROOT),
        ({"var": ROOT, "var/private": ROOT, "var/private/sidecar": ROOT}, NOBODY),
        ({"var": NOBODY, "var/private": NOBODY, "var/private/sidecar": NOBODY}, NOBODY),
    ],
    ids=["a state directory", "of root", "of root for a group", "a home"],
)
def test_usual_places_are_taken(everybodys: Path, owners: dict[str, int], user: int) -> None:
    """As systemd makes them, with a dynamic user's behind a link; a directory below is made."""
    for name, owner in owners.items():
        (everybodys / name).mkdir(0o755)
        os.chown(everybodys / name, owner, NOBODY)
    state = everybodys / "var" / "sidecar"
    state.symlink_to("private/sidecar")
    (everybodys / "var/private/sidecar").chmod(0o775)
    code = (
        "import os, sys; from sidecar.checkpoints import *; "
        f"os.setgid({NOBODY}); os.setuid({user}); "
        f"assert open_directory(CheckpointSettings({str(state)!r})) is not None; "
        f"assert open_directory(CheckpointSettings({str(state / 'checkpoints')!r})) is not None"
    )
    subprocess.run((sys.executable, "-c", code), check=True, timeout=60)
