"""The house holds: rooms import downwards only, pure rooms do no I/O, the chain shares nothing."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "sidecar"
FLOORS = {
    **dict.fromkeys(
        ("fixed", "config", "settings", "misspelt", "limits", "errors", "telemetry"), 0
    ),
    **dict.fromkeys(("reload", "scheduling", "garbage", "vital", "service"), 0),
    "node": 1,
    **dict.fromkeys(("state", "protocol"), 2),
    "api": 3,
    "recovery": 4,
    "server": 5,
    **dict.fromkeys(("pipeline", "feed", "freshness", "restarts", "checkpoints"), 6),
    **dict.fromkeys(("samples", "parts", "app", "workers", "cli"), 6),
    **dict.fromkeys(("doctor", "readiness"), 6),
    "__main__": 7,
}
IMPURE = {"anyio", "asyncio", "logging", "os", "random", "socket", "structlog", "time", "uvloop"}
MODULES = sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            yield f"{node.module}"
            if node.module == "sidecar":
                yield from (f"sidecar.{alias.name}" for alias in node.names)


def rooms_used(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "sidecar" and len(parts) > 1}


def of_both_ends(path: Path) -> bool:
    """Both ends of order entry have to mean the same by an action and its signature."""
    from_api = {name for name in imports(path) if name.startswith("sidecar.api")}
    return from_api <= {"sidecar.api.orders.signing", "sidecar.api.orders.schema"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    room = room_of(path)
    for used in rooms_used(path) - {room, "__version__"}:
        if room == "devnet":
            shared = {"node", "fixed", "errors", "limits", "telemetry"}
            assert used in shared or (used == "api" and of_both_ends(path)), used
        elif used == "devnet":
            assert room == "cli", f"{room} uses devnet"
        elif room != "__init__":
            beside = FLOORS[used] == FLOORS[room] and FLOORS[room] in (0, 6)
            assert FLOORS[used] < FLOORS[room] or beside, used


@pytest.mark.parametrize("room", ["state", "protocol"])
def test_pure_rooms_do_no_io(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & IMPURE, path


@pytest.mark.parametrize(
    "module",
    ["api.info", "api.channels", "api.topics", "state.chain", "recovery.resume", "node.log"],
)
def test_it_can_be_imported_first(module: str) -> None:
    """No circle of imports that only works from one end."""
    command = (sys.executable, "-c", f"import sidecar.{module}")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
