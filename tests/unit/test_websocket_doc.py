"""Every trap has its line in docs/websocket.md; every test that is named there, or in
docs/security.md, exists.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "websocket.md").read_text()
TRAPS = re.findall(r"^\| (P\d+) (.+?) \| (.+?) \| (.+?) \|$", DOCUMENT, re.MULTILINE)
SECURITY = (ROOT / "docs" / "security.md").read_text()
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT + SECURITY)))


@cache
def names_in(module: Path) -> frozenset[str]:
    """The test functions of a module."""
    found = ast.parse(module.read_text()).body
    return frozenset(
        one.name for one in found if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_trap_has_its_line() -> None:
    assert [trap for trap, *_ in TRAPS] == [f"P{number}" for number in range(1, 41)]


def test_a_trap_is_held_by_tests_or_says_why_not() -> None:
    for trap, _, here, tests in TRAPS:
        named = re.fullmatch(r"`[\w/]+\.py::test_\w+`(<br>`[\w/]+\.py::test_\w+`)*", tests)
        assert named or (tests == "none" and len(here) > 20), trap


@pytest.mark.parametrize(("module", "name"), TESTS)
def test_what_is_named_exists(module: str, name: str) -> None:
    below = "tests" if module.startswith(("integration/", "history/")) else "tests/unit"
    assert name in names_in(ROOT / below / module)
    assert name.startswith("test_")
