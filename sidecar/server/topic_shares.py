"""How many topics the clients of one address hold open.

    l2Book:TOYOTA, read by ten of its connections    counts once
    webData2 of a user with 100 open orders          counts as 50: see `TOPIC_WEIGHTS`

So a bound of one number holds what an address costs: memory for each of its topics, and processor
time in each block.
"""

from collections import Counter

from sidecar.api.topics import Topic
from sidecar.errors import RequestInvalid


class _Share:
    """Of one address."""

    __slots__ = ("readers", "weight", "weights")

    def __init__(self) -> None:
        self.readers: Counter[Topic] = Counter()  # connections
        self.weights: dict[Topic, int] = {}  # as they were when the first one asked
        self.weight = 0  # of all


class TopicShares:
    """The topics of each address."""

    def __init__(self) -> None:
        self._shares: dict[str, _Share] = {}

    def weight(self, address: str) -> int:
        """What the address holds. O(1)."""
        share = self._shares.get(address)
        return 0 if share is None else share.weight

    def take(self, address: str, topic: Topic, bound: int) -> None:
        """One connection of the address reads the topic. Raises `RequestInvalid` where the address
        would hold more than `bound`; then it holds what it held. O(1).
        """
        share = self._shares.get(address) or _Share()
        if topic not in share.readers:
            weight = topic.weight
            if share.weight + weight > bound:
                raise RequestInvalid(_too_many(topic, weight, bound))
            share.weights[topic] = weight
            share.weight += weight
        share.readers[topic] += 1
        self._shares[address] = share

    def give_back(self, address: str, topic: Topic) -> None:
        """One that took it does not read it any more. O(1)."""
        share = self._shares[address]
        share.readers[topic] -= 1
        if not share.readers[topic]:
            del share.readers[topic]
            share.weight -= share.weights.pop(topic)
        if not share.readers:
            del self._shares[address]


def _too_many(topic: Topic, weight: int, bound: int) -> str:
    counts = f"; {topic.name[:80]} counts as {weight}" if weight > 1 else ""
    return f"the connections of one address may have {bound} distinct subscriptions{counts}"
