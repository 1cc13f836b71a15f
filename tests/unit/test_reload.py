"""Which settings a running process takes over, and how it treats itself."""

import copy
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from sidecar.api.orders.buckets import Buckets
from sidecar.config import Key, keys
from sidecar.errors import ConfigInvalid, Limited
from sidecar.reload import RELOADABLE, reload
from sidecar.scheduling import schedule
from sidecar.settings import OrderSettings, ProcessSettings, ServerSettings, Settings


def test_what_can_be_changed_is_a_setting() -> None:
    assert {key.dotted for key in keys()} > RELOADABLE


def other(key: Key) -> Any:
    """Another value than the default."""
    if key.type is bool:
        return not key.default
    if key.choices:
        return next(one for one in key.choices if one != key.default)
    text = {"skip_rules": "band", "trusted_proxies": "10.0.0.1", "cpus": "1"}.get(key.name, "x")
    return {int: 7, float: 7.5}.get(key.type, text)


@pytest.mark.parametrize("key", list(keys()), ids=lambda key: key.dotted)
def test_a_setting_is_taken_over_or_needs_a_restart(key: Key) -> None:
    before, new = Settings(), other(key)
    section = copy.copy(getattr(before, key.section))
    msgspec.structs.force_setattr(section, key.name, new)
    found = reload(before, msgspec.structs.replace(before, **{key.section: section}))
    taken = getattr(getattr(found.settings, key.section), key.name)
    if key.dotted in RELOADABLE:
        assert (taken, found.changed, found.left) == (new, (key.dotted,), ())
    else:
        assert (found.settings, found.changed, found.left) == (before, (), (key.dotted,))


def test_nothing_changes_where_nothing_is_other() -> None:
    found = reload(Settings(), Settings())
    assert (found.settings, found.changed, found.left) == (Settings(), (), ())


def test_several_of_one_section() -> None:
    read = Settings(
        server=ServerSettings(connections_max=5, port=9, messages_per_minute=3),
        orders=OrderSettings(burst_per_ip=2),
    )
    found = reload(Settings(), read)
    assert found.left == ("server.port",)
    assert found.settings.server == ServerSettings(connections_max=5, messages_per_minute=3)
    assert found.settings.orders == read.orders


def test_what_was_taken_of_a_bucket_stays_taken() -> None:
    buckets = Buckets(1.0, 10, "address")
    buckets.take("a", 8, 0.0)
    buckets.adopt(1.0, 4)
    with pytest.raises(Limited):
        buckets.take("a", 1, 0.0)
    assert buckets.left("b", 0.0) == 4
    buckets.adopt(1.0, 20)
    assert buckets.left("a", 0.0) == 12


@pytest.mark.parametrize(
    ("text", "cores"), [("", ()), ("2", (2,)), ("0-2,5", (0, 1, 2, 5)), (" 3 , 1 ", (1, 3))]
)
def test_lists_of_cores(text: str, cores: tuple[int, ...]) -> None:
    assert ProcessSettings(cpus=text).cores() == cores


@pytest.mark.parametrize("text", ["x", "3-1", "1-", "-1", "0-99999", "1;2"])
def test_no_lists_of_cores(text: str) -> None:
    with pytest.raises(ValueError, match="is not a list of cores"):
        ProcessSettings(cpus=text)


SCHEDULED = """
import os
from sidecar.settings import ProcessSettings
from sidecar.scheduling import schedule
schedule(ProcessSettings(nice=5, cpus="{cpus}"), {number})
print(os.getpriority(os.PRIO_PROCESS, 0), sorted(os.sched_getaffinity(0)))
"""


@pytest.mark.parametrize(("number", "taken"), [(None, slice(None)), (0, slice(0, 1)), (3, None)])
def test_the_kernel_is_told(number: int | None, taken: slice | None) -> None:
    there = sorted(os.sched_getaffinity(0))
    program = SCHEDULED.format(cpus=",".join(map(str, there)), number=number)
    told = subprocess.run((sys.executable, "-c", program), capture_output=True, check=True).stdout
    wanted = there[taken] if taken is not None else [there[3 % len(there)]]
    assert told.decode().strip() == f"5 {wanted}"


def test_a_core_that_is_not_there() -> None:
    with pytest.raises(ConfigInvalid, match=r"process\.cpus: can't run on 4000: .* there are \d"):
        schedule(ProcessSettings(cpus="4000"))
