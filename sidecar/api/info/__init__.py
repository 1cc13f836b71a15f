"""Info requests: `POST /info`, and `post` on WebSocket. One function a request type, each reads the
state as it is.

To add one: a parameters Struct, a function, a line in the table at the end of its module.
"""

from typing import Any

import msgspec

from sidecar.api.info import account, history, market, orders, past, server
from sidecar.api.info.elsewhere import may_be_elsewhere, not_here
from sidecar.api.info.handler import Handler
from sidecar.errors import RequestInvalid
from sidecar.state.chain import ChainState

HANDLERS: dict[str, Handler] = {
    **market.HANDLERS,
    **past.HANDLERS,
    **account.HANDLERS,
    **server.HANDLERS,
    **orders.HANDLERS,
    **history.HANDLERS,
}


def answer_info(state: ChainState, request: Any) -> Any:
    """The answer to a decoded info request, ready to be encoded.

    Raises `RequestInvalid`, `NotInSource` for what the node itself may know, and
    `StateUnavailable` while what is asked for is being rebuilt.
    """
    if not isinstance(request, dict):
        raise RequestInvalid('an info request is an object such as {"type": "allMids"}')
    kind = request.get("type")
    handler = HANDLERS.get(kind) if isinstance(kind, str) else None
    if handler is None and may_be_elsewhere(request):
        raise not_here(str(kind))
    if handler is None:
        raise RequestInvalid(f"unknown info type {kind!r:.40}; there are {', '.join(HANDLERS)}")
    try:
        parameters = msgspec.convert(request, handler.parameters)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"{kind}: {error}") from error
    return handler.answer(state, parameters)
