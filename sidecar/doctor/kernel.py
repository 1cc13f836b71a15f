"""What the kernel allows: inotify, descriptors, queues, features; and its clock."""

import os
import resource
import socket
from collections.abc import Iterator

from inotify_simple import INotify

from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.machine import links_of
from sidecar.doctor.site import Site
from sidecar.limits import (
    DESCRIPTORS_RESERVED,
    DOCTOR_EVENTS_MIN,
    DOCTOR_TCP_BYTES_MIN,
    DOCTOR_WATCHES,
    LISTEN_BACKLOG,
)

_INOTIFY = "proc/sys/fs/inotify"
_INOTIFY_LINK = "anon_inode:inotify"


def _sysctl(what: str, path: str, value: str, wanted: int) -> Finding:
    key = path.removeprefix("proc/sys/").replace("/", ".")
    keep = f"echo '{key} = {wanted}' >/etc/sysctl.d/90-sidecar.conf && sysctl --system"
    return warning(what, where=f"/{path}", value=value, remedy=keep)


def check_clock(site: Site) -> Iterator[Finding]:
    """It is kept in step by somebody."""
    if not site.machine.clock_synchronised():
        yield warning(
            "the clock is not synchronised: ages and lags that are measured are not true",
            where="adjtimex",
            value="unsynchronised",
            remedy="timedatectl set-ntp true (systemd-timesyncd), or chrony",
        )


def check_inotify(site: Site) -> Iterator[Finding]:
    """Instances, watches and waiting events for all processes."""
    machine, workers = site.machine, site.settings.server.workers
    events = machine.number(f"{_INOTIFY}/max_queued_events")
    if events is not None and events < DOCTOR_EVENTS_MIN:
        path = f"{_INOTIFY}/max_queued_events"
        yield _sysctl("few events may wait: some get lost", path, str(events), 16_384)
    instances, watches = _used(site)
    for name, used, own in (
        ("max_user_instances", instances, workers),
        ("max_user_watches", watches, workers * DOCTOR_WATCHES),
    ):
        most = machine.number(f"{_INOTIFY}/{name}")
        if most is not None and used + own > most:
            what = "too few for this user: a sidecar then polls the node's files"
            value = f"{most}; {used} used, {own} needed"
            yield _sysctl(what, f"{_INOTIFY}/{name}", value, 2 * (used + own))


def _used(site: Site) -> tuple[int, int]:
    """Instances and watches that this user's processes have."""
    instances = watches = 0
    user = os.geteuid()
    for _, process in site.machine.processes():
        try:
            if process.stat().st_uid != user or _INOTIFY_LINK not in links_of(process):
                continue
            for info in (process / "fdinfo").iterdir():
                if str((process / "fd" / info.name).readlink()) == _INOTIFY_LINK:
                    instances += 1
                    watches += info.read_text().count("inotify wd:")
        except OSError:
            continue  # it has ended
    return instances, watches


def check_descriptors(site: Site) -> Iterator[Finding]:
    """One for each connection, and some for files."""
    server = site.settings.server
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = -(-server.connections_max // server.workers)
    wanted = connections + DESCRIPTORS_RESERVED
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return
    say = error if hard <= DESCRIPTORS_RESERVED else warning
    yield say(
        "too few descriptors for server.connections_max, which is lowered to what they allow",
        where="RLIMIT_NOFILE",
        value=f"{hard}; {wanted} wanted",
        remedy=f"LimitNOFILE={wanted} in the unit (ulimit -Hn), or a lower server.connections_max",
    )


def check_backlog(site: Site) -> Iterator[Finding]:
    """Clients that come all at once wait in the listen queue."""
    path = "proc/sys/net/core/somaxconn"
    most = site.machine.number(path)
    if most is not None and most < LISTEN_BACKLOG:
        what = "the listen queue is short: clients that reconnect at once have to try again"
        yield _sysctl(what, path, str(most), LISTEN_BACKLOG)


def check_tcp_buffers(site: Site) -> Iterator[Finding]:
    """Buffers are not so small that a block does not fit."""
    for name in ("wmem_max", "rmem_max"):
        path = f"proc/sys/net/core/{name}"
        most = site.machine.number(path)
        if most is not None and most < DOCTOR_TCP_BYTES_MIN:
            what = "sockets may buffer next to nothing: every client looks slow"
            yield _sysctl(what, path, f"{most} bytes", 212_992)


def check_features(_: Site) -> Iterator[Finding]:
    """What the server can't do without."""
    remedy = "run it on Linux 3.9 or newer, outside of sandboxes that hide this"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as refused:
        yield error("no SO_REUSEPORT", where="socket(7)", value=refused, remedy=remedy)
    try:
        INotify().close()
    except OSError as refused:
        what = "no inotify instance: the node's files are polled"
        more = "sysctl fs.inotify.max_user_instances=512"
        yield warning(what, where="inotify(7)", value=refused, remedy=more)
