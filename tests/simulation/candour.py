"""What clients were told of the sidecar itself (promise 5), held against what it knew: the messages
of `status`, and the word `state` in all others.
"""

import json
from typing import Any

import msgspec

from sidecar.api.channels import REGISTRY
from sidecar.api.topics import Delivery
from sidecar.state.health import LIVE, Condition
from tests.simulation.beginnings import Incarnation
from tests.simulation.checks import is_snapshot
from tests.simulation.client import Client, Reading
from tests.simulation.conditions import Change, Conditions, was_on

_LATEST = frozenset(one.name for one in REGISTRY if one.delivery is Delivery.LATEST)


def marks(readings: list[Reading], conditions: Conditions) -> list[str]:
    """What is wrong with the marks of messages."""
    wrong = []
    for reading in readings:
        for text in () if reading.subscription["type"] == "status" else reading.texts:
            message = msgspec.json.decode(text)
            if "height" not in message:
                continue  # a gap
            mark = message.get("state", LIVE)
            allowed = _allowed(reading, message, conditions)
            if mark not in allowed:
                height = message["height"]
                wrong.append(f"{reading.key}: {mark} at {height}, where it held {sorted(allowed)}")
    return wrong


def _allowed(reading: Reading, message: dict[str, Any], conditions: Conditions) -> set[str]:
    """A block's messages say what held as it came; what answers a subscription says what holds
    then; what was told before is told again as it was then, or, made anew, without a mark.
    """
    sidecar, height = reading.incarnation, message["height"]
    if reading.subscription["type"] in _LATEST or is_snapshot(message):
        return conditions.while_at(sidecar, height)
    again = set() if reading.resumed is None else {LIVE}
    return conditions.at_block(sidecar, height) | again


def statuses(readings: list[Reading], clients: list[Client], conditions: Conditions) -> list[str]:
    """What is wrong with what `status` told: each change that holds for a while has to be told,
    nothing else, and at the end what holds then.
    """
    there = [client.connection.reads.values() for client in clients if client.connection]
    to_the_end = {id(reading) for reads in there for reading in reads if reading.confirmed}
    wrong = []
    for reading in readings:
        if reading.subscription["type"] == "status":
            what = _follow(reading, conditions, to_the_end=id(reading) in to_the_end)
            wrong += [] if what is None else [f"{reading.incarnation}, status: {what}"]
    return wrong


def _follow(reading: Reading, conditions: Conditions, *, to_the_end: bool) -> str | None:
    sidecar = reading.incarnation
    changes = conditions.of(sidecar)
    places: set[int] | None = None  # which change the last message may have told
    for message in map(json.loads, reading.texts):
        if message["prev"] is not None or message["data"]["coins"] or message["data"]["users"]:
            return f"odd: {message}"
        told = Condition(**message["data"]["feed"])
        found = _places(changes, told, message["height"])
        if not found:
            return f"it never held {told} at {message['height']}"
        if places is not None:
            found = {
                two
                for two in found
                if any(_nothing_between(conditions, sidecar, one, two) for one in places)
            }
            if not found:
                return f"what came before {told} at {message['height']} was not told"
        places = found
    if to_the_end and not any(
        _nothing_between(conditions, sidecar, one, len(changes)) for one in places or ()
    ):
        return f"it ends with {reading.texts[-1:]}, but {changes[-1].condition} holds"
    return None


def has_held(
    conditions: Conditions, sidecar: Incarnation, feed: dict[str, Any], height: int
) -> bool:
    """Whether a sidecar ever held that of its feed while it was at that height."""
    return bool(_places(conditions.of(sidecar), Condition(**feed), height))


def _places(changes: list[Change], told: Condition, height: int) -> set[int]:
    return {
        number
        for number, one in enumerate(changes)
        if one.condition == told and was_on(changes, number, height)
    }


def _nothing_between(conditions: Conditions, sidecar: Incarnation, one: int, two: int) -> bool:
    """Whether nothing that had to be told lies between two changes: the same again has not."""
    changes = conditions.of(sidecar)
    return one <= two and not any(
        conditions.is_told(sidecar, number) and changes[number].condition != changes[one].condition
        for number in range(one + 1, two)
    )
