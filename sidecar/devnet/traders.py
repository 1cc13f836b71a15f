"""Everybody who trades, and whose turn it is."""

from collections.abc import Iterator, Mapping
from random import Random

from sidecar.devnet.book import Book
from sidecar.devnet.makers import MAKERS, Maker
from sidecar.devnet.markets import Market
from sidecar.devnet.orders import Action
from sidecar.devnet.takers import TAKERS, Taker

_TAKER_TURNS = 0.6  # of all turns; a maker's has several actions, a taker's one or two


class Traders:
    """The population of a chain. It reads the exchange's books and changes nothing itself."""

    def __init__(self, seed: int, markets: Mapping[int, Market], books: Mapping[int, Book]) -> None:
        self._random = Random(f"{seed} traders")
        self._markets = tuple(markets.values())
        self._books = books
        self._makers = tuple(Maker(number, self._random) for number in range(MAKERS))
        self._takers = tuple(Taker(number, self._random) for number in range(TAKERS))

    def open(self, number: int, fair_px: Mapping[int, int]) -> Iterator[Action]:
        """The first turn of maker `number` in every market; nothing where there is no such
        maker.
        """
        for maker in self._makers[number : number + 1]:
            for market in self._markets:
                yield from maker.turn(market, self._books[market.id], fair_px[market.id])

    def trade(self, actions: int, fair_px: Mapping[int, int]) -> Iterator[Action]:
        """About so many actions: from half to one and a half times, the same on average.

        Each action is to be executed before the next one is asked for: traders look at the book as
        it is then.
        """
        left = int(actions * (0.5 + self._random.random()))
        while left > 0:
            turn = self._turn(fair_px)
            for action in turn:
                yield action
                left -= 1
                if not left:
                    return

    def _turn(self, fair_px: Mapping[int, int]) -> Iterator[Action]:
        random = self._random.random
        market = self._markets[int(random() * len(self._markets))]
        book, px = self._books[market.id], fair_px[market.id]
        if random() < _TAKER_TURNS:
            return self._takers[int(random() * TAKERS)].turn(market, book, px)
        return self._makers[int(random() * MAKERS)].turn(market, book, px)
