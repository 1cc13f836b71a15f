"""An order book that is obviously right: a plain list, searched from end to end."""

from dataclasses import dataclass, field

from sidecar.node.transitions import BID


@dataclass
class ModelOrder:
    oid: int
    side: int
    px: int
    sz: int


@dataclass
class ModelBook:
    """Orders in the order in which they joined their queues."""

    orders: list[ModelOrder] = field(default_factory=list)

    def add(self, oid: int, side: int, px: int, sz: int, before_oid: int = 0) -> None:
        order = ModelOrder(oid, side, px, sz)
        if before_oid:
            index = next(i for i, one in enumerate(self.orders) if one.oid == before_oid)
            self.orders.insert(index, order)
        else:
            self.orders.append(order)

    def change(self, oid: int, sz: int) -> None:
        next(one for one in self.orders if one.oid == oid).sz = sz

    def remove(self, oid: int) -> None:
        self.orders = [one for one in self.orders if one.oid != oid]

    def levels(self, side: int) -> list[tuple[int, int, int]]:
        prices = {one.px for one in self.orders if one.side == side and one.sz}
        levels = []
        for px in sorted(prices, reverse=side == BID):
            sizes = [one.sz for one in self.orders if (one.side, one.px) == (side, px) and one.sz]
            levels.append((px, sum(sizes), len(sizes)))
        return levels

    def queue(self, side: int) -> list[int]:
        mine = [one for one in self.orders if one.side == side]
        mine.sort(key=lambda one: -one.px if side == BID else one.px)  # stable: queues keep order
        return [one.oid for one in mine]
