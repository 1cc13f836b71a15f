"""Keeps what is worth keeping of what runs found: the inputs that reach something which the seeds
and the past findings don't, the most and the smallest first.

    python fuzz/minimise.py http [...]     of `build/fuzz/http`, into `fuzz/corpus/http/more-*`
"""

import hashlib
import logging
import sys
from pathlib import Path

import coverage
import structlog

from targets import NAMES, load

HERE = Path(__file__).parent
PRODUCT = str(HERE.parent / "sidecar" / "*")
FILES_MAX = 30  # of a target, seeds and findings included
BYTES_MAX = 40_000  # likewise
INPUT_BYTES_MAX = 6_000

Reached = frozenset[tuple[str, tuple[int, int]]]


def main() -> None:
    """One target after the other; each has to be named."""
    if not sys.argv[1:] or set(sys.argv[1:]) - set(NAMES):
        sys.exit(f"usage: python fuzz/minimise.py {{{','.join(NAMES)}}} [...]")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for name in sys.argv[1:]:
        _minimise(name)


def _minimise(name: str) -> None:
    corpus = HERE / "corpus" / name
    before = sorted(corpus.glob("more-*"))
    found = sorted((HERE.parent / "build" / "fuzz" / name).iterdir(), key=_size)
    offered = {path.read_bytes() for path in (*before, *found) if _size(path) <= INPUT_BYTES_MAX}
    kept = [path.read_bytes() for path in sorted(corpus.iterdir()) if path not in before]
    reached = _reached(name, [*kept, *offered])
    known = set[tuple[str, tuple[int, int]]]().union(*(reached[one] for one in kept))
    for path in before:
        path.unlink()
    for data in _worth_keeping(offered, reached, known, kept):
        (corpus / f"more-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
    files = list(corpus.iterdir())
    print(f"{name}: {len(files)} files, {sum(map(_size, files))} bytes, of {len(offered)} offered")


def _worth_keeping(
    offered: set[bytes],
    reached: dict[bytes, Reached],
    known: set[tuple[str, tuple[int, int]]],
    kept: list[bytes],
) -> list[bytes]:
    chosen: list[bytes] = []
    size = sum(map(len, kept))
    left = sorted(offered, key=len)
    while left and len(kept) + len(chosen) < FILES_MAX:
        best = max(left, key=lambda data: len(reached[data] - known))
        left.remove(best)
        if not reached[best] - known:
            break
        if size + len(best) <= BYTES_MAX:
            chosen.append(best)
            size += len(best)
            known |= reached[best]
    return chosen


def _reached(name: str, inputs: list[bytes]) -> dict[bytes, Reached]:
    """Which branches of the product each input takes."""
    measuring = coverage.Coverage(branch=True, data_file=None, config_file=False, include=PRODUCT)
    target = load(name)
    target.check(b"")  # what happens once happens now
    measuring.start()
    for number, data in enumerate(inputs):
        measuring.switch_context(str(number))
        target.check(data)
    measuring.stop()
    measured = measuring.get_data()
    files = measured.measured_files()
    reached: dict[bytes, Reached] = {}
    for number, data in enumerate(inputs):
        measured.set_query_context(str(number))
        reached[data] = frozenset(
            (file, arc) for file in files for arc in measured.arcs(file) or ()
        )
    return reached


def _size(path: Path) -> int:
    return path.stat().st_size


if __name__ == "__main__":
    main()
