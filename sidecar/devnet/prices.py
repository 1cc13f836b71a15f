"""What each market is worth: a seeded random walk in integers, the oracle of the chain.

A block moves a price by up to 0.5 bp either way, now and then by a jump, and pulls it gently to
where it began, so that it stays plausible for as long as the chain runs.
"""

from collections.abc import Iterable
from random import Random

from sidecar.devnet.markets import Market

_PPM = 1_000_000
_STEP_PPM = 50  # the largest ordinary step
_JUMP_PPM = 1_000
_JUMP_BLOCKS = 1_500  # a jump comes once in so many blocks on average
_PULL = 20_000  # of the distance to the start, one part in so many comes back each block


class FairPrices:
    """The fair price of every market, in units of 1e-8."""

    def __init__(self, seed: int, markets: Iterable[Market]) -> None:
        """The walk has a randomness of its own: the same for any number of traders."""
        self._random = Random(f"{seed} prices").random
        self._markets = tuple(markets)
        self.px = {market.id: market.start_px for market in self._markets}

    def step(self) -> None:
        """Moves every price on by one block."""
        for market in self._markets:
            px = self.px[market.id]
            reach = _JUMP_PPM if self._random() * _JUMP_BLOCKS < 1 else _STEP_PPM
            ppm = int(self._random() * (2 * reach + 1)) - reach
            pull = (market.start_px - px) // _PULL
            self.px[market.id] = max(px + px * ppm // _PPM + pull, market.start_px // 10)
