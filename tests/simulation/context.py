"""Whose code runs: every task of a sidecar knows which one it is of, as a real process does."""

from contextvars import ContextVar
from typing import Any

sidecar_of_task: ContextVar[Any] = ContextVar("sidecar", default=None)
"""The `Process`; None in the node, in clients and in the story itself."""
