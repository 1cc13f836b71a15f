"""A client's view of l4Book, from the messages alone: no code of the product."""

from decimal import Decimal
from typing import Any


class L4Client:
    """Applies a snapshot, then updates; checks that none is missing."""

    def __init__(self) -> None:
        self.orders: dict[int, dict[str, Any]] = {}
        self.updates = 0
        self._levels: dict[tuple[str, Decimal], list[int]] = {}
        self._last: int | None = None

    def apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if "Snapshot" in data:
            for side in data["Snapshot"]["levels"]:
                for order in side:
                    self._add(dict(order), None)
            self._last = message["prev"]
        else:
            assert message["prev"] == self._last, "a message is missing"
            self._last = message["height"]
            self._update(data["Updates"])
            self.updates += 1

    def queues(self) -> list[tuple[str, Decimal, list[int]]]:
        """Every queue in order, best prices first."""
        bids = sorted((key for key in self._levels if key[0] == "B"), key=lambda k: -k[1])
        asks = sorted((key for key in self._levels if key[0] == "A"), key=lambda k: k[1])
        return [(*key, self._levels[key]) for key in bids + asks]

    def _update(self, updates: dict[str, Any]) -> None:
        placed = {
            status["order"]["oid"]: status["order"] | {"user": status["user"]}
            for status in updates["order_statuses"]
            if status["status"] == "open"
        }
        for diff in updates["book_diffs"]:
            step = diff["raw_book_diff"]
            if step == "remove":
                order = self.orders.pop(diff["oid"])
                key = _key(order)
                self._levels[key].remove(diff["oid"])
                if not self._levels[key]:
                    del self._levels[key]
            elif "new" in step:
                known = {key: diff[key] for key in ("oid", "user", "side")}  # if it has no status
                order = placed.get(diff["oid"], known)
                order = order | {"limitPx": diff["px"], "sz": step["new"]["sz"]}
                self._add(order, step["new"].get("insertBefore"))
            else:
                order = self.orders[diff["oid"]]
                assert order["sz"] == step["update"]["origSz"]
                order["sz"] = step["update"]["newSz"]

    def _add(self, order: dict[str, Any], before: int | None) -> None:
        assert order["oid"] not in self.orders
        self.orders[order["oid"]] = order
        queue = self._levels.setdefault(_key(order), [])
        queue.insert(len(queue) if before is None else queue.index(before), order["oid"])


def _key(order: dict[str, Any]) -> tuple[str, Decimal]:
    return order["side"], Decimal(order["limitPx"])
