"""Runs a fuzz target with atheris, guided by coverage, until a finding or as long as it is told.

    python fuzz/run.py websocket 600                     seconds; 60 if left out
    python fuzz/run.py websocket 600 -rss_limit_mb=512   libFuzzer's flags behind
    python fuzz/run.py websocket FILE                    one input again
    python fuzz/run.py --list                            the targets

It starts from `fuzz/corpus/NAME`; what it finds goes to `build/fuzz/NAME`, a finding with it. An
input that takes long is named while it goes on; one that takes very long, or much memory, is a
finding.
"""

import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris
import structlog

from targets import NAMES, load

HERE = Path(__file__).parent
FLAGS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", "-use_value_profile=1")
GUIDED_BY, NOT_BY = ["sidecar", "wsproto", "h11"], ["sidecar.devnet"]
SLOW_S = 0.05  # of the process, for one input
MUTATED_HERE = 0.7  # of the inputs, where a target knows how


def main() -> None:
    """The first argument is the target, the second how long; the rest is libFuzzer's."""
    name, *rest = sys.argv[1:] or [""]
    if name == "--list":
        print(*NAMES)
        return
    try:
        with atheris.instrument_imports(include=GUIDED_BY, exclude=NOT_BY):
            target = load(name)
    except KeyError as error:
        sys.exit(f"usage: python fuzz/run.py {{{error.args[0]}}} [SECONDS | FILE] [flags]")
    seconds = rest.pop(0) if rest and not rest[0].startswith("-") else "60"
    if not seconds.isdigit():
        target.check(Path(seconds).read_bytes())
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target.check(b"")  # what is made once, a chain, is made now
    found = HERE.parent / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    for number, captured in enumerate(target.captured()):
        (found / f"captured-{number}").write_bytes(captured)
    flags = [*FLAGS, f"-max_total_time={seconds}", f"-artifact_prefix={found}/", *rest]
    if target.tokens:
        flags.append(f"-dict={_dictionary(found.with_suffix('.dict'), target.tokens)}")
    corpora = [str(found), str(HERE / "corpus" / name)]
    mutator = {} if target.mutate is None else {"custom_mutator": _mutator(target.mutate)}
    atheris.Setup([sys.argv[0], *flags, *corpora], _timed(target.check), **mutator)
    atheris.Fuzz()


def _timed(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    slowest = SLOW_S

    def timed(data: bytes) -> None:
        nonlocal slowest
        since = time.process_time()
        check(data)
        took = time.process_time() - since
        if took > slowest:
            slowest = took
            print(f"slow: {took * 1000:.0f} ms for {len(data)} bytes", file=sys.stderr)

    return timed


def _mutator(
    mutate: Callable[[bytes, random.Random], bytes],
) -> Callable[[bytes, int, int], bytes]:
    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < MUTATED_HERE:
            made = mutate(data, rng)
            if len(made) <= max_size:
                return made
        return bytes(atheris.Mutate(data, max_size))

    return mutated


def _dictionary(path: Path, tokens: tuple[bytes, ...]) -> Path:
    lines = ('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"' for token in tokens)
    path.write_text("\n".join(lines))
    return path


if __name__ == "__main__":
    main()
