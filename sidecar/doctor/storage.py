"""Where checkpoints go: may they be written, is there room, does anybody else use it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.limits import (
    DOCTOR_DISK_BYTES_MIN,
    DOCTOR_DISK_FACTOR,
    DOCTOR_INODES_MIN,
    DOCTOR_SHARED_BYTES_MIN,
)


def first_existing(path: Path) -> Path:
    """The path, or the nearest directory above it: what is missing would be made there."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def check_directory(site: Site) -> Iterator[Finding]:
    """One is set, and this user may write it."""
    directory = site.settings.checkpoint.directory
    if not directory:
        yield warning(
            "no checkpoints are kept: a restart knows only what the node's snapshot holds",
            where="checkpoint.directory",
            value="none",
            remedy='checkpoint.directory = "/var/lib/sidecar/checkpoints"',
        )
        return
    there = first_existing(Path(directory))
    if not there.is_dir():
        remedy = "set checkpoint.directory to a directory"
        yield error("not a directory", where=f"checkpoint.directory = {there}", remedy=remedy)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield error(
            "this user may not write checkpoints",
            where=f"checkpoint.directory = {directory}",
            value=f"{there}, uid {os.geteuid()}",
            remedy=f"install -d -o USER {directory}, or StateDirectory= in the unit",
        )


def check_lock(site: Site) -> Iterator[Finding]:
    """No other sidecar keeps its checkpoints there."""
    path = site.checkpoints
    if path is None or not path.is_dir():
        return
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # said already
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield error(
            "another sidecar keeps its checkpoints here",
            where=f"checkpoint.directory = {path}",
            remedy="give each sidecar a directory of its own",
        )
    finally:
        os.close(fd)


def check_space(site: Site) -> Iterator[Finding]:
    """Room for the two that are kept and the one that is written."""
    if (path := site.checkpoints) is None:
        return
    there = first_existing(path)
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    wanted = max(DOCTOR_DISK_FACTOR * site.state_bytes, DOCTOR_DISK_BYTES_MIN)
    if free < wanted:
        say = error if free < site.state_bytes else warning
        yield say(
            "too little room for checkpoints",
            where=there,
            value=f"{_mib(free)} free; {_mib(wanted)} wanted",
            remedy="free some, or set checkpoint.directory on a larger disk",
        )
    if disk.f_files and disk.f_favail < DOCTOR_INODES_MIN:
        yield warning(
            "too few inodes for new files",
            where=there,
            value=f"{disk.f_favail} free",
            remedy="delete files there (df -i), or set checkpoint.directory on another disk",
        )


def check_shared_disk(site: Site) -> Iterator[Finding]:
    """A node that fills the disk takes the checkpoints with it."""
    path = site.checkpoints
    if path is None:
        return
    there = first_existing(path)
    with suppress(PermissionError):
        disk = os.statvfs(there)
        free = disk.f_bavail * disk.f_frsize
        same = there.stat().st_dev == site.source.stat().st_dev
        if same and free < DOCTOR_SHARED_BYTES_MIN:
            yield warning(
                "the node's log and the checkpoints share a disk that is nearly full",
                where=there,
                value=f"{_mib(free)} free",
                remedy="set checkpoint.directory on another disk, or have the node keep less",
            )


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
