"""Topics: what one subscription reads, shared by all who ask for the same."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, ClassVar

import msgspec

from sidecar.api.messages import ChainedPush, Push, hex_text, parse_user
from sidecar.errors import RequestInvalid, StateUnavailable
from sidecar.limits import TOPIC_WEIGHTS, TopicWeight
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes, MarketChanges, UserChanges
from sidecar.state.market import Market

Message = Push | ChainedPush


class Delivery(Enum):
    """What may happen to a message while it waits for a slow client."""

    LATEST = "latest"  # it is replaced by the next one of its topic
    EVERY = "every"  # nothing: the client is closed before one is lost


class Needs(Enum):
    """What making the messages of past blocks again takes, beside those blocks."""

    NOTHING = "nothing"
    BOOKS = "books"  # as of some height before them
    HISTORY = "history"  # all that the chain made before them: a checkpoint, or its first block


class Topic:
    """One subscription's content. Equal requests share one Topic, so identity is equality."""

    __slots__ = ("channel", "delivery", "key", "name", "resumable")

    def __init__(self, channel: "Channel", key: Any, name: str) -> None:
        self.channel = channel
        self.key = key
        self.name = name
        self.delivery = channel.delivery  # as the channel declares it
        self.resumable = channel.needs is not None

    @property
    def market(self) -> int | None:
        """The id of the one market that the topic is about, if it is about one."""
        if isinstance(self.key, int):
            return self.key
        market = getattr(self.key, "market", None)
        return market if isinstance(market, int) else None

    @property
    def user(self) -> bytes | None:
        """The address of the one user that the topic is about, if it is about one."""
        if isinstance(self.key, bytes):
            return self.key
        user = getattr(self.key, "user", None)
        return user if isinstance(user, bytes) else None

    @property
    def common(self) -> bool:
        """Whether there are only so many like it as the chain has markets, however many ask."""
        return self.channel.is_common(self)

    @property
    def weight(self) -> int:
        """As how many topics it counts for who asks for it now, by what it costs in a block."""
        return self.channel.weigh(self)

    def subscription(self) -> dict[str, Any]:
        """What to ask for to read it, defaults left out."""
        return {"type": self.channel.name} | self.channel.describe(self)

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"


class Channel(ABC):
    """A family of topics: one file, one class, one line in the registry
    (`sidecar.api.channels`).
    """

    name: ClassVar[str]
    delivery: ClassVar[Delivery]
    parameters: ClassVar[type[msgspec.Struct]]  # what a subscription may hold beside its type
    reads_book: ClassVar[bool] = False  # shows a market's book: nothing, while that is wrong
    sums_up_books: ClassVar[bool] = False  # shows something of books, less those that are wrong
    reads_orders: ClassVar[bool] = False  # shows a user's open orders: not while a book is in doubt
    needs: ClassVar[Needs | None] = None  # to make past messages again; None: they can't be

    def __init__(self, state: ChainState) -> None:
        self.state = state
        self._open: dict[Any, Topic] = {}

    def resolve(self, parameters: Any) -> Topic:
        """The topic that the parameters ask for. Raises `RequestInvalid`."""
        key, name = self.key(parameters)
        return self._open.get(key) or Topic(self, key, name)

    def open(self, topic: Topic) -> None:
        """Somebody reads the topic from now on."""
        self._open[topic.key] = topic
        self.opened(topic)

    def close(self, topic: Topic) -> None:
        """Nobody reads the topic any more."""
        del self._open[topic.key]
        self.closed(topic)

    def open_topics(self) -> list[Topic]:
        """Those that somebody reads."""
        return list(self._open.values())

    def describe(self, topic: Topic) -> dict[str, Any]:
        """What a subscription to the topic holds beside its type."""
        described: dict[str, Any] = {}
        if topic.market is not None:
            described["coin"] = self.state.markets[topic.market].symbol
        if topic.user is not None:
            described["user"] = hex_text(topic.user)
        return described

    def is_common(self, topic: Topic) -> bool:
        """Whether a topic is one of the chain's, or of a few of each market."""
        return topic.user is None

    def weigh(self, topic: Topic) -> int:
        """As how many topics one counts."""
        weight = TOPIC_WEIGHTS.get(self.name, _LIGHT)
        if topic.user is None:
            return weight.base
        user = self.state.users.look(topic.user)
        orders = len(user.resting) + len(user.waiting or ())
        return int(weight.base + weight.position * len(user.positions) + weight.order * orders)

    @abstractmethod
    def key(self, parameters: Any) -> tuple[Any, str]:
        """What tells topics apart, and the topic's name. Raises `RequestInvalid`."""

    @abstractmethod
    def publish(self, changes: Changes) -> Iterable[tuple[Topic, Message]]:
        """At most one message for each open topic that the block concerns."""

    def snapshot(self, topic: Topic) -> Message | None:  # noqa: ARG002 - most channels use it
        """What a new subscriber gets first, if anything: the state as of the last block."""
        return None

    def opened(self, topic: Topic) -> None:  # noqa: B027 - not every channel keeps something
        """Hook: start keeping what the topic needs."""

    def closed(self, topic: Topic) -> None:  # noqa: B027
        """Hook: drop what the topic needed."""

    def market(self, coin: str) -> Market:
        """The market of that name. Raises `RequestInvalid`."""
        return find_market(self.state, coin)


_LIGHT = TopicWeight(1)


class CoinParameters(msgspec.Struct, frozen=True):
    """A subscription to one market."""

    coin: str


class MarketChannel(Channel):
    """A channel with one topic a market."""

    parameters = CoinParameters

    def key(self, parameters: CoinParameters) -> tuple[int, str]:
        """The market's id."""
        market = self.market(parameters.coin)
        return market.id, f"{self.name}:{market.symbol}"

    def changed(self, changes: Changes) -> Iterator[tuple[Topic, MarketChanges]]:
        """The open topics whose market the block names, with its changes. O(smaller of the two)."""
        opened, markets = self._open, changes.markets
        if len(opened) < len(markets):
            for market_id, topic in opened.items():
                if market_id in markets:
                    yield topic, markets[market_id]
        else:
            for market_id, changed in markets.items():
                if market_id in opened:
                    yield opened[market_id], changed


class UserParameters(msgspec.Struct, frozen=True):
    """A subscription to one user."""

    user: str


class DexUserParameters(UserParameters, frozen=True):
    """Likewise, and the perpetual exchange that is asked of, as existing clients name it: "" is all
    there is.
    """

    dex: str | None = None


class UserChannel(Channel):
    """A channel with one topic a user."""

    parameters = UserParameters

    def key(self, parameters: UserParameters) -> tuple[bytes, str]:
        """The user's address."""
        address = parse_user(parameters.user)
        return address, f"{self.name}:{hex_text(address)}"

    def changed(self, changes: Changes) -> Iterator[tuple[Topic, UserChanges]]:
        """The open topics whose user the block names, with its changes. O(smaller of the two)."""
        opened, users = self._open, changes.users
        if len(opened) < len(users):
            for address, topic in opened.items():
                if address in users:
                    yield topic, users[address]
        else:
            for address, changed in users.items():
                if address in opened:
                    yield opened[address], changed


def find_market(state: ChainState, coin: str) -> Market:
    """The market of that name. Raises `RequestInvalid` that names some that exist."""
    market = state.by_symbol.get(coin)
    if market is None:
        some = sorted(state.by_symbol)[:10]
        known = f"this chain has {', '.join(some)}" if some else "no market is listed yet"
        more = f" and {len(state.by_symbol) - 10} more" if len(state.by_symbol) > 10 else ""
        raise RequestInvalid(f"unknown coin {coin[:32]!r}: {known}{more}")
    return market


def find_book(state: ChainState, coin: str) -> Market:
    """Likewise, of a market whose book is asked for. Raises `StateUnavailable` while it is known
    to be wrong.
    """
    market = find_market(state, coin)
    if market.fault is not None:
        what = f"the book of {market.symbol} is being rebuilt: {market.fault.what}"
        raise StateUnavailable(what)
    return market


def check_dex(dex: str | None) -> None:
    """Raises `RequestInvalid` for a perpetual exchange other than the chain's own, ""."""
    if dex:
        raise RequestInvalid(f'unknown dex {dex[:32]!r}; there is "" only')
