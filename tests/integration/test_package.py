"""The Debian package and `make install`: what they put where, and what is left of them."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar import __version__

ROOT = Path(__file__).resolve().parents[2]
LIFE = Path(__file__).with_name("package_life.sh")
PIP = Path(sys.executable).with_name("pip")

pytestmark = pytest.mark.timeout(600)


def sources(package: Path) -> set[Path]:
    """Its modules."""
    return {path.relative_to(package) for path in package.rglob("*.py")}


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def may_mount() -> bool:
    """Whether a machine on top of this one can be made."""
    probe = ("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    if os.geteuid() != 0:
        return False
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None or not Path("/usr/bin/python3").exists(),
    reason="dpkg-deb and Debian's python3 are needed",
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The package, and the same as a newer version."""
    place = tmp_path_factory.mktemp("packages")
    fast = {"DPKG_DEB_COMPRESSOR_TYPE": "none"}  # xz takes most of a minute
    run("systemd/debian/build", PIP=str(PIP), OUTPUT=str(place), **fast)
    (first,) = place.glob("*.deb")
    tree = place / "tree"
    run("dpkg-deb", "-R", str(first), str(tree))
    control = tree / "DEBIAN" / "control"
    control.write_text(
        re.sub(r"^Version: .*$", "Version: 99.0", control.read_text(), flags=re.MULTILINE)
    )
    second = place / "second.deb"
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(second))
    return first, second


@needs_dpkg
def test_the_package_holds_what_it_should(packages: tuple[Path, Path]) -> None:
    tree = packages[0].parent / "tree"
    told = run("dpkg-deb", "--info", str(packages[0]))
    assert f"Version: {__version__}" in told
    assert (tree / "DEBIAN" / "conffiles").read_text() == "/etc/sidecar/sidecar.toml\n"
    units = {path.name for path in (tree / "usr/lib/systemd/system").iterdir()}
    assert units == {path.name for path in (ROOT / "systemd").glob("sidecar*.s[eo]*[et]")}
    python = (tree / "usr/lib/sidecar/bin/python3").readlink()
    assert python == Path("/usr/bin/python3")
    listed = run("dpkg-deb", "-c", str(packages[0]))
    assert "root/root" in listed
    assert not [line for line in listed.splitlines() if line.split()[1] != "root/root"]
    (modules,) = (tree / "usr/lib/sidecar/lib").glob("python3.*/site-packages/sidecar")
    assert sources(modules) == sources(ROOT / "sidecar")
    for path in (tree / "usr/lib/sidecar").rglob("*"):
        assert path.name not in ("pip", "direct_url.json")
        if path.is_file() and not path.is_symlink() and path.suffix in (".py", ".cfg", "", ".pyc"):
            data = path.read_bytes()
            assert str(ROOT).encode() not in data, path
            assert b"/tmp/tmp." not in data, path


@needs_dpkg
@pytest.mark.skipif(not may_mount(), reason="root and mounts are needed")
def test_it_is_installed_serves_is_upgraded_and_leaves_nothing(
    packages: tuple[Path, Path], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    work = tmp_path / "machine"
    work.mkdir()
    first, second = map(str, packages)
    told = run("unshare", "-m", "bash", str(LIFE), str(work), first, second, port)
    assert f"installed sidecar {__version__}" in told
    assert "serves height True" in told
    assert "upgraded 99.0" in told
    assert f"port = {port}" in told
    assert "the settings are valid" in told
    assert "tokens are readable" in told
    assert f"back to sidecar {__version__}" in told
    assert "after removal: ./etc/sidecar ./etc/sidecar/sidecar.toml " in told
    assert re.search(r"^left: $", told, re.MULTILINE), told


def test_make_install_and_uninstall(tmp_path: Path) -> None:
    place = {"DESTDIR": str(tmp_path), "PREFIX": "/usr/local", "PIP": str(PIP)}
    settings = tmp_path / "etc/sidecar/sidecar.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("# mine\n")
    run("systemd/install", PYTHON=sys.executable, **place)
    assert settings.read_text() == "# mine\n"
    unit = (tmp_path / "usr/local/lib/systemd/system/sidecar.service").read_text()
    assert "ExecStart=/usr/local/bin/sidecar serve" in unit
    python = tmp_path / "usr/local/lib/sidecar/bin/python3"
    launcher = tmp_path / "usr/local/bin/sidecar"
    assert launcher.read_text().startswith("#!/usr/local/lib/sidecar/bin/python3 -I\n")
    assert run(str(python), "-I", str(launcher), "--version").strip() == f"sidecar {__version__}"
    before = {settings}
    if may_mount() and shutil.which("systemd-sysusers"):
        tokens = settings.with_name("tokens")
        tokens.touch(mode=0o600)
        before |= {tokens, *made_users(tmp_path)}
        told = (tmp_path / "etc/group").read_text()
        (group,) = re.findall(r"^sidecar:[^:]*:(\d+):", told, re.MULTILINE)
        for path, mode in ((settings, 0o640), (tokens, 0o640), (settings.parent, 0o2750)):
            assert (path.stat().st_gid, path.stat().st_mode & 0o7777) == (int(group), mode), path
    run("systemd/uninstall", **place)
    left = {path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()}
    assert left == before


def made_users(root: Path) -> set[Path]:
    """By systemd's own tools, as docs/systemd.md tells; the files that they wrote."""
    before = set(root.rglob("*"))
    run("systemd-sysusers", f"--root={root}")
    run("systemd-tmpfiles", f"--root={root}", "--create", "sidecar.conf")
    return {path for path in set(root.rglob("*")) - before if not path.is_dir()}
