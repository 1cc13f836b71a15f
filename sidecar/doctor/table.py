"""All checks in their order, and the examination that goes through them (docs/doctor.md)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from sidecar.doctor import (
    configuration,
    hyperliquid,
    kernel,
    native,
    network,
    packages,
    resources,
    source,
    storage,
)
from sidecar.doctor.findings import WARNING, Check, Finding, error, warning
from sidecar.doctor.machine import Machine
from sidecar.doctor.site import Site
from sidecar.errors import ConfigInvalid, SidecarError
from sidecar.node.hyperliquid.start import open_info_client
from sidecar.settings import Settings
from sidecar.telemetry.traced import load_tracing

SETTINGS = "settings"
"""The name of what comes before all checks: that the settings can be loaded."""


def _native_kind(site: Site) -> bool:
    return site.is_native


def _beside_hyperliquid(site: Site) -> bool:
    return not site.is_native


def _with_source(site: Site) -> bool:
    return site.source_is_there


def _native(site: Site) -> bool:
    return site.is_native and site.source_is_there


def _hyperliquid(site: Site) -> bool:
    return not site.is_native and site.source_is_there


def _watched(site: Site) -> bool:
    return bool(site.sightings)


def _with_blocks(site: Site) -> bool:
    return any(site.sightings.values())


def _rows_came(site: Site) -> bool:
    return not site.is_native and _with_blocks(site)


def _with_checkpoints(site: Site) -> bool:
    return site.checkpoints is not None


def _with_lock(site: Site) -> bool:
    return site.checkpoints is not None and not site.is_served


def _both_disks(site: Site) -> bool:
    return site.checkpoints is not None and site.source_is_there


def _with_info_server(site: Site) -> bool:
    return not site.is_native and site.settings.source.info_url is not None


def _with_snapshot_directory(site: Site) -> bool:
    return not site.is_native and site.settings.source.snapshot_directory is not None


def _with_config(site: Site) -> bool:
    return site.config is not None


def _with_tokens(site: Site) -> bool:
    return site.settings.server.tokens_file is not None


def _with_nice(site: Site) -> bool:
    return site.settings.process.nice is not None


def _not_running(site: Site) -> bool:
    return not site.is_served


CHECKS = (
    Check(
        "config-mode",
        "not everybody may change the settings",
        configuration.check_config_mode,
        _with_config,
    ),
    Check(
        "tokens",
        "the tokens' file is valid and nobody else's",
        configuration.check_tokens,
        _with_tokens,
    ),
    Check("source", "the node's directory can be read", source.check_directory),
    Check("source-kind", "it is of the configured kind", source.check_kind, _with_source),
    Check("source-filesystem", "inotify tells of writes there", source.check_filesystem),
    Check("log-format", "the log's format is known", native.check_format, _native),
    Check("start", "the log goes on from a good state", native.check_start, _native),
    Check("submission", "the node takes orders", native.check_submission, _native),
    Check(
        "streams", "the node writes all streams by block", hyperliquid.check_streams, _hyperliquid
    ),
    Check("rows", "their rows are blocks", hyperliquid.check_rows, _hyperliquid),
    Check("motion", "new blocks come", source.check_motion, _watched),
    Check("block-times", "blocks and our clock agree", source.check_block_times, _with_blocks),
    Check(
        "buffering", "the node's files are not buffered", hyperliquid.check_buffering, _rows_came
    ),
    Check(
        "snapshot",
        "there is a snapshot, or who writes one",
        hyperliquid.check_snapshot,
        _beside_hyperliquid,
    ),
    Check(
        "info-server",
        "the node's info server answers",
        hyperliquid.check_info_server,
        _with_info_server,
    ),
    Check(
        "snapshot-directory",
        "snapshots can be written there",
        hyperliquid.check_snapshot_directory,
        _with_snapshot_directory,
    ),
    Check("clock", "the clock is synchronised", kernel.check_clock),
    Check("inotify", "inotify has room", kernel.check_inotify),
    Check("descriptors", "descriptors suffice for all connections", kernel.check_descriptors),
    Check("backlog", "the listen queue is long enough", kernel.check_backlog),
    Check("tcp-buffers", "sockets may buffer", kernel.check_tcp_buffers),
    Check("kernel", "the kernel has what is needed", kernel.check_features),
    Check("running", "no other sidecar answers here", network.check_running),
    Check("server-port", "clients can be listened for", network.check_server_port, _not_running),
    Check(
        "operator-port", "operators can be listened for", network.check_operator_port, _not_running
    ),
    Check("exposure", "operators alone reach their port", network.check_exposure),
    Check("checkpoints", "checkpoints can be written", storage.check_directory, _native_kind),
    Check("lock", "no other sidecar writes there", storage.check_lock, _with_lock),
    Check("disk", "there is room for checkpoints", storage.check_space, _with_checkpoints),
    Check("shared-disk", "the node leaves room for them", storage.check_shared_disk, _both_disks),
    Check("memory", "memory suffices", resources.check_memory),
    Check("memory-limit", "so does the control group's", resources.check_memory_limit),
    Check("cores", "there are cores for all workers", resources.check_cores),
    Check("nice", "the urgency is permitted", resources.check_nice, _with_nice),
    Check("swap", "no sidecar is swapped out", resources.check_swap),
    Check("user", "it is not root", resources.check_user),
    Check("python", "this Python is supported", packages.check_python),
    Check("packages", "all packages are of the right versions", packages.check_versions),
    Check("uvloop", "the event loop can be loaded", packages.check_uvloop),
)


_BEFORE_A_START = (
    *("config-mode", "tokens", "source", "source-kind", "log-format", "snapshot", "info-server"),
    *("snapshot-directory", "running", "server-port", "operator-port", "checkpoints", "lock"),
    *("cores", "nice"),
)
_WAITED_FOR = {"source", "info-server"}
"""What need not be there yet: a start waits for it."""


def examine_start(settings: Settings, config: Path | None) -> tuple[list[Finding], list[str]]:
    """What the settings name is tried, without a start: what was found, errors being what a start
    would end with, and the names of all checks that looked. Raises `ConfigInvalid`.
    """
    open_info_client(settings.source)
    if settings.tracing.endpoint is not None:
        load_tracing()
    chosen = [check for check in CHECKS if check.name in _BEFORE_A_START]
    site = Site(settings, Machine(Path("/")), config)
    looked = [(check.name, found) for check, found in examine(site, chosen) if found is not None]
    findings = [
        msgspec.structs.replace(one, severity=WARNING) if name in _WAITED_FOR else one
        for name, found in looked
        for one in found
    ]
    return findings, [name for name, _ in looked]


def examine(
    site: Site, checks: Iterable[Check] = CHECKS
) -> Iterator[tuple[Check, list[Finding] | None]]:
    """Each check with what it found, None where it does not apply. One that can't look says so, and
    the others go on.
    """
    for check in checks:
        if not check.applies(site):
            yield check, None
            continue
        found: list[Finding] = []
        try:
            found += check.look(site)
        except ConfigInvalid as refused:
            remedy = "sidecar serve --help lists all settings"
            found.append(error(str(refused), where=check.name, remedy=remedy))
        except (OSError, SidecarError, ValueError) as failure:
            remedy = "look by hand, or run it as the service's user"
            found.append(
                warning("it can't be checked", where=check.name, value=failure, remedy=remedy)
            )
        yield check, [msgspec.structs.replace(one, check=check.name) for one in found]
