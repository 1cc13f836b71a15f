"""What operators are told beside ready or not: parts that are withheld or at risk while the rest is
served.
"""

from itertools import islice
from typing import Any

from sidecar.checkpoints import Checkpoints
from sidecar.limits import WITHHELD_TOLD_MAX
from sidecar.state.chain import ChainState
from sidecar.state.health import NS_PER_S, Health


def in_doubt(state: ChainState, health: Health, checkpoints: Checkpoints | None) -> dict[str, Any]:
    """More of `/readyz`: how old the newest block is, what is withheld, and how
    checkpoints go where some are written. No more markets are named than fit a worker's report.
    """
    named = islice(health.coins(), WITHHELD_TOLD_MAX)
    told: dict[str, Any] = {
        "lag_s": round(health.age_ns / NS_PER_S, 3),
        "markets": {
            "served": len(state.markets) - health.books_withheld(),
            "withheld": {name: condition.reason for name, condition in named},
        },
        "accounts": {"withheld": len(state.faults.accounts)},
    }
    if checkpoints is not None:
        told["checkpoint"] = {
            "height": checkpoints.height,
            "failures": checkpoints.failures,
            "reason": checkpoints.why,
        }
    return told
