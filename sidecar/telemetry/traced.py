"""The times of a block and of an order, as traces want them."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple, Protocol

from sidecar.errors import ConfigInvalid
from sidecar.settings import TracingSettings
from sidecar.telemetry.tracecontext import TraceContext

Stages = Mapping[str, tuple[int, int]]  # begin and end, in ns since the epoch


class BlockTimes(NamedTuple):
    """`messages`: to subscribers."""

    height: int
    stages: Stages
    transitions: int
    messages: int


class OrderTimes(NamedTuple):
    """`ok`: the chain executed it."""

    context: TraceContext
    stages: Stages
    height: int
    ok: bool


class Tracing(Protocol):
    """Who records them."""

    def begin_block(self, height: int) -> None:
        """A block comes."""

    def end_block(self, times: BlockTimes) -> None:
        """It has left."""

    def order(self, times: OrderTimes) -> None:
        """An order is visible."""

    def close(self) -> None:
        """Sends what is left, in bounded time."""


def open_tracing(settings: TracingSettings) -> Tracing | None:
    """None where traces are off: then nothing of OpenTelemetry is imported. Raises
    `ConfigInvalid`.
    """
    if settings.endpoint is None:
        return None
    tracer: Tracing = load_tracing().Tracer(settings)
    return tracer


def load_tracing() -> ModuleType:
    """What needs OpenTelemetry. Raises `ConfigInvalid` where that is not installed."""
    try:
        return importlib.import_module("sidecar.telemetry.tracing")
    except ModuleNotFoundError as error:
        what = f"OpenTelemetry is not installed ({error.name}); docs/tracing.md says how"
        raise ConfigInvalid(f"tracing.endpoint: {what}") from error
