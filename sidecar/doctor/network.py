"""Addresses and ports: can they be listened on, and who reaches the operators' one."""

import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.errors import ConfigInvalid
from sidecar.node.ipc import is_served
from sidecar.server.listener import bind, is_unix

_PRIVILEGED = 1024


def check_running(site: Site) -> Iterator[Finding]:
    """Ports and locks that a running sidecar holds are not held against it."""
    if site.is_served:
        operator = site.settings.operator
        yield warning(
            "a sidecar runs here with this operator port; what it holds was not checked",
            where=f"{operator.host}:{operator.port}",
            value=site.machine.listener(operator.port),
            remedy="sidecar status says how it is; a second one needs ports of its own",
        )


def check_server_port(site: Site) -> Iterator[Finding]:
    """Clients can connect there."""
    server = site.settings.server
    yield from _check_listening(site, server.host, server.port, "server")


def check_operator_port(site: Site) -> Iterator[Finding]:
    """Operators can connect there."""
    operator = site.settings.operator
    yield from _check_listening(site, operator.host, operator.port, "operator")


def _check_listening(site: Site, host: str, port: int, section: str) -> Iterator[Finding]:
    if host.startswith("fd:"):
        return  # who gave it has bound it
    if is_unix(host):
        yield from _check_unix(Path(host.removeprefix("unix:")), section)
        return
    try:
        bind(host, port, section).close()
    except ConfigInvalid as refused:
        if not _is_held_for_us(site, refused, port):
            yield _not_listening(site, refused, host, port, section)


def _is_held_for_us(site: Site, refused: ConfigInvalid, port: int) -> bool:
    """Whether systemd listens, to pass the socket on when the service starts."""
    cause = refused.__cause__
    in_use = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
    return in_use and site.machine.listener(port).startswith("process 1: ")


def _not_listening(
    site: Site, refused: ConfigInvalid, host: str, port: int, section: str
) -> Finding:
    cause = refused.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if isinstance(cause, socket.gaierror) or number == errno.EADDRNOTAVAIL:
        where, value = f"{section}.host = {host}", str(cause)
        remedy = "ip -brief address lists the addresses of this machine; 0.0.0.0 is all of them"
        return error("this machine has no such address", where=where, value=value, remedy=remedy)
    where = f"{section}.port = {port}"
    if number == errno.EADDRINUSE:
        holder = site.machine.listener(port)
        remedy = f"stop it, or set {section}.port"
        return error("the port is in use", where=where, value=holder, remedy=remedy)
    if number in (errno.EACCES, errno.EPERM) and port < _PRIVILEGED:
        remedy = f"AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or {section}.port = 8010"
        what = "this user may not listen on the port"
        return error(what, where=where, value=f"uid {os.geteuid()}", remedy=remedy)
    return error("can't listen", where=where, value=str(cause), remedy=f"set {section}.port")


def _check_unix(path: Path, section: str) -> Iterator[Finding]:
    where = f"{section}.host = unix:{path}"
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        remedy = f"install -d -o USER {path.parent}, or RuntimeDirectory= in the unit"
        value = f"{path.parent}, uid {os.geteuid()}"
        yield error("this user can't make the socket", where=where, value=value, remedy=remedy)
    elif path.exists() and not path.is_socket():
        yield error("a file is in its place", where=where, remedy=f"rm {path}")
    elif path.exists() and is_served(path):
        remedy = f"stop who has it (fuser {path}), or set {section}.host"
        yield error("another process listens on the socket", where=where, remedy=remedy)


def check_exposure(site: Site) -> Iterator[Finding]:
    """What operators see is not for everybody."""
    host = site.settings.operator.host
    if is_unix(host) or host == "localhost":
        return
    try:
        reachable = not ip_address(host).is_loopback
    except ValueError:
        return  # a name: it is the port's check to resolve it
    if reachable:
        yield warning(
            "the operator port can be reached from other machines, and asks for no token",
            where=f"operator.host = {host}",
            remedy='operator.host = "127.0.0.1", or a firewall rule for the port',
        )
