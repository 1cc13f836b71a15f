"""The units as systemd itself judges them: they are right, and what they may do is little."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.config import load_settings

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
EXPOSURE_MAX = 2.0

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def analyze(*arguments: str) -> str:
    done = subprocess.run(
        ("systemd-analyze", *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """With a command that is there."""
    command = shutil.which("sidecar", path=str(Path(sys.executable).parent))
    assert command is not None
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        text = unit.read_text()
        (tmp_path / unit.name).write_text(text.replace("/usr/bin/sidecar", command))
    instances = {
        "sidecar@.service": "sidecar@tokyo.service",
        "sidecar@.socket": "sidecar@tokyo.socket",
    }
    names = [instances.get(path.name, path.name) for path in tmp_path.iterdir()]
    assert len(names) == 5
    told = analyze("verify", "--man=no", *(str(tmp_path / name) for name in names))
    assert not [line for line in told.splitlines() if "sidecar" in line]


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(name: str) -> None:
    told = analyze("security", "--offline=true", "--no-pager", str(UNITS / name))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= EXPOSURE_MAX


def test_the_template_is_the_service_for_another_file() -> None:
    one = (UNITS / "sidecar.service").read_text().splitlines()[1:]
    many = (UNITS / "sidecar@.service").read_text().splitlines()[1:]
    plain = [line.replace("%i", "sidecar").replace(" (sidecar)", "") for line in many]
    same = [
        line.replace("sidecar/sidecar", "sidecar").replace("sidecar@", "sidecar") for line in plain
    ]
    assert same == [line.replace("sidecar/sidecar", "sidecar") for line in one]


def test_the_example_of_settings_is_valid() -> None:
    settings = load_settings(UNITS / "sidecar.toml", {}, {})
    (listens,) = re.findall(
        r"^ListenStream=(.*)$", (UNITS / "sidecar.socket").read_text(), re.MULTILINE
    )
    assert listens == f"{settings.server.host}:{settings.server.port}"
    devnet = (UNITS / "sidecar-devnet.service").read_text()
    assert f"--path {settings.source.path}\n" in devnet


@pytest.mark.parametrize("name", SERVICES)
def test_the_command_of_a_service_is_one(name: str) -> None:
    (line,) = re.findall(
        r"^ExecStart=/usr/bin/sidecar (.*)$", (UNITS / name).read_text(), re.MULTILINE
    )
    command, *arguments = line.split()
    known = subprocess.run(
        (sys.executable, "-m", "sidecar", command, "--help"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert all(argument in known for argument in arguments if argument.startswith("--"))
