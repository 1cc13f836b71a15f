"""Listening sockets, and the accept loop that survives what accept() can say."""

import contextlib
import errno
import resource
import socket
import time
from pathlib import Path

import anyio
import msgspec

from sidecar import limits
from sidecar.errors import ConfigInvalid
from sidecar.node.ipc import is_served
from sidecar.protocol.proxy import UNIX
from sidecar.server.rates import Rate
from sidecar.settings import ServerSettings
from sidecar.telemetry.logs import get_log

_log = get_log("server")

_UNIX_PREFIX = "unix:"
_FD_PREFIX = "fd:"  # a socket that this process was given
_UNIX_MODE = 0o660  # for a proxy of the same group
_OUT_OF_RESOURCES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))


def is_unix(host: str) -> bool:
    """Whether a `host` names a unix socket."""
    return host.startswith(_UNIX_PREFIX)


def is_given(host: str) -> bool:
    """Whether a `host` is a socket that somebody else has bound."""
    return host.startswith(_FD_PREFIX)


def place_of(listener: socket.socket, host: str) -> tuple[str, int]:
    """Where clients find a socket that was bound as `host`: host and port, 0 for a unix socket."""
    name = listener.getsockname()
    if not isinstance(name, tuple):
        return (f"{_UNIX_PREFIX}{name}" if is_given(host) else host), 0
    return (name[0] if is_given(host) else host), int(name[1])


def shown(host: str, port: int) -> str:
    """A place as addresses are written; that of a unix socket is all host."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int, section: str = "server", *, shared: bool = False) -> socket.socket:
    """A bound, non-blocking socket; connections inherit its options (Linux). `shared`: other
    processes of this user may bind it, too. Raises `ConfigInvalid`, which names the setting of that
    section.

    It does not listen yet: until the state is live, clients are refused at once instead of kept
    waiting.
    """
    if is_given(host):
        return _adopt(host.removeprefix(_FD_PREFIX), section)
    if is_unix(host):
        return _bind_unix(Path(host.removeprefix(_UNIX_PREFIX)), section)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigInvalid(f"{section}.host: can't listen on {host!r}: {error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        for level, option, value in _OPTIONS:
            sock.setsockopt(level, option, value)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise ConfigInvalid(
            f"{section}.port: can't listen on {host} port {port}: {error}"
        ) from error
    sock.setblocking(False)
    return sock


def _adopt(number: str, section: str) -> socket.socket:
    """A socket that somebody else has bound."""
    try:
        sock = socket.socket(fileno=int(number))
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"{section}.host: no socket {number!r}: {error}") from error
    for level, option, value in _OPTIONS:
        if level == socket.SOL_SOCKET or sock.family != socket.AF_UNIX:
            sock.setsockopt(level, option, value)
    sock.setblocking(False)
    return sock


def _bind_unix(path: Path, section: str) -> socket.socket:
    """A unix socket; one that a dead process left is replaced."""
    try:
        if path.is_socket() and not is_served(path):
            path.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise ConfigInvalid(f"{section}.host: can't listen on {path}: {error}") from error
    try:
        for level, option, value in _OPTIONS:
            if level == socket.SOL_SOCKET:
                sock.setsockopt(level, option, value)
        sock.bind(str(path))
        path.chmod(_UNIX_MODE)
    except (OSError, ValueError) as error:
        sock.close()
        raise ConfigInvalid(f"{section}.host: can't listen on {path}: {error}") from error
    return sock


def fit_descriptors(settings: ServerSettings) -> ServerSettings:
    """Raises this process's descriptor limit as far as it goes, and lowers `connections_max` to
    what it leaves: running out of descriptors would take the log's with it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    room = soft - limits.DESCRIPTORS_RESERVED
    if settings.connections_max <= room:
        return settings
    if room < 1:
        raise ConfigInvalid(f"{soft} descriptors are too few; raise the limit (ulimit -n)")
    _log.warning("connections_max lowered to the descriptor limit", connections_max=room)
    return msgspec.structs.replace(settings, connections_max=room)


async def accept(listener: socket.socket) -> tuple[socket.socket, str]:
    """The next connection and its peer's address. Waits while the process is out of descriptors
    or memory.
    """
    while True:
        try:
            sock, address = listener.accept()
        except BlockingIOError:
            await anyio.wait_readable(listener)
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                if not _complaints.exceeded(time.monotonic()):
                    _log.error("can't accept connections", reason=str(error))
                await anyio.sleep(limits.ACCEPT_BACKOFF_S)
            elif error.errno == errno.EBADF:
                raise
            # else the peer gave up before we came: ECONNABORTED, EPROTO, ...
        else:
            sock.setblocking(False)
            return sock, str(address[0]) if address else UNIX


_complaints = Rate(1, limits.ACCEPT_LOG_S)

_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limits.SOCKET_NOTSENT_LOWAT_BYTES),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.SOCKET_USER_TIMEOUT_MS),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, limits.SOCKET_RECV_BUFFER_BYTES),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SOCKET_SEND_BUFFER_BYTES),
)
