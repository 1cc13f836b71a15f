"""Whatever users do, in whatever order, at whatever prices: the books and the money stay whole, and
a reader of the log follows.
"""

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.devnet.execution.actions import (
    NA,
    NORMAL_TPSL,
    POSITION_TPSL,
    Action,
    ApproveAgent,
    Cancel,
    CancelByCloid,
    Deposit,
    Modify,
    Noop,
    Place,
    PlaceGroup,
    ScheduleCancel,
    Send,
    TriggerSpec,
    UpdateIsolatedMargin,
    UpdateLeverage,
    Withdraw,
)
from sidecar.devnet.execution.checks import book_check
from sidecar.devnet.execution.clearing import VAULT
from sidecar.devnet.execution.exchange import Exchange
from sidecar.devnet.execution.funding import Funding
from sidecar.devnet.execution.liquidation import Liquidations
from sidecar.devnet.execution.markets import Market
from sidecar.devnet.execution.refusals import ActionRefused
from sidecar.fixed import SCALE
from sidecar.node.block_records import decode_block, encode_block
from sidecar.node.transitions import Block, PricesUpdated
from sidecar.state.chain import ChainState

MARKETS = (
    Market(0, "DEEP", 100 * SCALE, 2, ((0, 50), (20_000 * SCALE, 10))),
    Market(1, "LONE", 100 * SCALE, 2, ((0, 10),), only_isolated=True),
)
USERS = [bytes([number]) * 20 for number in range(1, 6)]
START = 100 * SCALE
PURSE = 3_000 * SCALE

users = st.sampled_from(USERS)
markets = st.sampled_from([0, 0, 1])
prices = st.integers(96, 104).map(lambda px: px * SCALE)
sizes = st.integers(80, 400).map(lambda lots: lots * SCALE // 10)
sides = st.integers(0, 1)
cloids = st.none() | st.sampled_from([bytes([number]) * 16 for number in range(3)])
tifs = st.sampled_from(["Gtc", "Gtc", "Ioc", "Alo", "FrontendMarket"])
oids = st.integers(1, 40)
amounts = st.integers(-2_000, 2_000).map(lambda amount: amount * SCALE)
rarely = st.integers(0, 5).map(lambda die: die == 0)
plain = st.builds(Place, users, markets, sides, prices, sizes, tifs, cloids, rarely)
specs = st.builds(TriggerSpec, prices, st.booleans(), st.sampled_from(["tp", "sl"]))
stops = st.builds(
    Place, users, markets, sides, prices, sizes, st.just("Gtc"), cloids, st.just(True), specs
)


@st.composite
def groups(draw: st.DrawFn) -> PlaceGroup:
    """Orders that might belong together."""
    user, market, side = draw(users), draw(markets), draw(sides)
    grouping = draw(st.sampled_from([NA, NORMAL_TPSL, NORMAL_TPSL, POSITION_TPSL]))
    parent = Place(user, market, side, draw(prices), draw(sizes), draw(tifs), draw(cloids))
    children = [
        Place(user, market, 1 - side, draw(prices), draw(sizes), "Gtc", None, True, draw(specs))
        for _ in range(draw(st.integers(1, 2)))
    ]
    orders = children if grouping == POSITION_TPSL else [parent, *children]
    return PlaceGroup(user, tuple(orders), grouping)


actions: st.SearchStrategy[Action] = st.one_of(
    plain,
    plain,
    plain,
    plain,
    plain,
    plain,
    stops,
    groups(),
    st.builds(Cancel, users, markets, oids),
    st.builds(CancelByCloid, users, markets, cloids.filter(bool)),
    st.builds(Modify, users, oids, plain | stops).map(
        lambda modify: Modify(modify.place.user, modify.order, modify.place)
    ),
    st.builds(ScheduleCancel, users, st.none() | st.integers(0, 20).map(lambda s: s * 10**9)),
    st.builds(UpdateLeverage, users, markets, st.integers(0, 60), st.booleans()),
    st.builds(UpdateIsolatedMargin, users, markets, amounts),
    st.builds(ApproveAgent, users, users, st.sampled_from(["", "a", "b", "c", "d"])),
    st.builds(Send, users, users, amounts),
    st.builds(Withdraw, users, amounts),
    st.builds(Noop, users),
)
marks = st.integers(94, 106) | st.integers(94, 106) | st.integers(60, 150)
blocks = st.lists(
    st.tuples(st.none() | st.tuples(marks, marks), st.lists(actions, min_size=2, max_size=12)),
    min_size=1,
    max_size=12,
)


class World:
    """An exchange, its clockwork, and a sidecar's state that reads its log."""

    def __init__(self) -> None:
        self.exchange = Exchange("any", MARKETS)
        clearing, matching = self.exchange.clearing, self.exchange.matching
        self.funding = Funding(self.exchange.tape, clearing, matching, 3 * 10**9)
        self.liquidations = Liquidations(self.exchange)
        self.state = ChainState()
        self.height = 0
        self.paid_in = 0
        self.block((100, 100), [Deposit(user, PURSE) for user in (*USERS, VAULT)])

    def block(self, marks: tuple[int, int] | None, todo: list[Action]) -> None:
        self.height += 1
        exchange = self.exchange
        now, before = self.height * 10**9, (self.height - 1) * 10**9
        out = exchange.begin_block(self.height, now)
        if self.height == 1:
            out.extend(market.listing() for market in MARKETS)
        if marks is not None:
            for market, mark in enumerate(marks):
                exchange.set_prices(market, mark * SCALE, mark * SCALE)
            px = tuple((market, mark * SCALE, mark * SCALE) for market, mark in enumerate(marks))
            out.append(PricesUpdated(px))
            exchange.wake_triggers()
        exchange.cancel_scheduled()
        self.funding.step(before, exchange.entry.oracles)
        for action in todo:
            self.act(action)
        self.liquidations.run(marks_changed=marks is not None)
        out.extend(book_check(market, book) for market, book in exchange.books.items())
        block = decode_block(encode_block(Block(self.height, now, 0, out)))
        self.state.apply(block)  # which compares the books with the checks
        self.check()

    def act(self, action: Action) -> None:
        with suppress(ActionRefused):
            self.exchange.execute(action)
            if isinstance(action, Deposit):
                self.paid_in += action.amount
            elif isinstance(action, Withdraw):
                self.paid_in -= action.amount
        self.exchange.matching.check_invariants()

    def some_order(self, random: Random) -> tuple[bytes, int, int] | None:
        """Owner, market and oid of an order that rests or waits."""
        found = [
            (order.opened.user, market, order.opened.oid)
            for user in USERS
            for market in self.exchange.markets
            for order in self.exchange.matching.open.of_user(user, market)
        ]
        return random.choice(found) if found else None

    def check(self) -> None:
        self.exchange.check_invariants()
        assert self.liquidations.everybody_covered()
        assert self.exchange.total() == self.paid_in


@settings(max_examples=250, deadline=None)
@given(blocks)
def test_books_and_money_stay_whole(
    story: list[tuple[tuple[int, int] | None, list[Action]]],
) -> None:
    world = World()
    for new_marks, todo in story:
        world.block(new_marks, todo)


def any_action(random: Random, mark: list[int], world: World) -> Action:
    """What a busy user might do at these marks."""
    user, market, side = random.choice(USERS), random.choice([0, 0, 1]), random.randrange(2)
    if random.random() < 0.2 and (known := world.some_order(random)) is not None:
        user, market, oid = known
        px, sz = (mark[market] + random.randint(-3, 3)) * SCALE, 20 * SCALE
        spec = TriggerSpec(px, random.random() < 0.5, random.choice(["tp", "sl"]))
        stop = Place(user, market, side, px, sz, "Gtc", None, True, spec)
        place = random.choice([stop, stop, Place(user, market, side, px, sz)])
        change: Action = Modify(user, oid, place)
        return change if random.random() < 0.75 else Cancel(user, market, oid)
    px = (mark[market] + random.randint(-3, 3)) * SCALE
    sz = random.randint(100, 300) * SCALE // 10
    kind = random.random()
    if kind < 0.55:
        tif = random.choice(["Gtc", "Gtc", "Ioc", "Alo", "FrontendMarket"])
        cloid = random.choice([None, random.randbytes(1) * 16])
        return Place(user, market, side, px, sz, tif, cloid, random.random() < 0.2)
    if kind < 0.75:
        spec = TriggerSpec(px, random.random() < 0.5, random.choice(["tp", "sl"]))
        stop = Place(user, market, 1 - side, px, sz, "Gtc", None, True, spec)
        parent = Place(user, market, side, px, sz, random.choice(["Gtc", "Ioc"]))
        some: list[Action] = [
            stop,
            PlaceGroup(user, (parent, stop), NORMAL_TPSL),
            PlaceGroup(user, (stop, stop), POSITION_TPSL),
        ]
        return random.choice(some)
    if kind < 0.8:
        return Modify(user, random.randrange(200), Place(user, market, side, px, sz))
    if kind < 0.85:
        return Cancel(user, market, random.randrange(200))
    if kind < 0.95:
        return UpdateLeverage(user, market, random.randint(1, 50), random.random() < 0.5)
    rare: list[Action] = [
        UpdateIsolatedMargin(user, market, random.randint(-300, 300) * SCALE),
        Send(user, random.choice(USERS), random.randint(1, 500) * SCALE),
        Withdraw(user, random.randint(1, 500) * SCALE),
        ScheduleCancel(user, random.randrange(80) * 10**9),
    ]
    return random.choice(rare)


@pytest.mark.parametrize("seed", range(12))
def test_long_stories(seed: int) -> None:
    random, world, mark = Random(seed), World(), [100, 100]
    for _ in range(60):
        step = 3 if random.random() < 0.9 else 40
        mark = [min(max(px + random.randint(-step, step), 50), 170) for px in mark]
        todo = [any_action(random, mark, world) for _ in range(20)]
        world.block((mark[0], mark[1]) if random.random() < 0.7 else None, todo)
