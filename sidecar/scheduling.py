"""What the kernel is told about this process: on which cores it runs, and how urgent it is."""

import os

from sidecar.errors import ConfigInvalid
from sidecar.settings import ProcessSettings


def schedule(settings: ProcessSettings, number: int | None = None) -> None:
    """From now on, for this thread and what it starts. Worker `number` has one core to itself,
    where there are as many. Raises `ConfigInvalid`.
    """
    if settings.nice is not None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, settings.nice)
        except OSError as error:
            what = f"process.nice: {settings.nice} is not permitted: {error}"
            raise ConfigInvalid(f"{what}; LimitNICE= or CAP_SYS_NICE allows it") from error
    cores = settings.cores()
    if cores:
        own = cores if number is None else (cores[number % len(cores)],)
        try:
            os.sched_setaffinity(0, own)
        except (OSError, ValueError) as error:
            there = ",".join(map(str, sorted(os.sched_getaffinity(0))))
            what = f"process.cpus: can't run on {','.join(map(str, own))}: {error}"
            raise ConfigInvalid(f"{what}; there are {there}") from error
