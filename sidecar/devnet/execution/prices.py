"""The oracle: what each market is worth, a seeded random walk in integers, and scripted moves.

A block moves a price by up to 0.5 bp either way, now and then by a jump of up to 2%, and pulls it
gently to its anchor, so that it stays plausible for as long as the chain runs. A scripted move
("TOYOTA falls 30% in 20 blocks from height 600 on") leads price and anchor along a straight line.
"""

from collections.abc import Iterable
from random import Random

import msgspec

from sidecar.devnet.execution.markets import Market
from sidecar.errors import ConfigInvalid

_PPM = 1_000_000
_STEP_PPM = 50  # the largest ordinary step
_JUMP_PPM = 20_000
_NOTICED_PPM = 1_000
_JUMP_BLOCKS = 200  # a market jumps once in so many blocks on average
_PULL = 4_000  # of the distance to the anchor, one part in so many comes back each block
_PERCENT = 100
_REACH = 20  # a price stays between a 20th and 20 times of where it began


class Move(msgspec.Struct, frozen=True):
    """A scripted move: `market` goes by `percent` within `blocks` blocks, the first being the one
    at `height`.
    """

    market: str
    height: int
    percent: int
    blocks: int

    @classmethod
    def parse(cls, text: str) -> "Move":
        """`MARKET:HEIGHT:PERCENT:BLOCKS`, as the command line has it. Raises `ConfigInvalid`."""
        parts = text.split(":")
        try:
            market, height, percent, blocks = parts
            move = cls(market, int(height), int(percent), int(blocks))
        except ValueError:
            raise ConfigInvalid(
                f"devnet.moves: {text!r} is not MARKET:HEIGHT:PERCENT:BLOCKS, "
                "such as TOYOTA:600:-30:20"
            ) from None
        return move

    def __str__(self) -> str:
        return f"{self.market}:{self.height}:{self.percent}:{self.blocks}"

    def check(self) -> None:
        """Raises `ConfigInvalid` where no price can move so."""
        if self.height < 1 or self.blocks < 1 or not -_PERCENT < self.percent <= 10 * _PERCENT:
            raise ConfigInvalid(
                f"devnet.moves: {self.market} by {self.percent}% in {self.blocks} blocks from "
                f"height {self.height}: it takes -99 to 1000%, and 1 or more of the others"
            )

    def overlaps(self, other: "Move") -> bool:
        """Whether both move one market at some height."""
        first, second = sorted((self, other), key=lambda move: move.height)
        return self.market == other.market and second.height < first.height + first.blocks


class Walk(msgspec.Struct):
    """Where a price is and was a block before, what it is pulled to, and where a scripted move
    found it.
    """

    px: int
    anchor: int
    before: int
    base: int = 0


class Oracle:
    """The oracle price of every market, in units of 1e-8."""

    def __init__(self, seed: int, markets: Iterable[Market], moves: Iterable[Move] = ()) -> None:
        """The walk has a randomness of its own: the same for any number of traders."""
        self.random = Random(f"{seed} prices")
        self._markets = tuple(markets)
        self._moves = tuple(moves)
        self.walks = {
            market.id: Walk(market.start_px, market.start_px, market.start_px)
            for market in self._markets
        }

    def px(self, market: int) -> int:
        """The price now; off the grid."""
        return self.walks[market].px

    def jumped(self, market: int) -> bool:
        """Whether the newest step was one that everybody notices."""
        walk = self.walks[market]
        return abs(walk.px - walk.before) * _PPM > walk.before * _NOTICED_PPM

    def step(self, height: int) -> None:
        """Moves every price on to a height. O(markets)."""
        for market in self._markets:
            walk = self.walks[market.id]
            walk.before = walk.px
            self._wander(walk, market.start_px)
            for move in self._moves:
                if move.market == market.symbol:
                    _follow(walk, move, height, market.start_px)

    def _wander(self, walk: Walk, start_px: int) -> None:
        random, px = self.random.random, walk.px
        reach = _JUMP_PPM if random() * _JUMP_BLOCKS < 1 else _STEP_PPM
        ppm = int(random() * (2 * reach + 1)) - reach
        pull = (walk.anchor - px) // _PULL
        walk.px = _bounded(px + px * ppm // _PPM + pull, start_px)


def _bounded(px: int, start_px: int) -> int:
    """A price that stays where everything made of it fits 64 bits."""
    return min(max(px, start_px // _REACH), start_px * _REACH)


def _follow(walk: Walk, move: Move, height: int, start_px: int) -> None:
    """Leads the price along a scripted move, if that is under way."""
    number = height - move.height + 1
    if not 1 <= number <= move.blocks:
        return
    if number == 1:
        walk.base = walk.px
    parts = _PERCENT * move.blocks
    px = walk.base * (parts + move.percent * number) // parts
    walk.px = walk.anchor = _bounded(px, start_px)
