"""What docs/api.md says that clients are told of a block, made from the chain as its log tells it.

A topic of an EVERY channel has `parts` for each block that concerns it, none for others, and a
`snapshot` where it begins with one; one of a LATEST channel has a `view` of how it is now. None
where the data is not judged here (it is compared between readers still). `counts` is of a LATEST
topic what is told again when it differs, as far as the log says it outright.
"""

import zlib
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from tests.history.ledger import (
    ASK,
    BID,
    INTERVALS_MS,
    NS_PER_MS,
    Chain,
    Market,
    Order,
    Status,
    User,
    UserFill,
)
from tests.history.topics import Topic
from tests.history.words import address, decimal, hex_of, iso_time, rounded_px

FILLS_SHOWN = 2_000
FILLS_KEPT = 10_000  # of a user; those shown are combined of these
ENTRIES_SHOWN = 500
_NO_HASH = "0x" + "00" * 32


def parts(chain: Chain, topic: Topic) -> list[Any] | None:
    """The data of the topic's messages of the newest block; empty where there are none."""
    if topic.kind in _BY_USER:
        user = chain.users[address(topic.about)]
        return _BY_USER[topic.kind](chain, user, topic)
    if topic.kind in _BY_MARKET:
        return _BY_MARKET[topic.kind](chain, chain.by_symbol[topic.about], topic)
    return None


def snapshot(chain: Chain, topic: Topic) -> Any | None:
    """What a subscriber of now gets first."""
    if topic.kind == "bookDelta":
        market = chain.by_symbol[topic.about]
        sides = {"bids": _levels(market.levels(BID)), "asks": _levels(market.levels(ASK))}
        head = {"coin": market.symbol, "time": _ms(chain), "snapshot": True}
        return head | sides | {"checksum": checksum(market)}
    if topic.kind == "l4Book":
        return _l4_snapshot(chain, chain.by_symbol[topic.about])
    if topic.kind in ("userFills", "userFundings", "userNonFundingLedgerUpdates"):
        user = chain.users[address(topic.about)]
        return {"user": topic.about, "isSnapshot": True} | _newest(chain, user, topic)
    if topic.kind == "blocks":
        return {"height": chain.height, "time": _ms(chain)}
    return None


def view(chain: Chain, topic: Topic) -> Any:
    """How a LATEST topic is now; of accounts and contexts what the log says outright."""
    if topic.kind == "l2Book":
        market, how = chain.by_symbol[topic.about], dict(topic.how)
        levels = [_l2_side(market, side, how) for side in (BID, ASK)]
        return {"coin": market.symbol, "time": _ms(chain), "levels": levels}
    if topic.kind == "bbo":
        market = chain.by_symbol[topic.about]
        best = [market.levels(side)[:1] for side in (BID, ASK)]
        shown = [_level_view(*one[0]) if one else None for one in best]
        return {"coin": market.symbol, "time": _ms(chain), "bbo": shown}
    if topic.kind == "allMids":
        mids = {one.symbol: mid_px(one) for one in chain.markets.values()}
        return {"mids": {name: mid for name, mid in mids.items() if mid is not None}}
    if topic.kind == "blocks":
        return {"height": chain.height, "time": _ms(chain)} | chain.counts
    return None


def counts(chain: Chain, topic: Topic) -> Any:
    """Of a LATEST topic's view what a client has to be told when it has become another."""
    if topic.kind == "l2Book":
        return view(chain, topic)["levels"]
    if topic.kind == "bbo":
        return view(chain, topic)["bbo"]
    if topic.kind == "allMids":
        return view(chain, topic)
    if topic.kind == "blocks":
        return chain.height
    if topic.kind == "activeAssetCtx":
        market = chain.by_symbol[topic.about]
        return market.oracle_px, market.mark_px, mid_px(market)
    if topic.kind == "activeAssetData":
        return chain.by_symbol[topic.about.partition("/")[2]].mark_px
    if topic.kind == "openOrders":
        return resting_orders(chain, topic.about)
    if topic.kind == "clearinghouseState":
        return _held(chain, topic.about)
    assert topic.kind == "webData2", topic
    marks = [(one.oracle_px, one.mark_px) for one in chain.markets.values()]
    return _held(chain, topic.about), resting_orders(chain, topic.about), marks


def checksum(market: Market) -> int:
    """CRC-32 of the ten best levels of each side."""
    sides = [
        ",".join(f"{decimal(px)}:{decimal(sz)}:{n}" for px, sz, n in market.levels(side)[:10])
        for side in (BID, ASK)
    ]
    return zlib.crc32("|".join(sides).encode())


def mid_px(market: Market) -> str | None:
    """None while a side is empty."""
    bids, asks = market.sides
    return decimal((max(bids) + min(asks)) // 2) if bids and asks else None


def resting_orders(chain: Chain, user: str) -> list[tuple[Any, ...]]:
    """A user's resting orders in brief: what `openOrders` must show of them."""
    return sorted(
        (order.oid, market.symbol, "BA"[order.side], decimal(order.px), decimal(order.sz))
        for market, order in chain.users[address(user)].resting.values()
    )


def _held(chain: Chain, user: str) -> list[tuple[int, int, int]]:
    """A user's positions and what they are worth."""
    positions = sorted(chain.users[address(user)].positions.items())
    return [(market, size, chain.markets[market].mark_px) for market, size in positions if size]


def _ms(chain: Chain) -> int:
    return chain.time_ns // NS_PER_MS


def _levels(levels: Iterable[tuple[int, int, int]]) -> list[list[Any]]:
    return [[decimal(px), decimal(sz), n] for px, sz, n in levels]


def _level_view(px: int, sz: int, n: int) -> dict[str, Any]:
    return {"px": decimal(px), "sz": decimal(sz), "n": n}


def _l2_side(market: Market, side: int, how: dict[str, Any]) -> list[dict[str, Any]]:
    buckets: dict[int, list[int]] = {}
    for px, sz, n in market.levels(side):
        if "nSigFigs" in how:
            px = rounded_px(px, how["nSigFigs"], how.get("mantissa", 1), up=side == ASK)  # noqa: PLW2901
        bucket = buckets.setdefault(px, [0, 0])
        bucket[0] += sz
        bucket[1] += n
    best = list(buckets.items())[: how.get("nLevels", 20)]
    return [_level_view(px, *total) for px, total in best]


def _delta(chain: Chain, market: Market, _: Topic) -> list[Any]:
    bids, asks = market.changed_levels(BID), market.changed_levels(ASK)
    if not bids and not asks:
        return []
    sides = {"bids": _levels(bids), "asks": _levels(asks)}
    return [{"coin": market.symbol, "time": _ms(chain)} | sides | {"checksum": checksum(market)}]


def _trades(chain: Chain, market: Market, _: Topic) -> list[Any]:
    trades = [
        {
            "coin": market.symbol,
            "side": "BA"[fill.taker_side],
            "px": decimal(fill.px),
            "sz": decimal(fill.sz),
            "time": _ms(chain),
            "hash": hex_of(fill.hash),
            "tid": fill.tid,
            "users": [None if leg is None else hex_of(leg.user) for leg in fill.legs],
        }
        for fill in market.fills
    ]
    return [trades] if trades else []


def _candle(_: Chain, market: Market, topic: Topic) -> list[Any]:
    if not market.fills:
        return []
    interval = str(dict(topic.how)["interval"])
    candle = market.candles[interval]
    first, high, low, last = map(decimal, candle.prices)
    return [
        {
            "t": candle.start_ms,
            "T": candle.start_ms + INTERVALS_MS[interval] - 1,
            "s": market.symbol,
            "i": interval,
            "o": first,
            "c": last,
            "h": high,
            "l": low,
            "v": decimal(candle.volume),
            "n": candle.trades,
        }
    ]


def _l4_updates(chain: Chain, market: Market, _: Topic) -> list[Any]:
    if not market.statuses and not market.diffs:
        return []
    statuses = [
        {
            "time": iso_time(one.time_ns),
            "user": hex_of(one.user),
            "status": one.status,
            "order": _order_view(market.symbol, one),
        }
        for one in market.statuses
    ]
    diffs = [
        {
            "user": hex_of(order.user),
            "oid": order.oid,
            "coin": market.symbol,
            "side": "BA"[order.side],
            "px": decimal(order.px),
            "raw_book_diff": _step(step),
        }
        for order, step in market.diffs
    ]
    told = {"time": _ms(chain), "height": chain.height}
    return [{"Updates": told | {"order_statuses": statuses, "book_diffs": diffs}}]


def _step(step: Any) -> Any:
    if step == "remove":
        return step
    ((name, fields),) = step.items()
    return {
        name: {key: one if key == "insertBefore" else decimal(one) for key, one in fields.items()}
    }


def _l4_snapshot(chain: Chain, market: Market) -> dict[str, Any]:
    levels = [[_resting_view(market, one) for one in market.queue(side)] for side in (BID, ASK)]
    about = {"coin": market.symbol, "time": _ms(chain), "height": chain.height}
    return {"Snapshot": about | {"levels": levels}}


def _resting_view(market: Market, order: Order) -> dict[str, Any]:
    assert order.status is not None, f"order {order.oid} rests without a status"
    view = _order_view(market.symbol, order.status)
    px, sz = decimal(order.px), decimal(order.sz)
    return view | {"user": hex_of(order.user), "limitPx": px, "sz": sz}


def _order_view(coin: str, one: Status) -> dict[str, Any]:
    px, condition, is_tpsl, waiting = one.trigger or (0, "N/A", False, False)
    return {
        "user": None,
        "coin": coin,
        "side": "BA"[one.side],
        "limitPx": decimal(one.limit_px),
        "sz": decimal(one.sz),
        "oid": one.oid,
        "timestamp": one.placed_ns // NS_PER_MS,
        "triggerCondition": condition,
        "isTrigger": waiting,
        "triggerPx": decimal(px),
        "isPositionTpsl": is_tpsl,
        "reduceOnly": one.reduce_only,
        "orderType": one.order_type,
        "tif": one.tif,
        "cloid": None if one.cloid is None else hex_of(one.cloid),
    }


def _order_updates(chain: Chain, user: User, _: Topic) -> list[Any]:
    updates = []
    for one in user.statuses:
        order = {
            "coin": chain.markets[one.market].symbol,
            "side": "BA"[one.side],
            "limitPx": decimal(one.limit_px),
            "sz": decimal(one.sz),
            "oid": one.oid,
            "timestamp": one.placed_ns // NS_PER_MS,
            "origSz": decimal(one.orig_sz),
        } | ({} if one.cloid is None else {"cloid": hex_of(one.cloid)})
        at = one.time_ns // NS_PER_MS
        updates.append({"order": order, "status": one.status, "statusTimestamp": at})
    return [updates] if updates else []


def _user_fills(chain: Chain, user: User, topic: Topic) -> list[Any]:
    new = user.new.get("fills", 0)
    if not new:
        return []
    return [{"user": topic.about, "fills": _fill_views(chain, user.fills[-new:], topic)}]


def _fundings(chain: Chain, user: User, topic: Topic) -> list[Any]:
    new = user.new.get("fundings", 0)
    entries = [_funding_view(chain, one) for one in user.fundings[-new:]]
    return [{"user": topic.about, "fundings": entries}] if new else []


def _ledger(chain: Chain, user: User, topic: Topic) -> list[Any]:
    new = user.new.get("ledger", 0)
    entries = [_ledger_view(chain, *one) for one in user.ledger[-new:]]
    return [{"user": topic.about, "nonFundingLedgerUpdates": entries}] if new else []


def _events(chain: Chain, user: User, _: Topic) -> list[Any]:
    events: list[Any] = []
    if fills := user.new.get("fills", 0):
        events.append({"fills": [_fill_view(chain, [one]) for one in user.fills[-fills:]]})
    if paid := user.new.get("fundings", 0):
        events += [{"funding": _funding_view(chain, one)} for one in user.fundings[-paid:]]
    if moved := user.new.get("ledger", 0):
        for height, _time, (address_, kind, _amount, details) in user.ledger[-moved:]:
            if kind == "liquidation":
                event = {
                    "lid": height,
                    "liquidator": "0x" + "00" * 20,
                    "liquidated_user": hex_of(address_),
                    "liquidated_ntl_pos": decimal(details.get("notional", 0)),
                    "liquidated_account_value": decimal(details.get("account_value", 0)),
                }
                events.append({"liquidation": event})
    by_system = [
        {"coin": chain.markets[one.market].symbol, "oid": one.oid}
        for one in user.statuses
        if one.status.endswith(("Canceled", "Cancel"))
    ]
    return [*events, {"nonUserCancel": by_system}] if by_system else events


def _newest(chain: Chain, user: User, topic: Topic) -> dict[str, Any]:
    if topic.kind == "userFundings":
        newest = user.fundings[-ENTRIES_SHOWN:]
        return {"fundings": [_funding_view(chain, one) for one in newest]}
    if topic.kind == "userNonFundingLedgerUpdates":
        entries = [_ledger_view(chain, *one) for one in user.ledger[-ENTRIES_SHOWN:]]
        return {"nonFundingLedgerUpdates": entries}
    several = FILLS_KEPT if topic.how else FILLS_SHOWN
    return {"fills": _fill_views(chain, user.fills[-several:], topic)[-FILLS_SHOWN:]}


def _fill_views(chain: Chain, fills: list[UserFill], topic: Topic) -> list[dict[str, Any]]:
    if not topic.how:
        return [_fill_view(chain, [one]) for one in fills]
    return [_fill_view(chain, list(group)) for _, group in groupby(fills, _combined)]


def _combined(one: UserFill) -> tuple[Any, ...]:
    leg = one.leg
    if one.side != one.fill.taker_side:
        return one.height, one.fill.tid, leg.oid
    return one.height, leg.oid, leg.direction, leg.fee_token, str(leg.liquidation)


def _fill_view(chain: Chain, group: list[UserFill]) -> dict[str, Any]:
    first = group[0]
    fill, leg = first.fill, first.leg
    sz, px = sum(one.fill.sz for one in group), fill.px
    if len(group) > 1:
        px = _average(sum(one.fill.px * one.fill.sz for one in group), sz)
    view = {
        "coin": chain.markets[fill.market].symbol,
        "px": decimal(px),
        "sz": decimal(sz),
        "side": "BA"[first.side],
        "time": first.time_ns // NS_PER_MS,
        "startPosition": decimal(leg.start_position),
        "dir": leg.direction,
        "closedPnl": decimal(sum(one.leg.closed_pnl for one in group)),
        "hash": hex_of(fill.hash),
        "oid": leg.oid,
        "crossed": first.side == fill.taker_side,
        "fee": decimal(sum(one.leg.fee for one in group)),
        "tid": fill.tid,
        "feeToken": leg.fee_token,
        "twapId": leg.twap_id,
    }
    if leg.cloid is not None:
        view["cloid"] = hex_of(leg.cloid)
    if leg.liquidation is not None:
        user, mark_px, method = leg.liquidation
        mark = {"liquidatedUser": hex_of(user), "markPx": decimal(mark_px), "method": method}
        view["liquidation"] = mark
    return view


def _average(notional: int, sz: int) -> int:
    whole, rest = divmod(notional, sz)
    return whole + (2 * rest > sz or (2 * rest == sz and whole % 2 == 1))


def _funding_view(chain: Chain, paid: tuple[int, int, int, int, int]) -> dict[str, Any]:
    time_ns, market, amount, position, rate = paid
    return {
        "time": time_ns // NS_PER_MS,
        "coin": chain.markets[market].symbol,
        "usdc": decimal(amount),
        "szi": decimal(position),
        "fundingRate": decimal(rate),
    }


def _ledger_view(chain: Chain, _: int, time_ns: int, fields: list[Any]) -> dict[str, Any]:
    kind, amount, details = fields[1:4]
    told = {"time": time_ns // NS_PER_MS, "hash": _NO_HASH}
    if kind == "liquidation":
        delta: dict[str, Any] = {
            "type": kind,
            "liquidatedNtlPos": decimal(details["notional"]),
            "accountValue": decimal(details["account_value"]),
            "leverageType": "Cross" if details["is_cross"] else "Isolated",
            "liquidatedPositions": [
                {"coin": chain.markets[market].symbol, "szi": decimal(sz)}
                for market, sz in details["positions"]
            ],
        }
        return told | {"delta": delta}
    unsigned = {"deposit": {}, "withdraw": {"nonce": 0, "fee": "0.0"}}
    unsigned["internalTransfer"] = {"fee": "0.0"}
    delta = {"type": kind, "usdc": decimal(abs(amount) if kind in unsigned else amount)}
    delta |= unsigned.get(kind, {})
    for name, value in details.items():
        if name == "market":
            delta["coin"] = chain.markets[value].symbol
        else:
            first, *others = name.split("_")
            key = first + "".join(one.title() for one in others)
            delta[key] = hex_of(value) if isinstance(value, bytes) else value
    return told | {"delta": delta}


_BY_MARKET = {"trades": _trades, "candle": _candle, "bookDelta": _delta, "l4Book": _l4_updates}
_BY_USER = {
    "orderUpdates": _order_updates,
    "userFills": _user_fills,
    "userFundings": _fundings,
    "userNonFundingLedgerUpdates": _ledger,
    "userEvents": _events,
}
