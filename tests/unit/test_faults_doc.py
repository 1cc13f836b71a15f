"""Every fault that a tail must survive has its line in docs/testing.md, every test that is named
there exists, and every test of a fault is named.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SECTION = (ROOT / "docs" / "testing.md").read_text().partition("\n## Faults\n")[2]
SECTION = SECTION.partition("\n## ")[0]
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (`[^|]+) \|$", SECTION, re.MULTILINE)
CATALOGUE = [
    *("node stopped", "node killed", "node slow", "node behind", "SIGSTOP of the node"),
    *("SIGSTOP of the sidecar", "one of several sources dead", "hole of 1, 10, 1000 blocks"),
    *("status without its diff", "diff without its status", "duplicate block"),
    *("old blocks again after a node restart", "reorder between files"),
    *("half a line cut at every byte", "invalid UTF-8", "lines of 8 MB, of 20 MB", "truncation"),
    *("inode replaced", "hour rollover with a late file", "midnight stall", "symlinked directory"),
    *("disk full", "reader of the log gone, or stalled", "permission lost"),
    *("inotify queue overflow", "inotify instances exhausted"),
    *("descriptors exhausted", "snapshot older", "snapshot newer", "snapshot short"),
    *("snapshot with a market less", "snapshot with a market more", "snapshot timing out"),
    *("SIGTERM mid-write", "kill -9 mid-checkpoint", "corrupt checkpoint", "clock step"),
    "submission socket lost",
]


def named(tests: str) -> list[tuple[Path, str]]:
    """The modules and names of a line."""
    found = []
    for one in tests.split("<br>"):
        module, name = one.strip("`").split("::")
        folder = TESTS if "/" in module else TESTS / "faults"
        found.append((folder / module, name))
    return found


@cache
def names_in(module: Path) -> frozenset[str]:
    """The test functions of a module."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found = (one.name for one in ast.parse(module.read_text()).body if isinstance(one, functions))
    return frozenset(name for name in found if name.startswith("test_"))


def test_every_fault_has_its_line() -> None:
    assert [fault for fault, *_ in ROWS] == CATALOGUE


@pytest.mark.parametrize(("fault", "expected", "tests"), ROWS, ids=lambda one: one[:40])
def test_what_is_named_exists(fault: str, expected: str, tests: str) -> None:
    assert len(expected) > 5, fault
    for module, name in named(tests):
        assert name in names_in(module), fault


def test_every_test_of_a_fault_is_named() -> None:
    told = {one for *_, tests in ROWS for one in named(tests)}
    modules = (TESTS / "faults").glob("test_*.py")
    assert {(module, name) for module in modules for name in names_in(module)} <= told
