"""The audit of dependencies says what is known, or that it does not know; never the one for the
other. And every package that is installed is pinned.
"""

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {"name": "h11", "version": "0.16.0", "vulns": []}
FLAWED = {
    "name": "h11",
    "version": "0.14.0",
    "vulns": [{"id": "CVE-2025-43859", "fix_versions": ["0.16.0"]}],
}
SKIPPED = {"name": "h11", "skip_reason": "Dependency not found on PyPI"}


def audit(tmp_path: Path, answers: dict[str, Any]) -> tuple[int, str]:
    """By a pip-audit that answers so for each service, with exit code 0 whatever it says."""
    command = tmp_path / "pip-audit"
    texts = {
        name: one if isinstance(one, str) else json.dumps({"dependencies": one, "fixes": []})
        for name, one in answers.items()
    }
    command.write_text(f"#!{sys.executable}\nimport sys\nprint({texts!r}[sys.argv[-1]])\n")
    command.chmod(0o755)
    arguments = (sys.executable, str(ROOT / ".ci/audit"), "--pip-audit", str(command))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("answers", "code", "told"),
    [
        ({"pypi": [CLEAN]}, 0, "nothing is known against the 1 packages (pypi)"),
        ({"pypi": [FLAWED]}, 1, "h11 0.14.0: CVE-2025-43859, mended in 0.16.0"),
        ({"pypi": [SKIPPED, FLAWED]}, 1, "CVE-2025-43859"),
        ({"pypi": [SKIPPED, CLEAN], "osv": "no JSON"}, 3, "1 of 2 packages are not answered for"),
        ({"pypi": "no JSON", "osv": [CLEAN]}, 0, "(osv)"),
        ({"pypi": [], "osv": []}, 3, "NOT AUDITED"),
    ],
)
def test_it_says_what_it_knows(tmp_path: Path, answers: Any, code: int, told: str) -> None:
    assert (code, True) == ((result := audit(tmp_path, answers))[0], told in result[1])


def test_without_pip_audit_it_says_so(tmp_path: Path) -> None:
    arguments = (sys.executable, str(ROOT / ".ci/audit"), "--pip-audit", str(tmp_path / "none"))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "NOT AUDITED" in done.stdout


def test_everything_that_is_needed_is_pinned_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^ *]*", line)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = {_plain(re.split(r"[^A-Za-z0-9._-]", one)[0]) for one in asked} - {"sidecar"}
    pinned = {_plain(line.partition("==")[0]) for line in lines}
    assert names - pinned == set()
    installed = {_plain(one.metadata["Name"]): one.version for one in distributions()}
    wanted = {_plain(name): version for name, _, version in (one.partition("==") for one in lines)}
    here = names & set(installed)  # not every extra is installed
    assert {name: installed[name] for name in here} == {name: wanted[name] for name in here}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
