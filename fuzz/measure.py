"""What each target's inputs reach of the modules that it aims at, in lines and branches.

python fuzz/measure.py                 a table of all targets
python fuzz/measure.py http            the modules of one, with what is not reached
python fuzz/measure.py --found ...     with what the last runs found, in `build/fuzz`
"""

import io
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import coverage
import structlog

from targets import NAMES, load

HERE = Path(__file__).parent
ROOT = HERE.parent
PRODUCT = str(ROOT / "sidecar" / "*")


def main() -> None:
    """Each target has a process of its own: what a module does when it is imported counts."""
    found = "--found" in sys.argv
    names = [name for name in sys.argv[1:] if name != "--found"]
    if len(names) == 1:
        print(measure(names[0], found=found))
        return
    for name in names or NAMES:
        flags = ["--found"] if found else []
        command = [sys.executable, __file__, name, *flags]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        total = told.stdout.rstrip().rpartition("\n")[2]
        print(f"{name:24}{total}", flush=True)


def measure(name: str, *, found: bool) -> str:
    """coverage.py's report; its last line is the total."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    measuring = coverage.Coverage(branch=True, data_file=None, config_file=False, include=PRODUCT)
    measuring.start()
    target = load(name)
    inputs = sorted((HERE / "corpus" / name).iterdir())
    if found:
        inputs += sorted(ROOT.glob(f"build/fuzz/{name}/*"))
    for path in inputs:
        target.check(path.read_bytes())
    measuring.stop()
    report = io.StringIO()
    specs = map(find_spec, target.aimed_at)
    files = [spec.origin for spec in specs if spec is not None and spec.origin is not None]
    measuring.report(include=files, file=report, show_missing=True)
    lines, branches, all_lines, all_branches = _totals(measuring, files)
    return (
        f"{report.getvalue()}\n{len(inputs)} inputs: lines {lines / all_lines:.1%}, "
        f"branches {branches / max(all_branches, 1):.1%}"
    )


def _totals(measuring: coverage.Coverage, files: list[str]) -> tuple[int, int, int, int]:
    lines = branches = all_lines = all_branches = 0
    for file in files:
        numbers = measuring._analyze(file).numbers  # noqa: SLF001 - what its reports are made of
        lines += numbers.n_executed
        all_lines += numbers.n_statements
        branches += numbers.n_executed_branches
        all_branches += numbers.n_branches
    return lines, branches, all_lines, all_branches


if __name__ == "__main__":
    main()
