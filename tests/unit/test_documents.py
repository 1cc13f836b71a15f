"""Documents: links lead somewhere, settings and commands that they name exist."""

import re
from pathlib import Path

import pytest

from sidecar.cli.main import _COMMANDS
from sidecar.config import keys

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {key.dotted for key in keys()}
SECTIONS = {key.section for key in keys()}
OF_READYZ = {"checkpoint.reason", "checkpoint.failures", "checkpoint.height"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTING = re.compile(rf"`((?:{'|'.join(SECTIONS)})\.\w+)(?: = [^`]*)?`")
COMMAND = re.compile(r"\bsidecar ([a-z]+)\b(?= [-A-Z/]|`)")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    for link in LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
    for name in SETTING.findall(text):
        module = (ROOT / "sidecar" / f"{name.replace('.', '/')}.py").exists()
        assert name in SETTINGS | OF_READYZ or module or name.endswith(".py"), name
    for command in COMMAND.findall(text):
        assert command in _COMMANDS, command
