"""What a market is worth today: open interest, day volume, funding, premium."""

from sidecar.node.transitions import Fill, FundingSettled


class Context:
    """The moving figures of one market, beside its prices."""

    def __init__(self) -> None:
        pass

    def trade(self, time_ns: int, fill: Fill) -> None:
        """A trade. O(1)."""

    def funded(self, time_ns: int, settled: FundingSettled) -> None:
        """A funding settlement. O(1)."""
