"""Everybody who trades, whose turn it is, and the money they begin with.

Makers and takers lose to each other and to the clock; so that a chain may run for weeks, one who is
down to half of what he began with gets the rest again, and one who has twice as much takes the
surplus home. Both are entries in the ledger like anybody's.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.actions import Action, ApproveAgent, Deposit, Withdraw
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.prices import Oracle
from sidecar.devnet.traders.gamblers import STAKE, Gambler
from sidecar.devnet.traders.makers import Maker, address
from sidecar.devnet.traders.takers import Taker
from sidecar.fixed import SCALE

_TAKER_TURNS = 0.6  # of all turns; a maker's has several actions, a taker's one or two
_GAMBLER_TURNS = 0.05
_MAKER_DEPOSIT = 1_000_000_000 * SCALE
_TAKER_DEPOSIT = 100_000_000 * SCALE


T = TypeVar("T")


class Traders:
    """The population of a chain. It reads the exchange and changes nothing itself."""

    def __init__(self, config: DevnetConfig, exchange: Exchange) -> None:
        self.random = Random(f"{config.seed} traders")
        self._exchange = exchange
        self._markets = tuple(exchange.markets.values())
        self._makers = tuple(Maker(number, self.random) for number in range(config.makers))
        self._takers = tuple(Taker(number, self.random) for number in range(config.takers))
        self._gamblers = tuple(
            Gambler(number, (number + 1) % config.gamblers, self.random)
            for number in range(config.gamblers)
        )
        self._purses = (
            *((maker.user, _MAKER_DEPOSIT) for maker in self._makers),
            *((taker.user, _TAKER_DEPOSIT) for taker in self._takers),
            *((gambler.user, STAKE) for gambler in self._gamblers),
        )

    def deposits(self) -> Iterator[Action]:
        """What everybody begins with."""
        for user, amount in self._purses:
            yield Deposit(user, amount)
        for maker in self._makers:
            yield ApproveAgent(maker.user, address("agent", maker.number), "quoter")

    def open(self, number: int, oracle: Oracle) -> Iterator[Action]:
        """The first turn of maker `number` in every market; nothing where there is none."""
        for maker in self._makers[number : number + 1]:
            for market in self._markets:
                yield from maker.turn(market, self._exchange.books[market.id], oracle.px(market.id))

    def trade(self, actions: int, oracle: Oracle) -> Iterator[Action]:
        """About so many actions: from half to one and a half times, the same on average. Before
        that, the makers follow a price that jumped.

        Each action is to be executed before the next one is asked for: traders look at the book as
        it is then.
        """
        yield from self._requote(oracle)
        left = int(actions * (0.5 + self.random.random()))
        while left > 0:
            for action in self._turn(oracle):
                yield action
                left -= 1
                if not left:
                    return

    def settle(self, height: int) -> Iterator[Action]:
        """Evens out one trader's purse, each in its turn."""
        user, purse = self._purses[height % len(self._purses)]
        clearing = self._exchange.clearing
        account = clearing.account(user)
        value = clearing.account_value(account)
        if value < purse // 2:
            yield Deposit(user, purse - value)
        elif value > 2 * purse:
            surplus = min(value - purse, clearing.withdrawable(account))
            if surplus:
                yield Withdraw(user, surplus)

    def _requote(self, oracle: Oracle) -> Iterator[Action]:
        for market in self._markets:
            if oracle.jumped(market.id):
                book, px = self._exchange.books[market.id], oracle.px(market.id)
                taker = self._one_of(self._takers)
                for maker in self._makers:
                    yield from maker.turn(market, book, px)
                yield from taker.clear(market, book, px)
                for maker in self._makers:  # again, where somebody stood in the way
                    yield from maker.turn(market, book, px)

    def _turn(self, oracle: Oracle) -> Iterator[Action]:
        random = self.random.random
        market = self._markets[int(random() * len(self._markets))]
        lot = random()
        if lot < _GAMBLER_TURNS and self._gamblers:
            return self._one_of(self._gamblers).turn(market, self._exchange)
        book, px = self._exchange.books[market.id], oracle.px(market.id)
        if lot < _GAMBLER_TURNS + _TAKER_TURNS:
            return self._one_of(self._takers).turn(market, book, px)
        return self._one_of(self._makers).turn(market, book, px)

    def _one_of(self, some: Sequence[T]) -> T:
        return some[int(self.random.random() * len(some))]
