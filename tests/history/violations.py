"""What a checker found, counted and shown in moderation."""

from collections import Counter
from collections.abc import Iterator

SHOWN_PER_KIND = 5


class Violations:
    """By kind. The kinds are a word each: `order`, `chain`, `missing`, `content`, ..."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, what: str) -> None:
        """One more."""
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < SHOWN_PER_KIND:
            examples.append(what)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def lines(self) -> Iterator[str]:
        """For people."""
        for kind, count in sorted(self.counts.items()):
            yield f"{kind}: {count}"
            for what in self.examples[kind]:
                yield f"    {what}"
