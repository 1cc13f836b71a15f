"""Whatever users do, the sidecar knows their open orders from the log alone."""

from random import Random

import pytest

from sidecar.devnet.execution.orders import Resting, Waiting
from sidecar.node.transitions import OrderStatus
from test_devnet_any_actions import USERS, World, any_action


class Watched(World):
    """Compares every user's open orders with the exchange's after each block."""

    named = 0

    def check(self) -> None:
        super().check()
        self.state.orders.check_invariants()
        for address in USERS:
            self.check_user(address)

    def check_user(self, address: bytes) -> None:
        user = self.state.users.look(address)
        theirs: list[Resting | Waiting] = [
            order
            for market in self.exchange.markets
            for order in self.exchange.matching.open.of_user(address, market)
        ]
        resting = {oid: (order.px, order.sz) for oid, (_, order) in user.resting.items()}
        assert resting == {one.oid: (one.px, one.sz) for one in theirs if isinstance(one, Resting)}
        active = [one.opened for one in theirs if isinstance(one, Waiting) and one.active]
        waiting: dict[int, OrderStatus] = user.waiting or {}
        assert waiting == {opened.oid: opened for opened in active}
        live = [one.opened for one in theirs if isinstance(one, Resting)] + active
        newest: dict[bytes, int] = {}
        for opened in live:
            if opened.cloid is not None:
                newest[opened.cloid] = max(opened.oid, newest.get(opened.cloid, 0))
        for cloid, oid in newest.items():
            assert self.state.orders.find_cloid(address, cloid) == self.state.orders.find(
                address, oid
            )
        self.named += len(newest)


@pytest.mark.parametrize("seed", range(6))
def test_open_orders_are_the_exchanges(seed: int) -> None:
    random, world, mark = Random(seed), Watched(), [100, 100]
    for _ in range(60):
        step = 3 if random.random() < 0.9 else 40
        mark = [min(max(px + random.randint(-step, step), 50), 170) for px in mark]
        todo = [any_action(random, mark, world) for _ in range(20)]
        world.block((mark[0], mark[1]) if random.random() < 0.7 else None, todo)
    assert world.named > 60  # live orders with an id of their owner's were looked up
