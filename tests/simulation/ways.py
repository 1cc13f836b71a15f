"""Promise 3 across messages: what a client has of a topic is of one way that the chain went, until
a gap or a snapshot says that it begins anew. Each message by itself may be right, of this way or
that one.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from sidecar.api.topics import Delivery
from tests.simulation.checks import DELIVERIES, is_one_of, is_snapshot
from tests.simulation.client import Reading
from tests.simulation.oracle import Oracle, plain

Ways = set[int] | None  # that have all of the messages since the last beginning; None: any


def mixed(clients: Iterable[list[Reading]], oracle: Oracle) -> list[str]:
    """Whose messages no way has all of, by client. Who comes back to the same process goes on with
    what it had; what another one told, that process can't know.
    """
    wrong = list[str]()
    for readings in clients:
        before: dict[object, Ways] = {}
        for reading in readings:
            if DELIVERIES.get(reading.subscription["type"]) is Delivery.EVERY:
                place = reading.key, reading.incarnation
                had = None if reading.resumed is None else before.get(place)
                before[place] = _follow(reading, had, oracle, wrong)
    return wrong


def _follow(reading: Reading, ways: Ways, oracle: Oracle, wrong: list[str]) -> Ways:
    for message in map(plain, reading.texts):
        if message["channel"] == "gap" or is_snapshot(message):
            ways = None
            continue
        of = oracle.ways(reading.key, partial(_is, message), message["height"])
        if ways is not None and of and not ways & of:
            where = f"{reading.incarnation}, {reading.key}, height {message['height']}"
            wrong.append(f"{where}: of another way than what came before")
            return None
        ways = of if ways is None else ways & of or ways
    return ways


def _is(message: dict[str, Any], said: Any) -> bool:
    return is_one_of(message, [said])
