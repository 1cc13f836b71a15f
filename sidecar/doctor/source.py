"""The node's directory, whatever node it is."""

import os
from collections.abc import Iterator

from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.limits import DOCTOR_CLOCK_AHEAD_S, DOCTOR_WATCH_S
from sidecar.node.hyperliquid.reader import STREAMS

_REMOTE = frozenset(("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "afs", "overlay"))
_NS_PER_S = 1_000_000_000


def check_directory(site: Site) -> Iterator[Finding]:
    """It exists, and this user may read it."""
    path = site.source
    where = f"source.path = {path}"
    if not path.exists():
        remedy = "start the node, or set source.path to its directory"
        yield error("the node's directory does not exist", where=where, remedy=remedy)
    elif not path.is_dir():
        remedy = "set source.path to the directory of the node's files"
        yield error("not a directory", where=where, remedy=remedy)
    elif not os.access(path, os.R_OK | os.X_OK):
        yield error(
            "this user may not read the node's directory",
            where=where,
            value=f"uid {os.geteuid()}",
            remedy="give the service the node's group: SupplementaryGroups=",
        )


def check_kind(site: Site) -> Iterator[Finding]:
    """The directory is of the kind of node that is configured."""
    native = site.ipc.chain_file.exists()
    hyperliquid = any((site.source / name).exists() for name in STREAMS)
    if site.is_native and hyperliquid and not native:
        there, kind = "a Hyperliquid node's data directory", "hyperliquid"
    elif not site.is_native and native and not hyperliquid:
        there, kind = "a native node's IPC directory", "native"
    else:
        return
    yield error(
        f"it is {there}",
        where=f"source.path = {site.source}",
        value=f'source.kind = "{site.settings.source.kind}"',
        remedy=f'source.kind = "{kind}"',
    )


def check_filesystem(site: Site) -> Iterator[Finding]:
    """inotify tells of what this kernel writes; of what others write it does not."""
    mount = site.machine.mount_of(site.source.absolute())
    if mount is not None and (mount.kind in _REMOTE or mount.kind.startswith("fuse")):
        yield warning(
            "inotify may not tell of the node's writes here; blocks then come up to a second late",
            where=mount.point,
            value=mount.kind,
            remedy="run beside the node on a local disk (a bind mount), or source.busy_poll = true",
        )


def check_motion(site: Site) -> Iterator[Finding]:
    """The node runs, and all of what is read of it grows."""
    for name, seen in site.sightings.items():
        if not seen and (site.is_native or (site.source / name).is_dir()):
            yield error(
                "nothing new came",
                where=site.ipc.log if site.is_native else site.source / name,
                value=f"watched for {DOCTOR_WATCH_S:g} s",
                remedy="is the node running? systemctl status of its unit; its own log says more",
            )


def check_block_times(site: Site) -> Iterator[Finding]:
    """Blocks are about as old as they can be, by our clock."""
    newest = max((one for seen in site.sightings.values() for one in seen), default=None)
    if newest is None:
        return
    age_s = (newest.seen_ns - newest.time_ns) / _NS_PER_S
    if age_s < -DOCTOR_CLOCK_AHEAD_S:
        yield error(
            "the newest block is from the future: our clock is behind, or the node's is ahead",
            where="source",
            value=f"{-age_s:.1f} s ahead",
            remedy="timedatectl set-ntp true",
        )
    elif age_s > site.settings.source.behind_after_s:
        yield error(
            "the newest block is old: the node lags behind its chain, or our clock is ahead",
            where="source",
            value=f"{age_s:.1f} s old; source.behind_after_s = "
            f"{site.settings.source.behind_after_s:g}",
            remedy="wait until the node has caught up; timedatectl set-ntp true",
        )
