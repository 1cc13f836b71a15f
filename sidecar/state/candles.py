"""Candles of a market, from its trades."""


class Candles:
    """All intervals of one market."""

    def __init__(self) -> None:
        pass

    def trade(self, time_ns: int, px: int, sz: int) -> None:
        """A trade. O(1)."""
