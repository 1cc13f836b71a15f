"""Mutation testing of a module by its own tests (see `own_tests`).

    python tests/measure/mutate.py sidecar/state/book.py ... [--logic 40] [--others 20] [--line 42]

Each mutant (see `mutants`) is tried in a child of this process, which has imported what does not
change: in a third of a second, where a new interpreter takes two. A mutant is killed if a test
fails, or hangs, or the module can't be imported; survivors are printed. All mutants of its logic
are tried (operators, numbers, conditions), or `--logic` of them, and of the others (a value, a word
or an argument is missing: nearly any test notices that) `--others`: samples are evenly spread over
the module, and said to be samples.
"""

import argparse
import gc
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.config import default_plugins

from mutants import Mutant, mutants_of
from own_tests import ROOT, own_tests

PRELOADED = (
    *(f"_pytest.{name}" for name in default_plugins),
    "anyio.pytest_plugin",
    "h11",
    "hypothesis.internal.conjecture.engine",
    "msgspec",
    "sortedcontainers",
    "websockets.client",
    "wsproto.connection",
)
OUTPUT = Path(tempfile.gettempdir()) / f"mutate-{os.getpid()}.log"  # of the last tests
MEMORY_MAX = 4 << 30
SURVIVED, KILLED, TIMED_OUT = 0, 1, -1


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module from another source than its file's."""

    def __init__(self, module: Path, source: str) -> None:
        self._name = ".".join(module.with_suffix("").parts)
        self._path, self._source = ROOT / module, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_filename(self, fullname: str) -> str:
        return str(self._path)


def main() -> int:
    """Exit code 1 if any mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", type=Path, nargs="+", metavar="MODULE")
    parser.add_argument("--logic", type=int, default=9999, metavar="COUNT", help="default all")
    parser.add_argument("--others", type=int, default=20, metavar="COUNT", help="default 20")
    parser.add_argument("--line", type=int, action="append", help="only mutants of this line")
    options = parser.parse_args()
    for name in PRELOADED:
        importlib.import_module(name)
    sys.dont_write_bytecode = False  # else each child compiles the tests anew
    gc.freeze()  # what children share is not theirs to search
    return max([try_module(module, options) for module in options.modules])


def try_module(module: Path, options: argparse.Namespace) -> int:
    """Likewise, of one module."""
    source = (ROOT / module).read_text()
    mutants = mutants_of(source)
    logic = [one for one in mutants if one.logic]
    others = [one for one in mutants if not one.logic]
    chosen = [*spread(logic, options.logic), *spread(others, options.others)]
    if options.line:
        chosen = [one for one in mutants if one.line in options.line]
    tests = [str(path) for path in own_tests(module)]
    began = time.monotonic()
    if outcome(module, source, tests, 600) != SURVIVED:
        sys.exit(f"{module}: its tests fail as it is:\n{OUTPUT.read_text()}")
    patience_s = 10 + 10 * (time.monotonic() - began)
    what = f"{len(chosen)} of {len(mutants)} mutants ({len(logic)} of its logic)"
    print(f"{module}: {what}, by {' '.join(tests)}", flush=True)
    return report(module, chosen, tests, patience_s)


def spread(mutants: list[Mutant], count: int) -> list[Mutant]:
    """So many of them, evenly."""
    count = min(count, len(mutants))
    return [mutants[index * len(mutants) // count] for index in range(count)]


def report(module: Path, chosen: list[Mutant], tests: list[str], patience_s: float) -> int:
    """Tries each; says which survive."""
    outcomes = []
    for mutant in chosen:
        outcomes.append(outcome(module, mutant.source, tests, patience_s))
        if outcomes[-1] == SURVIVED:
            print(f"  survived  {mutant.line}: {mutant.change}", flush=True)
    survived, hung = outcomes.count(SURVIVED), outcomes.count(TIMED_OUT)
    print(f"{module}: {len(chosen) - survived} killed ({hung} by time), {survived} survived")
    return min(survived, 1)


def outcome(module: Path, source: str, tests: list[str], patience_s: float) -> int:
    """What the tests say to this source."""
    child = os.fork()
    if child == 0:
        run_tests(module, source, tests)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return KILLED if status else SURVIVED
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT


def run_tests(module: Path, source: str, tests: list[str]) -> None:
    """In a child; does not return."""
    code: int = KILLED
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
        with OUTPUT.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.meta_path.insert(0, _Mutated(module, source))
        plugins = ("-p", "no:cacheprovider", "-p", "no:xdist")
        preloaded = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
        profile = ("--hypothesis-profile=mutants", "--tb=no", "-x", "-q")
        code = pytest.main([*plugins, *preloaded, *profile, *tests])
    except BaseException:  # noqa: BLE001 - a mutant may raise anything
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
