"""Mutation testing of a module by its own tests (see `own_tests`).

    python tests/measure/mutate.py sidecar/state/book.py ... [--logic 40] [--others 20] [--line 42]

Each mutant (see `mutants`) is tried in a child of this process, which has imported all that the
tests need and that can be imported without the module: in a fifth of a second, where a new
interpreter takes two. The tests that took least come first. A mutant is killed if a test fails,
or hangs, or the module can't be imported; survivors are printed. All mutants of its logic are tried
(operators, numbers, conditions), or `--logic` of them, and of the others (a value, a word or an
argument is missing: nearly any test notices that) `--others`: samples are evenly spread over the
module, and said to be samples.
"""

import argparse
import contextlib
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
import warnings
from collections import defaultdict
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import hypothesis.strategies
import msgspec
import pytest

from mutants import Mutant, mutants_of
from own_tests import ROOT, own_tests

OUTPUT = Path(tempfile.gettempdir()) / f"mutate-{os.getpid()}.log"  # of the last tests
NOTES = OUTPUT.with_suffix(".json")  # of the tests of the module as it is
MEMORY_MAX = 4 << 30
SURVIVED, KILLED, TIMED_OUT = 0, 1, -1


class Notes(msgspec.Struct):
    """What the tests of a module need."""

    seconds: dict[str, float]  # by test
    modules: list[str]  # that were imported


class _Notes:
    """A plugin: takes them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        files = {name: getattr(one, "__file__", None) or "" for name, one in sys.modules.items()}
        tests = str(ROOT / "tests")
        modules = sorted(name for name, file in files.items() if not file.startswith(tests))
        NOTES.write_bytes(msgspec.json.encode(Notes(self._seconds, modules)))


class _QuickestFirst:
    """A plugin: the order, and how much CPU a test may take."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._seconds.get(item.nodeid, 0))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        signal.setitimer(signal.ITIMER_PROF, 5 + 5 * self._seconds.get(nodeid, 0))


class _Refused(Exception):
    """A module that changes, or that imports such a one, is not imported."""


class _Refuses(importlib.abc.MetaPathFinder):
    def __init__(self, module: Path) -> None:
        self._name = _name(module)

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname == self._name:
            raise _Refused
        return None


def _name(module: Path) -> str:
    return ".".join(module.with_suffix("").parts)


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module from another source than its file's."""

    def __init__(self, module: Path, source: str) -> None:
        self._name = _name(module)
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
    must_pass(module, source, tests, _Notes())
    notes = msgspec.json.decode(NOTES.read_bytes(), type=Notes)
    preload(module, notes.modules)
    quickest_first = _QuickestFirst(notes.seconds)
    must_pass(module, source, tests, quickest_first)  # so prepared too
    patience_s = 60 + 10 * sum(notes.seconds.values())
    what = f"{len(chosen)} of {len(mutants)} mutants ({len(logic)} of its logic)"
    print(f"{module}: {what}, by {' '.join(tests)}", flush=True)
    return report(module, chosen, tests, patience_s, quickest_first)


def must_pass(module: Path, source: str, tests: list[str], plugin: object) -> None:
    """Exits unless the module's tests pass as it is."""
    if outcome(module, source, tests, 600, plugin) != SURVIVED:
        sys.exit(f"{module}: its tests fail as it is:\n{OUTPUT.read_text()}")


def preload(module: Path, names: list[str]) -> None:
    """Imports what the module's tests need and what does not change with it."""
    for name in [name for name in sys.modules if name.startswith("sidecar")]:
        del sys.modules[name]  # another module's
    sys.meta_path.insert(0, _Refuses(module))
    for name in names:
        if name != "__main__":
            with contextlib.suppress(ImportError, _Refused):
                importlib.import_module(name)
    del sys.meta_path[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what does so before pytest runs is slow, it says
        hypothesis.given(hypothesis.strategies.integers())(lambda _: None)()  # looks at them all
    gc.collect()
    gc.freeze()


def spread(mutants: list[Mutant], count: int) -> list[Mutant]:
    """So many of them, evenly."""
    count = min(count, len(mutants))
    return [mutants[index * len(mutants) // count] for index in range(count)]


def report(
    module: Path, chosen: list[Mutant], tests: list[str], patience_s: float, plugin: object
) -> int:
    """Tries each; says which survive."""
    outcomes = []
    for mutant in chosen:
        outcomes.append(outcome(module, mutant.source, tests, patience_s, plugin))
        if outcomes[-1] == SURVIVED:
            print(f"  survived  {mutant.line}: {mutant.change}", flush=True)
    survived, hung = outcomes.count(SURVIVED), outcomes.count(TIMED_OUT)
    print(f"{module}: {len(chosen) - survived} killed ({hung} by time), {survived} survived")
    return min(survived, 1)


def outcome(module: Path, source: str, tests: list[str], patience_s: float, plugin: object) -> int:
    """What the tests say to this source."""
    child = os.fork()
    if child == 0:
        run_tests(module, source, tests, plugin)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            hung = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            return TIMED_OUT if hung else KILLED if status else SURVIVED
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT


def run_tests(module: Path, source: str, tests: list[str], plugin: object) -> None:
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
        code = pytest.main([*plugins, *preloaded, *profile, *tests], plugins=[plugin])
    except BaseException:  # noqa: BLE001 - a mutant may raise anything
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
