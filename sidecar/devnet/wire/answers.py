"""What an action's sender is told: the exchange endpoint's `response`, as Hyperliquid gives it.

(https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/exchange-endpoint)
"""

from typing import Any

from sidecar.devnet.execution.actions import Attached, Done, Filled, Outcome, Rested
from sidecar.devnet.execution.refusals import Refused
from sidecar.fixed import SCALE, to_text


def answer(kind: str, outcomes: list[Outcome]) -> dict[str, Any] | str:
    """The exchange endpoint's `response` for outcomes, or the message where that is an error."""
    statuses = [_status(outcome) for outcome in outcomes]
    if kind in ("order", "batchModify"):
        return {"type": "order", "data": {"statuses": statuses}}
    if kind in ("cancel", "cancelByCloid"):
        return {"type": "cancel", "data": {"statuses": statuses}}
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            return outcome.message
    return {"type": "default"}


def _status(outcome: Outcome) -> Any:
    if isinstance(outcome, Refused):
        return {"error": outcome.message}
    if isinstance(outcome, Rested):
        return {"resting": {"oid": outcome.oid} | _cloid(outcome.cloid)}
    if isinstance(outcome, Filled):
        average = outcome.notional * SCALE // outcome.sz
        filled = {"totalSz": to_text(outcome.sz), "avgPx": to_text(average), "oid": outcome.oid}
        return {"filled": filled | _cloid(outcome.cloid)}
    if isinstance(outcome, Attached):
        return "waitingForFill" if outcome.for_fill else "waitingForTrigger"
    assert isinstance(outcome, Done)
    return "success"


def _cloid(cloid: bytes | None) -> dict[str, str]:
    return {} if cloid is None else {"cloid": "0x" + cloid.hex()}
