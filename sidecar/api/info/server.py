"""Info requests about this sidecar."""

from typing import Any

from sidecar import __version__
from sidecar.api.channels.status import age_ms, conditions
from sidecar.api.info.handler import Handler, NoParameters
from sidecar.state.chain import ChainState


def _server_info(state: ChainState, _parameters: NoParameters) -> dict[str, Any]:
    """What is served, as of which block, and how far it can be trusted: as `status` says it."""
    return {
        "version": __version__,
        "height": state.height,
        "markets": len(state.markets),
        **conditions(state),
        "age": age_ms(state),
        "mismatches": state.faults.found.total(),
    }


HANDLERS = {"serverInfo": Handler(NoParameters, _server_info)}
