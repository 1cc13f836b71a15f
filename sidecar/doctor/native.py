"""A native node: its log's format, where a start can begin, and the way in for orders."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sidecar.checkpoints import find_directory
from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.errors import NodeError, SnapshotInvalid
from sidecar.node.extent import LogExtent
from sidecar.node.row_files import RowDirectory, RowFileReader
from sidecar.node.snapshot import SNAPSHOTS


def check_format(site: Site) -> Iterator[Finding]:
    """`chain.json` is there, and of a version that is read."""
    try:
        site.ipc.read_chain()
    except NodeError as refused:
        remedy = "source.path is the directory that holds chain.json; sidecar and node are to match"
        yield error(str(refused), where=site.ipc.chain_file, remedy=remedy)


def check_start(site: Site) -> Iterator[Finding]:
    """There is a state that the log can go on from. Reads the newest one as a whole."""
    try:
        chain = site.ipc.read_chain().chain
    except NodeError:
        return  # said already
    try:
        refused = dict(_refused(site, chain))
        good = [path for path, reason in refused.items() if reason is None]
        whole = LogExtent(site.ipc.log).why_not_after(0)
    except NodeError as unreadable:
        remedy = "give the service the node's group: SupplementaryGroups="
        yield error(str(unreadable), where=site.ipc.log, remedy=remedy)
        return
    if not good and whole is not None:
        yield error(
            "there is nothing to start from: the log does not go back to any snapshot",
            where=site.source,
            value="; ".join(filter(None, (*refused.values(), whole))),
            remedy="have the node write a snapshot, and keep its log since",
        )
        return
    for path, reason in refused.items():
        if reason is not None:
            yield warning(
                "it can't be started from; another one is taken",
                where=path,
                value=reason,
                remedy=f"rm {path}, once the node has written a newer one",
            )


def _refused(site: Site, chain: str) -> Iterator[tuple[Path, str | None]]:
    """Files that hold a state, up to the first good one, and why each can't be started from."""
    own = find_directory(site.settings.checkpoint)
    directories = [RowDirectory(site.ipc.snapshots, SNAPSHOTS), *([own] if own else [])]
    found = [(path, one.form) for one in directories for path in one.list()]
    extent = LogExtent(site.ipc.log)
    for path, form in sorted(found, key=lambda one: one[0].stem, reverse=True):
        reason = extent.why_not_after(int(path.stem))
        if reason is None:
            try:
                RowFileReader(path, form, chain=chain)
            except SnapshotInvalid as refused:
                reason = str(refused)
        yield path, reason
        if reason is None:
            return


def check_submission(site: Site) -> Iterator[Finding]:
    """The node takes orders, from this user."""
    path = site.ipc.submit_socket
    if not path.exists():
        remedy = "start the node with order entry; without it orders are refused with 503"
        yield error("the node's submission socket is not there", where=path, remedy=remedy)
    elif not os.access(path, os.W_OK):
        yield error(
            "this user may not write to the submission socket",
            where=path,
            value=f"uid {os.geteuid()}",
            remedy="give the service the node's group: SupplementaryGroups=, and chmod g+w",
        )
    elif (reason := _why_not_connected(path)) is not None:
        remedy = "start the node; a dead one leaves its socket behind"
        yield error("nobody answers on the socket", where=path, value=reason, remedy=remedy)


def _why_not_connected(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        failure = probe.connect_ex(os.fspath(path))
    return os.strerror(failure) if failure else None
