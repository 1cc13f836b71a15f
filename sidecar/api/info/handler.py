"""What an info request type is made of, and the parameters that many of them share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from sidecar.state.chain import ChainState


class Handler(NamedTuple):
    """How a request type is answered: from checked parameters, to what can be encoded."""

    parameters: type[msgspec.Struct]
    answer: Callable[[ChainState, Any], Any]


class DexParameters(msgspec.Struct, frozen=True):
    """`dex` names a perpetual exchange; the chain's own is ""."""

    dex: str | None = None


class NoParameters(msgspec.Struct, frozen=True):
    """Nothing to choose."""
