"""Orders that depend on each other: a parent and its take profit and stop, and these two.

    the parent is filled                  its children begin to wait for the mark price
    the parent ends otherwise             its children are cancelled; but one that was filled in
                                          part and lost its margin counts as filled
    one of two siblings is filled         the other is cancelled
(https://hyperliquid.gitbook.io/hyperliquid-docs/trading/take-profit-and-stop-loss-orders-tp-sl)
"""


class Links:
    """Who depends on whom, by oid. An order that ends is forgotten."""

    def __init__(self) -> None:
        self.children: dict[int, tuple[int, ...]] = {}
        self.siblings: dict[int, tuple[int, ...]] = {}

    def bracket(self, parent: int, children: tuple[int, ...]) -> None:
        """`children` wait for `parent`, and each gives way to the others."""
        self.children[parent] = children
        self.pair(children)

    def pair(self, orders: tuple[int, ...]) -> None:
        """Each of the orders gives way to the others."""
        if len(orders) > 1:
            for oid in orders:
                self.siblings[oid] = tuple(other for other in orders if other != oid)

    def end(self, oid: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Forgets an order that ended; returns its children and its siblings."""
        siblings = self.siblings.pop(oid, ())
        for other in siblings:
            left = tuple(one for one in self.siblings.get(other, ()) if one != oid)
            if left:
                self.siblings[other] = left
            else:
                self.siblings.pop(other, None)
        return self.children.pop(oid, ()), siblings

    def replace(self, oid: int, new: int, parent: int) -> None:
        """An order that waits for `parent` (0: for nobody) was replaced: `new` takes its place."""
        if oid in self.children:
            self.children[new] = self.children.pop(oid)
        if parent in self.children:
            children = self.children[parent]
            self.children[parent] = tuple(new if one == oid else one for one in children)
        siblings = self.siblings.pop(oid, ())
        if siblings:
            self.siblings[new] = siblings
            for other in siblings:
                theirs = self.siblings[other]
                self.siblings[other] = tuple(new if one == oid else one for one in theirs)
