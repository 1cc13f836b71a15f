"""Reads what recorders have left behind, and judges it.

    python tests/history/checker.py DIRECTORY

Nothing here has seen the run. What is wrong is shown by kind; the exit code is 1 if anything is.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.history.chain_log import Block, read_blocks
from tests.history.contents import walk
from tests.history.journal import Subscribed, Told, read_answers, read_contents, read_entries
from tests.history.streams import Judge
from tests.history.violations import Violations


def check(directory: Path) -> tuple[Violations, Counter[str]]:
    """What is wrong, and how much was looked at."""
    found, seen = Violations(), Counter[str]()
    clients = sorted(directory.glob("client-*.jsonl"))
    topics = _topics(clients)
    seen["topics"], seen["clients"] = len(topics), len(clients)
    contents, answers = read_contents(directory), read_answers(directory)
    blocks = _counted(directory, seen)
    heights = walk(blocks, topics, contents, answers, found, seen)
    for path in clients:
        Judge(path.name, heights, found, seen).judge(read_entries(path))
    return found, seen


def _topics(clients: list[Path]) -> set[str]:
    return {
        one.topic
        for path in clients
        for one in read_entries(path)
        if isinstance(one, Subscribed | Told)
    }


def _counted(directory: Path, seen: Counter[str]) -> Iterator[Block]:
    for block in read_blocks(directory / "log"):
        seen["blocks"] += 1
        yield block


def main() -> int:
    """The directory is the first argument."""
    found, seen = check(Path(sys.argv[1]))
    for name, count in sorted(seen.items()):
        sys.stdout.write(f"{name:32} {count:>12,}\n")
    for line in found.lines():
        sys.stdout.write(f"VIOLATION {line}\n")
    sys.stdout.write(f"violations{sum(found.counts.values()):>35,}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
