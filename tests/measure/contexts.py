"""A pytest plugin: what is covered while a test runs is its test module's; what the processes cover
that it starts is nobody's own.
"""

import os
from collections.abc import Generator
from copy import copy

import pytest
from coverage import Coverage

PROCESSES = "processes"
_CONFIG = "COVERAGE_PROCESS_CONFIG"  # by coverage's `patch = ["subprocess"]`


def pytest_sessionstart(session: pytest.Session) -> None:
    """In the workers, or where there are none: what they start is measured under another name."""
    measuring = Coverage.current()
    if measuring is not None and (hasattr(session.config, "workerinput") or alone(session.config)):
        config = copy(measuring.config)
        config.context = PROCESSES
        os.environ[_CONFIG] = config.serialize()


def alone(config: pytest.Config) -> bool:
    """Whether this process runs tests itself."""
    return not config.getoption("numprocesses", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    measuring = Coverage.current()
    assert measuring is not None
    measuring.switch_context(item.path.relative_to(item.config.rootpath).as_posix())
    try:
        return (yield)
    finally:
        measuring.switch_context("")
