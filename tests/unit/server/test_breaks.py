"""Who comes back from where what was told may have been wrong."""

from collections.abc import Callable

from blocks import state_of
from sidecar.api.channels import Channels
from sidecar.api.topics import Topic
from sidecar.limits import BREAKS_KEPT
from sidecar.server.breaks import Breaks


def topics_of(*names: str) -> list[Topic]:
    channels = Channels(state_of())
    return [channels.resolve({"type": name, "coin": "TOYOTA"}) for name in names]


def these(*topics: Topic) -> Callable[[Topic], bool]:
    return lambda topic: topic in topics


def test_the_newest_break_of_a_topic_counts() -> None:
    trades, book, bbo = topics_of("trades", "l4Book", "bbo")
    breaks = Breaks()
    assert breaks.height(book) == 0
    breaks.note(these(book, bbo), 7)
    breaks.note(these(book), 9)
    breaks.note(these(bbo), 12)
    assert [breaks.height(one) for one in (trades, book, bbo)] == [0, 9, 12]


def test_of_the_oldest_nobody_knows_any_more_what_they_concerned() -> None:
    trades, book = topics_of("trades", "l4Book")
    breaks = Breaks()
    for height in range(1, BREAKS_KEPT + 4):
        breaks.note(these(book), height)
    assert [breaks.height(one) for one in (trades, book)] == [3, BREAKS_KEPT + 3]
