"""Lines and branches covered, module by module: by their own tests (see `own_tests`), and by all.

    python tests/measure/coverage_table.py [MODULE-PREFIX ...] [--missing]

Reads what `make coverage` measured. `--missing` names the branches that own tests leave out.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from coverage import Coverage
from coverage.exceptions import NoDataError

from own_tests import ROOT, modules, own_tests

DATA = ROOT / ".coverage" / "data"


class Covered(NamedTuple):
    """Of some code, by some tests: lines, branches, and the branches that are left out."""

    lines: tuple[int, int]
    branches: tuple[int, int]
    missing: list[tuple[int, int]]


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prefixes", nargs="*", metavar="PREFIX", help="of modules below sidecar/")
    parser.add_argument("--missing", action="store_true", help="name missing branches, too")
    options = parser.parse_args()
    everything = measured(None, None)
    print("| module | own tests | line | branch | all tests: line | branch |")
    print("|---|---|---|---|---|---|")
    for module in modules():
        inner = module.relative_to("sidecar").as_posix()
        if not inner.startswith(tuple(options.prefixes) or ""):
            continue
        own = own_tests(module)
        mine = measured(own, module).get(module) if own else None
        print(f"| {inner} | {names(own)} | {cells(mine)} | {cells(everything.get(module))} |")
        if options.missing and mine is not None and mine.missing:
            print("   ", ", ".join(f"{start} to {end}" for start, end in mine.missing))
    print(f"| **all** | | | | {cells(total(everything.values()))} |")
    return 0


def measured(tests: list[Path] | None, module: Path | None) -> dict[Path, Covered]:
    """What these tests cover of a module; None: all tests and their processes, all modules."""
    coverage = Coverage(data_file=str(DATA), config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    contexts = None if tests is None else ["^$", *(f"^{re.escape(str(path))}$" for path in tests)]
    include = None if module is None else [str(ROOT / module)]
    with TemporaryDirectory() as directory, redirect_stdout(None):
        report = Path(directory) / "report.json"
        try:
            coverage.json_report(outfile=str(report), contexts=contexts, include=include)
        except NoDataError:
            return {}
        files = json.loads(report.read_text())["files"]
    return {Path(name): covered(file) for name, file in files.items()}


def covered(file: dict[str, Any]) -> Covered:
    """Of coverage's report of a file."""
    of = file["summary"]
    return Covered(
        (of["covered_lines"], of["num_statements"]),
        (of["covered_branches"], of["num_branches"]),
        [(start, end) for start, end in file["missing_branches"]],
    )


def total(of: Iterable[Covered]) -> Covered:
    """Of all of them together."""
    summed = Counter[str]()
    for each in of:
        summed.update(lines=each.lines[0], lines_of=each.lines[1])
        summed.update(branches=each.branches[0], branches_of=each.branches[1])
    lines = (summed["lines"], summed["lines_of"])
    return Covered(lines, (summed["branches"], summed["branches_of"]), [])


def cells(of: Covered | None) -> str:
    """Two percentages, rounded down; a dash where there is nothing to cover."""
    if of is None:
        return "- | -"
    shares = (f"{100 * done // all_}%" if all_ else "-" for done, all_ in (of.lines, of.branches))
    return " | ".join(shares)


def names(tests: list[Path]) -> str:
    """A few by name, many as what they are."""
    if len(tests) > 3:
        return f"all of {tests[0].parent.name}/"
    return ", ".join(path.stem for path in tests) or "processes only"


if __name__ == "__main__":
    sys.exit(main())
