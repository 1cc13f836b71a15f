"""Distinct topics: of one address no more than its share, and what every client needs for all."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect

from blocks import ALICE, bid
from sidecar.api.channels import REGISTRY
from sidecar.limits import L2_LEVELS_MAX, TOPIC_WEIGHTS
from sidecar.node.transitions import BookRemoved
from sidecar.state.candles import INTERVALS
from test_sessions import Sidecar, running, say, subscribe

pytestmark = pytest.mark.anyio

USERS = (
    *("orderUpdates", "userEvents", "userFills", "userFundings", "userNonFundingLedgerUpdates"),
    *("openOrders", "clearinghouseState", "webData2"),
)
FULL = "the connections of one address may have 3 distinct subscriptions"
COIN = {"coin": "TOYOTA"}


def user(number: int, kind: str = "orderUpdates") -> dict[str, Any]:
    return {"type": kind, "user": f"0x{number:040x}"}


@asynccontextmanager
async def client_of(sidecar: Sidecar, address: str) -> AsyncIterator[ClientConnection]:
    async with connect(sidecar.url, local_addr=(address, 0)) as client:
        yield client


async def answer(client: ClientConnection, **subscription: Any) -> Any:
    """What is said to it; what other topics say is passed over."""
    told = await subscribe(client, **subscription)
    while told["channel"] not in ("subscriptionResponse", "error"):
        told = json.loads(await client.recv())
    return told


async def taken(client: ClientConnection, **subscription: Any) -> bool:
    """Whether it is read from now on."""
    return bool((await answer(client, **subscription))["channel"] == "subscriptionResponse")


async def refusal(client: ClientConnection, **subscription: Any) -> str:
    told = await answer(client, **subscription)
    return str(told["data"]) if told["channel"] == "error" else ""


async def test_all_connections_of_an_address_share_what_it_may_have() -> None:
    async with (
        running(topics_per_ip=3) as sidecar,
        client_of(sidecar, "127.0.0.1") as one,
        client_of(sidecar, "127.0.0.1") as two,
        client_of(sidecar, "127.0.0.2") as other,
    ):
        assert [await taken(one, **user(number)) for number in (1, 2)] == [True, True]
        assert [await taken(two, **user(number)) for number in (1, 2, 3)] == [True] * 3
        assert await subscribe(two, **user(4)) == {"channel": "error", "data": FULL}
        assert sidecar.hub.topics == 3  # nothing was opened for it
        assert [await taken(other, **user(number)) for number in (4, 5, 6)] == [True] * 3
        assert await taken(one, **user(3))  # the address has it already


async def test_what_is_not_read_any_more_is_given_back() -> None:
    async with running(topics_per_ip=3) as sidecar, client_of(sidecar, "127.0.0.1") as one:
        async with client_of(sidecar, "127.0.0.1") as two:
            assert [await taken(one, **user(number)) for number in (1, 2)] == [True, True]
            assert [await taken(two, **user(number)) for number in (1, 3)] == [True, True]
            for _ in range(2):  # what was refused takes nothing
                assert not await taken(one, **user(4))
            await say(one, method="unsubscribe", subscription=user(1))  # two still reads it
            assert not await taken(one, **user(4))
        shares = sidecar.server._services.topic_shares
        while shares.weight("127.0.0.1") > 1:
            await anyio.sleep(0.005)
        assert [await taken(one, **user(number)) for number in (4, 5, 6)] == [True, True, False]
        await one.close()
        while shares.weight("127.0.0.1"):
            await anyio.sleep(0.005)
        assert not shares._shares


async def test_dear_topics_count_as_several() -> None:
    async with running(topics_per_ip=11) as sidecar, client_of(sidecar, "127.0.0.1") as client:
        assert await taken(client, **user(1, "openOrders"))
        assert await taken(client, type="l2Book", **COIN)
        assert await taken(client, type="l2Book", nLevels=5, **COIN)
        refused = await refusal(client, **user(2, "openOrders"))
        assert refused == (
            "the connections of one address may have 11 distinct subscriptions; "
            f"openOrders:0x{2:040x} counts as 4"
        )
        assert await taken(client, type="l2Book", nLevels=6, **COIN)
        assert not await taken(client, type="trades", **COIN)


async def test_who_has_many_orders_is_dear_to_read() -> None:
    """As many as when the first one asked: what is given back is what was taken."""
    async with running(topics_per_ip=30) as sidecar, client_of(sidecar, "127.0.0.1") as client:
        sidecar.push(*(bid(oid, 100) for oid in range(1, 101)))
        alice = {"user": "0x" + ALICE.hex()}
        assert "counts as 50" in await refusal(client, type="webData2", **alice)
        assert await taken(client, type="openOrders", **alice)
        shares = sidecar.server._services.topic_shares
        assert shares.weight("127.0.0.1") == 4 + 25
        assert not await taken(client, **user(1, "openOrders"))
        sidecar.push(*(BookRemoved(1, oid) for oid in range(1, 101)))
        request = {"method": "unsubscribe", "subscription": {"type": "openOrders", **alice}}
        await client.send(json.dumps(request))
        while shares.weight("127.0.0.1"):
            await anyio.sleep(0.005)


async def test_what_everybody_needs_is_had_though_others_hold_all_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.server.subscriptions.TOPICS_MAX", 5)
    async with (
        running() as sidecar,
        client_of(sidecar, "127.0.0.1") as greedy,
        client_of(sidecar, "127.0.0.2") as other,
    ):
        assert [await taken(greedy, **user(number)) for number in range(1, 7)] == [True] * 5 + [
            False
        ]
        for kind in ("status", "blocks", "allMids"):
            assert await taken(other, type=kind)
        for kind in ("trades", "bookDelta", "l4Book", "l2Book", "bbo", "activeAssetCtx"):
            assert await taken(other, type=kind, **COIN)
        assert await taken(other, type="candle", interval="1m", **COIN)
        assert await taken(other, **user(1))  # that is open already
        refused = await refusal(other, type="l2Book", nLevels=7, **COIN)
        assert "too many distinct subscriptions" in refused
        await say(greedy, method="unsubscribe", subscription=user(5))
        sidecar.hub.tick(float("inf"))  # nobody has come back to it
        assert await taken(other, type="l2Book", nLevels=7, **COIN)


async def test_what_is_not_counted_has_a_bound_by_the_markets() -> None:
    """20 of each, and 3: whoever asks for all there are asks for no more than those."""
    async with running() as sidecar:
        plain = ("trades", "bookDelta", "l4Book", "bbo", "activeAssetCtx", "l2Book")
        everything: list[dict[str, Any]] = [
            *({"type": kind} for kind in ("status", "blocks", "allMids")),
            *({"type": kind, **COIN} for kind in plain),
            *({"type": "candle", "interval": interval, **COIN} for interval in INTERVALS),
            *({"type": "l2Book", "nLevels": n, **COIN} for n in range(1, L2_LEVELS_MAX + 1)),
            *({"type": "l2Book", "nSigFigs": n, **COIN} for n in (2, 3, 4, 5)),
            *(user(1, kind) for kind in USERS),
            {"type": "activeAssetData", "user": user(1)["user"], **COIN},
        ]
        channels = {channel.name for channel in REGISTRY}
        assert {one["type"] for one in everything} == channels
        topics = [sidecar.channels.resolve(one) for one in everything]
        assert len({topic.name for topic in topics if topic.common}) == 20 + 3
        assert set(TOPIC_WEIGHTS) <= channels
