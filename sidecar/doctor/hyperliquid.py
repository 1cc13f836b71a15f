"""A Hyperliquid node: which of the needed flags its files show, and its info server."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

import anyio

from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.motion import newest_file
from sidecar.doctor.site import Site
from sidecar.doctor.storage import first_existing
from sidecar.errors import NodeError, SidecarError
from sidecar.limits import DOCTOR_ANSWER_S, DOCTOR_WRITE_LAG_S, INFO_ANSWER_BYTES_MAX
from sidecar.node.hyperliquid import HyperliquidSnapshot, open_info_client
from sidecar.node.hyperliquid.seek import first_height

_FLAGS = {
    "node_fills": "--write-fills",
    "node_order_statuses": "--write-order-statuses",
    "node_raw_book_diffs": "--write-raw-book-diffs",
}
_BY_BLOCK = "_by_block"
_NS_PER_S = 1_000_000_000
_ANSWERS = (200, 422)  # the second is how a node refuses a type that it does not know
_QUESTION = b'{"type":"meta"}'


def check_streams(site: Site) -> Iterator[Finding]:
    """Each of the three streams is written, one row a block."""
    for name, flag in _FLAGS.items():
        stream = site.source / f"{name}{_BY_BLOCK}"
        if stream.is_dir():
            continue
        by_block = (site.source / name).is_dir()
        yield error(
            "the node writes this by event, not by block" if by_block else "it is not written",
            where=stream,
            value=f"{name} is there" if by_block else "missing",
            remedy=f"start the node with {'--batch-by-block' if by_block else flag}",
        )


def check_rows(site: Site) -> Iterator[Finding]:
    """Their newest files hold rows that tell a height."""
    for name in _FLAGS:
        path = newest_file(site.source / f"{name}{_BY_BLOCK}")
        if path is None:
            continue
        try:
            unknown = first_height(path) == 0
        except NodeError as refused:
            yield error(str(refused), where=path, remedy="chmod g+r; SupplementaryGroups=")
            continue
        if unknown:
            yield error(
                "its rows are not blocks: they tell no block_number",
                where=path,
                remedy="start the node with --batch-by-block",
            )


def check_buffering(site: Site) -> Iterator[Finding]:
    """Rows are in their files when they are written."""
    lags = {
        name: median(one.seen_ns - one.written_ns for one in seen) / _NS_PER_S
        for name, seen in site.sightings.items()
        if seen
    }
    worst = max(lags, key=lags.__getitem__)
    if lags[worst] > DOCTOR_WRITE_LAG_S:
        yield warning(
            "rows reach their files late: the node buffers what it writes",
            where=site.source / worst,
            value=f"{lags[worst] * 1000:.0f} ms, the median of {len(site.sightings[worst])} rows",
            remedy="start the node with --disable-output-file-buffering",
        )


def check_snapshot(site: Site) -> Iterator[Finding]:
    """There is a snapshot to start from, or a server that has one written."""
    source = site.settings.source
    if source.snapshot is None:
        if source.info_url is None:
            remedy = 'source.info_url = "http://127.0.0.1:3001/info", and --serve-info of the node'
            yield error("there is nothing to start from", where="source.snapshot", remedy=remedy)
        return
    try:
        snapshot = HyperliquidSnapshot(Path(source.snapshot), source.snapshot_height, index=False)
        del snapshot
    except SidecarError as refused:
        remedy = "hl-node compute-l4-snapshots, or source.info_url in its place"
        yield error(str(refused), where=source.snapshot, remedy=remedy)


def check_info_server(site: Site) -> Iterator[Finding]:
    """It answers."""
    client = open_info_client(site.settings.source)
    if client is None:
        return
    ask = partial(
        client.post,
        _QUESTION,
        timeout_s=DOCTOR_ANSWER_S,
        answer_bytes_max=INFO_ANSWER_BYTES_MAX,
    )
    remedy = "start the node with --serve-info, or correct source.info_url"
    try:
        answer = anyio.run(ask)
    except NodeError as refused:
        yield error(str(refused), where=client.url, remedy=remedy)
        return
    if answer.status not in _ANSWERS:
        value = f"status {answer.status}: {answer.text()}"
        yield error(
            "no node's info server answers there", where=client.url, value=value, remedy=remedy
        )


def check_snapshot_directory(site: Site) -> Iterator[Finding]:
    """This user may write where the node is to write snapshots."""
    given = site.settings.source.snapshot_directory
    if given is None:
        return
    there = first_existing(Path(given))
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        yield error(
            "this user may not write there",
            where=f"source.snapshot_directory = {given}",
            value=f"{there}, uid {os.geteuid()}",
            remedy=f"install -d -m 2770 -g NODE_GROUP {given}",
        )
