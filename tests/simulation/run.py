"""Plays seeds, as many as wanted, and says how to play again what went wrong.

python tests/simulation/run.py 0:20000 --jobs 2      a range
python tests/simulation/run.py 183                   one, with all that is known of it
"""

import argparse
import multiprocessing
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.simulation.story import Verdict, tell
from tests.simulation.weights import draw

_PROGRESS_S = 10.0


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("seeds", help="one seed, or FIRST:BEHIND")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    arguments = parser.parse_args()
    first, colon, behind = arguments.seeds.partition(":")
    try:
        seeds = range(int(first), int(behind) if colon else int(first) + 1)
    except ValueError:
        parser.error(f"{arguments.seeds!r} is neither a seed nor FIRST:BEHIND")
    if len(seeds) == 1:
        print(draw(seeds[0]))
    return _report(seeds, arguments.jobs)


def _report(seeds: range, jobs: int) -> int:
    began = told_at = time.monotonic()
    failed, seen = 0, Counter[str]()
    for done, verdict in enumerate(_verdicts(seeds, jobs), 1):
        seen.update(blocks=verdict.blocks, messages=verdict.messages)
        seen.update(one.split()[0] for one in verdict.troubles)
        if len(seeds) == 1:
            print(verdict)
        if verdict.violations:
            failed += 1
            print(explain(verdict), flush=True)
        if time.monotonic() - told_at > _PROGRESS_S:
            told_at = time.monotonic()
            print(f"{done} of {len(seeds)} seeds, {failed} failed", flush=True)
    took_s = time.monotonic() - began
    print(f"{len(seeds)} seeds in {took_s:.0f} s, {failed} failed; {dict(seen)}")
    return 1 if failed else 0


def explain(verdict: Verdict) -> str:
    """What a failed seed says, with the command that plays it again."""
    lines = [f"seed {verdict.seed}: {len(verdict.violations)} violations"]
    lines += [f"    {what[:2000]}" for what in verdict.violations[:6]]
    lines.append(f"    again: python tests/simulation/run.py {verdict.seed}")
    return "\n".join(lines)


def _verdicts(seeds: range, jobs: int) -> Iterator[Verdict]:
    if jobs <= 1:
        yield from map(_tell, seeds)
        return
    with multiprocessing.Pool(jobs, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(_tell, seeds, chunksize=5)


def _tell(seed: int) -> Verdict:
    try:
        return tell(seed)
    except Exception:  # noqa: BLE001 - a world that fails is one that has to be looked at, too
        return Verdict(seed, violations=[f"the world failed: {traceback.format_exc()[-2000:]}"])


class _Plain(argparse.RawDescriptionHelpFormatter):
    """The docstring as it is written."""


if __name__ == "__main__":
    sys.exit(main())
