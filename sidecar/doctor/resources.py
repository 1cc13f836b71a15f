"""Memory, cores, and who the process is."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.limits import DOCTOR_PROCESS_BYTES, DOCTOR_STATE_FACTOR, DOCTOR_STATE_FACTOR_JSON

_NICE_RANGE = 20  # getrlimit(2): RLIMIT_NICE is 20 less the lowest nice
_CAP_SYS_NICE = 23


def check_memory(site: Site) -> Iterator[Finding]:
    """The machine has room for every worker's state."""
    available = site.machine.field_kb("proc/meminfo", "MemAvailable")
    if available is not None and available < (wanted := _wanted(site)):
        yield warning(
            "too little memory for the state of all workers",
            where="/proc/meminfo: MemAvailable",
            value=f"{_mib(available)}; {_mib(wanted)} wanted",
            remedy="more memory, or fewer server.workers",
        )


def check_memory_limit(site: Site) -> Iterator[Finding]:
    """So has the control group."""
    for path in _limits(site):
        limit = site.machine.number(path)
        if limit is not None and limit < (wanted := _wanted(site)):
            yield warning(
                "the control group allows too little memory: the kernel would kill the process",
                where=f"/{path}",
                value=f"{_mib(limit)}; {_mib(wanted)} wanted",
                remedy=f"MemoryMax={_mib(2 * wanted).removesuffix('iB').replace(' ', '')} "
                "in the unit, or a higher limit of the container",
            )
            return


def _wanted(site: Site) -> int:
    factor = DOCTOR_STATE_FACTOR if site.is_native else DOCTOR_STATE_FACTOR_JSON
    return site.settings.server.workers * (DOCTOR_PROCESS_BYTES + factor * site.state_bytes)


def _limits(site: Site) -> Iterator[str]:
    """The files of the limits of our group and of those around it, version 2 and 1."""
    for line in (site.machine.text("proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        groups = [Path(path.lstrip("/")), *Path(path.lstrip("/")).parents]
        if not controllers:
            yield from (f"sys/fs/cgroup/{group}/memory.max" for group in groups)
        elif "memory" in controllers.split(","):
            name = "memory.limit_in_bytes"
            yield from (f"sys/fs/cgroup/memory/{group}/{name}" for group in groups)


def check_cores(site: Site) -> Iterator[Finding]:
    """As many as workers."""
    allowed, wanted = os.sched_getaffinity(0), site.settings.process.cores()
    if wanted and not set(wanted) & allowed:
        there = ",".join(map(str, sorted(allowed)))
        yield error(
            "none of these cores can be run on",
            where=f"process.cpus = {site.settings.process.cpus}",
            value=f"there are {there}",
            remedy=f'process.cpus = "{there}"',
        )
        return
    cores = len(set(wanted) & allowed) if wanted else len(allowed)
    workers = site.settings.server.workers
    if workers > cores:
        yield warning(
            "more workers than cores: they wait for each other",
            where=f"server.workers = {workers}",
            value=f"{cores} cores",
            remedy=f"server.workers = {cores}",
        )
    elif site.settings.source.busy_poll and workers >= cores:
        yield warning(
            "busy polling takes every core: nothing is left for the node",
            where="source.busy_poll = true",
            value=f"{workers} workers, {cores} cores",
            remedy="source.busy_poll = false",
        )


def check_nice(site: Site) -> Iterator[Finding]:
    """The urgency that is set is allowed."""
    nice = site.settings.process.nice
    if nice is None or nice >= os.getpriority(os.PRIO_PROCESS, 0):
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NICE)
    lowest = _NICE_RANGE - limit
    status = site.machine.text("proc/self/status") or ""
    effective = next((one for one in status.splitlines() if one.startswith("CapEff:")), "CapEff: 0")
    if lowest > nice and not int(effective.split()[1], 16) >> _CAP_SYS_NICE & 1:
        yield error(
            "this user may not be so urgent: the process would not start",
            where=f"process.nice = {nice}",
            value=f"RLIMIT_NICE {limit}: down to {lowest}",
            remedy=f"LimitNICE={nice} in the unit, or no process.nice",
        )


def check_swap(site: Site) -> Iterator[Finding]:
    """No running sidecar is swapped out."""
    for pid, _ in site.machine.processes():
        command = site.machine.command(pid)
        if not {"serve", "worker"} & set(command) or "sidecar" not in " ".join(command[:4]):
            continue
        swapped = site.machine.field_kb(f"proc/{pid}/status", "VmSwap")
        if swapped:
            yield warning(
                "a sidecar is partly swapped out: blocks wait for the disk",
                where=f"process {pid}",
                value=_mib(swapped),
                remedy="MemorySwapMax=0 in the unit, or swapoff -a",
            )


def check_user(_: Site) -> Iterator[Finding]:
    """A bug in what clients reach is then no bug of the whole machine."""
    if os.geteuid() == 0:
        yield warning(
            "it would run as root",
            where="uid",
            value="0",
            remedy="DynamicUser=yes or User= in the unit; setpriv --reuid",
        )


def _mib(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
