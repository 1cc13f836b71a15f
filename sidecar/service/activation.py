"""Sockets that the service manager listens on for us (sd_listen_fds(3)): it keeps them over a
restart, in which clients wait instead of being refused.

    sidecar.socket    FileDescriptorName=server     clients
                      FileDescriptorName=operator   operators
"""

import os
import socket
from collections.abc import MutableMapping

import msgspec

from sidecar.errors import ConfigInvalid
from sidecar.settings import Settings

_FIRST = 3
_SECTIONS = ("server", "operator")


def passed_sockets(environment: MutableMapping[str, str]) -> dict[str, int]:
    """The descriptors that we were given, by section of the settings. One without a name is the
    server's. The variables are taken out of the environment: what this process starts has none.
    Raises `ConfigInvalid`.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, int] = {}
    named = names.split(":") if names else []
    for at in range(int(count)):
        name = named[at] if at < len(named) else "server"
        section = name if name in _SECTIONS else "server"  # unnamed: that of the unit, or "unknown"
        if section in found:
            what = f"two sockets for {section}; name them by FileDescriptorName="
            raise ConfigInvalid(f"LISTEN_FDS: {what}{' and '.join(_SECTIONS)}")
        found[section] = _checked(_FIRST + at)
    return found


def _checked(number: int) -> int:
    """A descriptor that can be listened on, and that no child inherits."""
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            kind = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        os.set_inheritable(number, False)
    except OSError as error:
        raise ConfigInvalid(f"LISTEN_FDS: descriptor {number} is no socket: {error}") from error
    if kind != socket.SOCK_STREAM:
        raise ConfigInvalid(f"LISTEN_FDS: descriptor {number} takes no connections (ListenStream=)")
    return number


def listen_there(settings: Settings, sockets: dict[str, int]) -> Settings:
    """Settings whose hosts are those sockets."""
    server, operator = settings.server, settings.operator
    if "server" in sockets:
        server = msgspec.structs.replace(server, host=f"fd:{sockets['server']}")
    if "operator" in sockets:
        operator = msgspec.structs.replace(operator, host=f"fd:{sockets['operator']}")
    return msgspec.structs.replace(settings, server=server, operator=operator)
