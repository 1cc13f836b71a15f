"""`l2Book`: price levels of a market, at full precision or rounded, in blocks in which the shown
part changed.
"""

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from sidecar.api.messages import NS_PER_MS, LevelView, Push, level_view
from sidecar.api.topics import Channel, Delivery, Topic
from sidecar.errors import RequestInvalid
from sidecar.limits import L2_LEVELS_DEFAULT, L2_LEVELS_MAX
from sidecar.node.transitions import ASK, BID
from sidecar.state.aggregation import Aggregation
from sidecar.state.book import Quote
from sidecar.state.chain import ChainState
from sidecar.state.changes import Changes, MarketChanges
from sidecar.state.market import Market

MANTISSAS = (1, 2, 5)


class L2BookParameters(msgspec.Struct, rename="camel", frozen=True):
    """As Hyperliquid's, with `nLevels` beside it."""

    coin: str
    n_sig_figs: int | None = None
    mantissa: int | None = None
    n_levels: Annotated[int, Meta(ge=1, le=L2_LEVELS_MAX)] | None = None


class Rounding(NamedTuple):
    """A way to aggregate."""

    n_sig_figs: int
    mantissa: int


class _Key(NamedTuple):
    market: int
    rounding: Rounding | None
    depth: int


Levels = tuple[list[Quote], list[Quote]]


class L2BookChannel(Channel):
    """One topic for each market, rounding and depth that somebody reads."""

    name = "l2Book"
    delivery = Delivery.LATEST
    parameters = L2BookParameters
    reads_book = True

    def __init__(self, state: ChainState) -> None:
        super().__init__(state)
        self._by_market: dict[int, dict[_Key, Topic]] = {}
        self._shown: dict[_Key, Levels] = {}
        self._aggregations: dict[tuple[int, Rounding], Aggregation] = {}

    def key(self, parameters: L2BookParameters) -> tuple[_Key, str]:
        """Checks the rounding and fills in the default depth."""
        market = self.market(parameters.coin)
        rounding = check_rounding(parameters.n_sig_figs, parameters.mantissa)
        key = _Key(market.id, rounding, parameters.n_levels or L2_LEVELS_DEFAULT)
        return key, f"l2Book:{market.symbol}{_suffix(key)}"

    def describe(self, topic: Topic) -> dict[str, Any]:
        """With the rounding and depth, where they are not the default."""
        key: _Key = topic.key
        described = super().describe(topic)
        if key.rounding is not None:
            n_sig_figs, mantissa = key.rounding
            described |= {"nSigFigs": n_sig_figs}
            described |= {"mantissa": mantissa} if mantissa != 1 else {}
        return described | ({"nLevels": key.depth} if key.depth != L2_LEVELS_DEFAULT else {})

    def is_common(self, topic: Topic) -> bool:
        """The plain one is: there are hundreds of roundings and depths."""
        key: _Key = topic.key
        return key.rounding is None and key.depth == L2_LEVELS_DEFAULT

    def weigh(self, topic: Topic) -> int:
        """The plain one is a topic like others."""
        return 1 if self.is_common(topic) else super().weigh(topic)

    def opened(self, topic: Topic) -> None:
        """Builds the aggregation if it is the first to need it, and remembers what is shown."""
        key: _Key = topic.key
        self._by_market.setdefault(key.market, {})[key] = topic
        if key.rounding is not None and (key.market, key.rounding) not in self._aggregations:
            book = self.state.markets[key.market].book
            self._aggregations[key.market, key.rounding] = Aggregation(book, *key.rounding)
        self._shown[key] = self._levels(key)

    def closed(self, topic: Topic) -> None:
        """Drops what nobody needs any more."""
        key: _Key = topic.key
        del self._shown[key]
        topics = self._by_market[key.market]
        del topics[key]
        if not topics:
            del self._by_market[key.market]
        if key.rounding and not any(other.rounding == key.rounding for other in topics):
            del self._aggregations[key.market, key.rounding]

    def publish(self, changes: Changes) -> Iterator[tuple[Topic, Push]]:
        """O(levels touched) for each rounding, O(depth) for each topic whose shown part was
        touched.
        """
        if not self._by_market:
            return
        for changed in changes.markets.values():
            topics = self._by_market.get(changed.market.id)
            if topics and changed.book_changed:
                self._follow(changed, topics)
                yield from self._publish_market(changed, topics)

    def _publish_market(
        self, changed: MarketChanges, topics: dict[_Key, Topic]
    ) -> Iterator[tuple[Topic, Push]]:
        deepest: dict[Rounding | None, Levels] = {}  # each rounding is looked up once, then cut
        for key in sorted(topics, key=_depth, reverse=True):
            shown = self._shown[key]
            if key.rounding is not None or _reaches(changed, shown, key.depth):
                if key.rounding not in deepest:
                    deepest[key.rounding] = self._levels(key)
                bids, asks = deepest[key.rounding]
                levels = bids[: key.depth], asks[: key.depth]
                if levels != shown:
                    self._shown[key] = levels
                    yield topics[key], self._message(changed.market, levels)

    def snapshot(self, topic: Topic) -> Push:
        """The levels as of the last block."""
        return self._message(self.state.markets[topic.key.market], self._shown[topic.key])

    def _follow(self, changed: MarketChanges, topics: dict[_Key, Topic]) -> None:
        market = changed.market
        for rounding in {key.rounding for key in topics if key.rounding is not None}:
            aggregation = self._aggregations[market.id, rounding]
            for side in (BID, ASK):
                aggregation.follow(market.book, side, changed.touched(side))

    def _levels(self, key: _Key) -> Levels:
        if key.rounding is None:
            book = self.state.markets[key.market].book
            return book.depth(BID, key.depth), book.depth(ASK, key.depth)
        aggregation = self._aggregations[key.market, key.rounding]
        return aggregation.levels(BID, key.depth), aggregation.levels(ASK, key.depth)

    def _message(self, market: Market, levels: Levels) -> Push:
        return Push(self.name, l2_view(market, self.state.time_ns, levels), self.state.height)


def l2_view(market: Market, time_ns: int, levels: Levels) -> dict[str, object]:
    """An L2 book as clients read it."""
    bids, asks = levels
    views: tuple[list[LevelView], list[LevelView]] = (
        [level_view(quote) for quote in bids],
        [level_view(quote) for quote in asks],
    )
    return {"coin": market.symbol, "time": time_ns // NS_PER_MS, "levels": views}


def check_rounding(n_sig_figs: int | None, mantissa: int | None) -> Rounding | None:
    """The rounding that a request asks for, None for full precision. Raises `RequestInvalid`."""
    if n_sig_figs is None:
        if mantissa is not None:
            raise RequestInvalid("mantissa goes with nSigFigs 5")
        return None
    if not 2 <= n_sig_figs <= 5:
        raise RequestInvalid(f"nSigFigs is 2, 3, 4, 5 or null, not {n_sig_figs}")
    if mantissa is not None and n_sig_figs != 5:
        raise RequestInvalid("mantissa goes with nSigFigs 5")
    if mantissa is not None and mantissa not in MANTISSAS:
        raise RequestInvalid(f"mantissa is 1, 2, 5 or null, not {mantissa}")
    return Rounding(n_sig_figs, mantissa or 1)


def _suffix(key: _Key) -> str:
    rounding = (
        f" nSigFigs {key.rounding.n_sig_figs} mantissa {key.rounding.mantissa}"
        if key.rounding
        else ""
    )
    return rounding + (f" nLevels {key.depth}" if key.depth != L2_LEVELS_DEFAULT else "")


def _depth(key: _Key) -> int:
    return key.depth


def _reaches(changed: MarketChanges, shown: Levels, depth: int) -> bool:
    """Whether a touched level is among those shown, or would be."""
    for side in (BID, ASK):
        touched, levels = changed.touched(side), shown[side]
        if touched:
            if len(levels) < depth:
                return True
            worst = -levels[-1][0] if side == BID else levels[-1][0]
            if any(rank <= worst for rank in touched):
                return True
    return False
