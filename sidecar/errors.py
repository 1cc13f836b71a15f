"""Every error of the product, one small tree.

    SidecarError
    ├── ConfigInvalid        a setting is missing or wrong; names the key
    ├── NumberInvalid        text that is not a fixed-point number
    ├── NodeError            what the node wrote can't be used; names file, offset, height
    │   ├── LogCorrupt       bytes that can't be what a node wrote
    │   ├── LogGap           a height is missing
    │   ├── LogForked        the log has another block where one was read: it is another chain
    │   ├── LogUnwritable    the log can't be written (disk full, permission)
    │   ├── SnapshotInvalid  a snapshot that is torn, corrupt or of another chain
    │   ├── SourceMissing    a directory or file that has to be there is not
    │   ├── NodeUnreachable  the node's info server gives no answer that can be used
    │   └── NodeRefused      the node's info server says no; carries its status
    ├── StateMismatch        a transition that the state it meets makes impossible
    ├── Overloaded           all clients together ask for too much; nothing was done
    └── PeerError            a client's fault: no traceback, it carries the answer
        ├── HttpRefused      an HTTP status and a message
        │   └── UpgradeRefused    a handshake that is not RFC 6455's
        ├── RequestInvalid   a request that parses but asks for what can't be; answered
        │   └── NotInSource  what the node's output does not hold; its own API may
        ├── StateUnavailable what is asked for is known to be wrong now and is being rebuilt
        ├── SubmissionInvalid    bytes on the submission socket that make no sense
        ├── SignatureInvalid a signature that nobody can have made; answered
        ├── NotAdmitted      a signed action that the chain would refuse; carries the answer
        ├── Limited          too much at a time; carries when to come back
        └── ProtocolViolated      a WebSocket close code and a reason

Ours (a bug) is any other exception. Foreign exceptions are translated where the foreign library is
called.
"""

from pathlib import Path
from typing import Any


class SidecarError(Exception):
    """The root: everything the product raises on purpose."""


class ConfigInvalid(SidecarError):
    """A setting is missing or wrong. The message names the key and what is allowed."""


class WorkersEnded(SidecarError):
    """No worker is left to serve."""


class NumberInvalid(SidecarError):
    """A text that is not a fixed-point number."""


class NodeError(SidecarError):
    """What the node wrote can't be used.

    `path`, `offset` (bytes) and `height` say where, as far as known; the message holds them too.
    """

    def __init__(
        self,
        what: str,
        *,
        path: Path | None = None,
        offset: int | None = None,
        height: int | None = None,
    ) -> None:
        places = (("file", path), ("offset", offset), ("height", height))
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        super().__init__(f"{what} ({where})" if where else what)
        self.path = path
        self.offset = offset
        self.height = height


class LogCorrupt(NodeError):
    """Bytes that can't be what a node wrote."""


class LogGap(NodeError):
    """A height is missing between what was read and what follows."""


class LogForked(NodeError):
    """The log has another block of a height that was read before: the node went another way."""


class LogUnwritable(NodeError):
    """The log can't be written: disk full, permission lost."""


class SnapshotInvalid(NodeError):
    """A snapshot that is torn, corrupt, or of another format or chain."""


class SourceMissing(NodeError):
    """A directory or file that has to be there is not."""


class SourceBusy(SourceMissing):
    """No descriptor or memory is left to look at a file with; nothing is wrong with the file."""


class NodeUnreachable(NodeError):
    """The node's info server gives no answer, or none that can be used. It may later on."""

    def __init__(self, what: str, *, timeout: bool = False) -> None:
        super().__init__(what)
        self.timeout = timeout  # it had its time


class NodeRefused(NodeError):
    """The node's info server answers with an error, of HTTP status `status`."""

    def __init__(self, what: str, *, status: int) -> None:
        super().__init__(what)
        self.status = status


class StateMismatch(SidecarError):
    """A transition that the state it meets makes impossible: the state or the log is wrong."""

    def __init__(self, what: str, *, height: int | None = None, market: str | None = None) -> None:
        places = (("market", market), ("height", height))
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        super().__init__(f"{what} ({where})" if where else what)
        self.height = height
        self.market = market


class Overloaded(SidecarError):
    """All clients together ask for too much at a time. Nothing was done of what was asked."""


class PeerError(SidecarError):
    """A client's fault. It is answered, counted, and never a traceback."""


class HttpRefused(PeerError):
    """An HTTP request that is answered with `status` and the message as JSON."""

    def __init__(self, status: int, what: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(what)
        self.status = status
        self.headers = headers


class UpgradeRefused(HttpRefused):
    """A WebSocket handshake that RFC 6455 section 4.2 refuses."""


class RequestInvalid(PeerError):
    """A request that parses but asks for what can't be. The message says what is allowed."""


class NotInSource(RequestInvalid):
    """What the node's output does not hold. The message says where it can be had."""


class StateUnavailable(PeerError):
    """What is asked for is known to be wrong now, and is being rebuilt. The message says why."""


class SubmissionInvalid(PeerError):
    """Bytes on the submission socket that can't be a request or an answer: it closes."""


class SignatureInvalid(PeerError):
    """A signature from which no signer can be recovered. The message says what is wrong with it."""


class NotAdmitted(PeerError):
    """A signed action that the chain would refuse, by the rule `rule`, in the chain's words.

    `response` is what the exchange endpoint answers to orders that are refused one by one.
    """

    def __init__(self, rule: str, what: str, response: dict[str, Any] | None = None) -> None:
        super().__init__(what)
        self.rule = rule
        self.response = response


class Limited(PeerError):
    """More than a client may do at a time. `retry_after_s` is when it may go on."""

    def __init__(self, what: str, retry_after_s: float) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class ProtocolViolated(PeerError):
    """A WebSocket peer that broke the protocol or a limit: the connection closes with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
