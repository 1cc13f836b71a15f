"""What clients say on WebSocket, decoded and checked.

{"method": "subscribe", "subscription": {...}}
{"method": "subscribe", "subscription": {...}, "resume": {"height": 4711}}
{"method": "unsubscribe", "subscription": {...}}
{"method": "ping"}
{"method": "post", "id": 7, "request": {"type": "info", "payload": {...}}}
{"method": "post", "id": 7, "request": {"type": "action", "payload": {signed action}}}
{"method": "onDisconnect", "action": {signed action}}
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sidecar.errors import RequestInvalid

MAX_HEIGHT = (1 << 63) - 1


class Resume(msgspec.Struct, frozen=True):
    """`height`: up to which the client has read the topic."""

    height: Annotated[int, Meta(ge=0, le=MAX_HEIGHT)]


class Subscribe(msgspec.Struct, tag_field="method", tag="subscribe", frozen=True):
    """Read a topic from now on, or from behind the height that the client has seen."""

    subscription: dict[str, Any]
    resume: Resume | None = None


class Unsubscribe(msgspec.Struct, tag_field="method", tag="unsubscribe", frozen=True):
    """Stop reading a topic."""

    subscription: dict[str, Any]


class Ping(msgspec.Struct, tag_field="method", tag="ping", frozen=True):
    """Are you there? (For clients that can't send WebSocket pings.)"""


class PostBody(msgspec.Struct, frozen=True):
    """A request as over HTTP; `payload` byte for byte, since an action is sent on like that."""

    type: Literal["info", "action"]
    payload: msgspec.Raw


class Post(msgspec.Struct, tag_field="method", tag="post", frozen=True):
    """An HTTP request over WebSocket; `id` comes back with the answer. `traceparent` is HTTP's
    header of that name.
    """

    id: int
    request: PostBody
    traceparent: str | None = None


class OnDisconnect(msgspec.Struct, tag_field="method", tag="onDisconnect", frozen=True):
    """A signed action to be sent when this connection ends, in place of the one before; null for
    none.
    """

    action: msgspec.Raw


NO_ORDERS = "this sidecar does not take orders; send them to the chain itself"

Request = Subscribe | Unsubscribe | Ping | Post | OnDisconnect

_METHODS = ("subscribe", "unsubscribe", "ping", "post", "onDisconnect")
_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


def decode_request(text: str) -> Request:
    """A client's request. Raises `RequestInvalid` that says what is wrong and what is allowed."""
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise RequestInvalid(f"{error}{_allowed(str(error))}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestInvalid(f"not JSON: {error}") from error


def decode_json(body: bytes | msgspec.Raw) -> Any:
    """A JSON body. Raises `RequestInvalid`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RequestInvalid(f"the body is not JSON: {error}") from error


def _allowed(error: str) -> str:
    if "`$.request.type`" in error:
        return "; a post request's type is info or action"
    if "`$.method`" in error or "`method`" in error or "`object`" in error:
        return f"; method is one of {', '.join(_METHODS)}"
    return ""
