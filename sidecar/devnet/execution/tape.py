"""What the block that is being made says so far: every part of the exchange writes it here."""

from hashlib import blake2b

from sidecar.devnet.execution.orders import moved
from sidecar.node.transitions import OrderStatus, Transition

_TID_BITS = 50  # as Hyperliquid's
_TID_STEP = 0x2545F4914F6CD  # odd, so that 2^50 trades go by before a tid repeats


class Tape:
    """`out` are the transitions of the block, `time_ns` its consensus time."""

    __slots__ = ("_actions", "_chain", "_trades", "hash", "height", "out", "time_ns")

    def __init__(self, chain: str) -> None:
        """`chain` names the chain in every transaction hash."""
        self.height = 0
        self.time_ns = 0
        self.out: list[Transition] = []
        self.hash = b""
        self._chain = chain
        self._actions = 0
        self._trades = 0

    def begin_block(self, height: int, time_ns: int) -> list[Transition]:
        """Starts a block; returns the list to which its transitions will be appended."""
        self.height = height
        self.time_ns = time_ns
        self._actions = 0
        self.out = []
        self.begin_action()
        return self.out

    def begin_action(self) -> None:
        """What follows has a hash that no other action of the chain has."""
        self._actions += 1
        where = f"{self._chain}:{self.height}:{self._actions}"
        self.hash = blake2b(where.encode(), digest_size=32).digest()

    def next_tid(self) -> int:
        """The id of a new trade."""
        self._trades += 1
        return self._trades * _TID_STEP % (1 << _TID_BITS)

    def moved(self, opened: OrderStatus, sz: int, status: str) -> None:
        """An order of which `sz` is left took a step."""
        self.out.append(moved(opened, sz, status, self.time_ns))

    @property
    def trades(self) -> int:
        """How many trades the chain has seen."""
        return self._trades

    @trades.setter
    def trades(self, trades: int) -> None:
        self._trades = trades
