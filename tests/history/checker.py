"""Reads what recorders have left behind, and judges it.

    python tests/history/checker.py DIRECTORY

Nothing here has seen the run. What is wrong is shown by kind; the exit code is 1 if anything is, or
where there was nothing to look at.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.history.chain_log import Block, read_blocks
from tests.history.contents import Said, walk
from tests.history.journal import Subscribed, Told, read_answers, read_contents, read_entries
from tests.history.streams import Judge, Together
from tests.history.violations import Violations


def check(directory: Path) -> tuple[Violations, Counter[str]]:
    """What is wrong, and how much was looked at."""
    found, seen = Violations(), Counter[str]()
    clients = sorted(directory.glob("client-*.jsonl"))
    topics = _topics(clients)
    seen["topics"], seen["clients"] = len(topics), len(clients)
    contents, answers = read_contents(directory), read_answers(directory)
    blocks = _counted(directory, seen)
    said, together = Said(), Together()
    heights = walk(blocks, topics, contents, answers, found, seen, said)
    for path in clients:
        Judge(path.name, heights, found, seen, said, together).judge(read_entries(path))
    together.judge(said.lasting, found)
    for what in ("clients", "blocks", "messages", "contents"):
        if not seen[what]:
            found.add("nothing", f"there are no {what} to judge")
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
    """The verdict on a directory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="what a run has kept")
    directory = parser.parse_args().directory
    if not directory.is_dir():
        parser.error(f"{directory} is no directory")
    found, seen = check(directory)
    for name, count in sorted(seen.items()):
        sys.stdout.write(f"{name:32} {count:>12,}\n")
    for line in found.lines():
        sys.stdout.write(f"VIOLATION {line}\n")
    sys.stdout.write(f"violations{sum(found.counts.values()):>35,}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
