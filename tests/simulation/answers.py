"""What clients that asked were told: as the chain was at a moment between question and answer."""

import json
from typing import Any

from tests.simulation.candour import has_held
from tests.simulation.checks import agrees
from tests.simulation.client import Client, Question
from tests.simulation.conditions import Conditions
from tests.simulation.oracle import Asked, Oracle

_OF_THE_SIDECAR = "serverInfo"
_UNKNOWN = "nothing"  # no type of an info request


def asked(clients: list[Client]) -> Asked:
    """What the oracle is to be asked, too, and when."""
    found: Asked = {}
    for question in _judged(clients):
        if question.payload["type"] not in (_OF_THE_SIDECAR, _UNKNOWN):
            for height in _heights(question):
                found.setdefault(height, {})[_text(question)] = question.payload
    return found


def answers(clients: list[Client], oracle: Oracle, conditions: Conditions) -> list[str]:
    """What is wrong with them."""
    return [
        f"at {question.since} to {question.until} {question.payload} was answered"
        f" {str(question.answer)[:300]}"
        for question in _judged(clients)
        if not _is_right(question, oracle, conditions)
    ]


def _is_right(question: Question, oracle: Oracle, conditions: Conditions) -> bool:
    answer, kind = question.answer, question.payload["type"]
    assert answer is not None
    if kind == _UNKNOWN:
        return answer["type"] == "error" and "unknown info type" in answer["payload"]
    if answer["type"] == "error" and "is being rebuilt: " in answer["payload"]:
        return any(
            conditions.is_rebuilt(question.incarnation, height, answer["payload"])
            for height in _heights(question)
        )
    if answer["type"] != "info" or answer["payload"]["type"] != kind:
        return False
    data = answer["payload"]["data"]
    if kind == _OF_THE_SIDECAR:
        return _is_of(data, question, conditions)
    text = _text(question)
    return any(
        agrees(data, right)
        for height in _heights(question)
        for right in oracle.answers(text, height)
    )


def _is_of(data: dict[str, Any], question: Question, conditions: Conditions) -> bool:
    rest = data["markets"], data["coins"], data["users"]
    return (
        data["height"] in _heights(question)
        and has_held(conditions, question.incarnation, data["feed"], data["height"])
        and rest == (2, {}, {})
    )


def _judged(clients: list[Client]) -> list[Question]:
    every = [question for client in clients for question in client.questions]
    return [one for one in every if one.answer is not None and one.until is not None]


def _heights(question: Question) -> range:
    assert question.until is not None
    return range(question.since, question.until + 1)


def _text(question: Question) -> str:
    return json.dumps(question.payload, sort_keys=True)
