"""Captured mainnet blocks through a running sidecar, seen by clients that are not ours."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect

from l4_client import L4Client
from processes import Serve, Start

FIRST, LAST = 985148182, 985148232

pytestmark = pytest.mark.anyio


async def subscribe(client: ClientConnection, **subscription: Any) -> None:
    await client.send(json.dumps({"method": "subscribe", "subscription": subscription}))
    answer = json.loads(await client.recv())
    assert answer["channel"] == "subscriptionResponse", answer


async def until_last_block(client: ClientConnection) -> list[dict[str, Any]]:
    """Every pushed message until the last block is complete."""
    await subscribe(client, type="blocks")
    messages = []
    while True:
        message = json.loads(await client.recv())
        messages.append(message)
        if message["channel"] == "blocks" and message["height"] == LAST:
            return messages


async def watch_bbo_and_trades(url: str, out: dict[str, Any], ready: anyio.Event) -> None:
    async with connect(url) as client:
        await subscribe(client, type="bbo", coin="BTC")
        await subscribe_second(client, out)
        ready.set()
        out["messages"] += await until_last_block(client)


async def subscribe_second(client: ClientConnection, out: dict[str, Any]) -> None:
    """`trades`, whose answer comes behind the snapshot of `bbo`."""
    out["messages"] = [json.loads(await client.recv())]
    await subscribe(client, type="trades", coin="BTC")


async def watch_l4(url: str, out: dict[str, Any], ready: anyio.Event) -> None:
    async with connect(url, max_size=None) as client:
        await subscribe(client, type="l4Book", coin="BTC")
        follower = L4Client()
        follower.apply(json.loads(await client.recv()))
        ready.set()
        for message in await until_last_block(client):
            if message["channel"] == "l4Book":
                follower.apply(message)
        out["follower"] = follower


async def test_clients_see_every_block_as_it_was(
    captured: Path, captured_data: Path, tmp_path: Path, start: Start, serve: Serve
) -> None:
    (snapshot,) = captured.glob("snapshot_*.json.gz")
    target = tmp_path / "data"
    target.mkdir()
    server = serve(
        "--source-kind", "hyperliquid", "--source-path", str(target),
        "--source-snapshot", str(snapshot), "--server-outbox-bytes-max", "1000000000",
    )  # fmt: skip
    seen: dict[str, Any] = {}
    l4: dict[str, Any] = {}
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for watch, out in ((watch_bbo_and_trades, seen), (watch_l4, l4)):
                ready = anyio.Event()
                tasks.start_soon(watch, server.ws_url, out, ready)
                await ready.wait()
            replay = start("replay", str(captured_data), str(target), "--speed", "1")
    assert replay.wait() == 0
    check_bbo(captured, seen["messages"])
    check_trades(seen["messages"])
    check_l4(l4["follower"], await fresh_l4(server.ws_url))
    assert server.stop() == 0


def check_bbo(captured: Path, messages: list[dict[str, Any]]) -> None:
    """After each block, the newest bbo is what an independent implementation says it is."""
    lines = (captured / "expected_bbo_per_block.jsonl").read_text().splitlines()
    expected = {row["block_number"]: row for row in map(json.loads, lines)}
    bbo, compared = None, 0
    for message in messages:
        if message["channel"] == "bbo":
            bbo = message["data"]["bbo"]
        elif message["channel"] == "blocks" and message["height"] >= FIRST:
            sides = [expected[message["height"]][side] for side in ("bid", "ask")]
            assert [exact(quote) for quote in bbo or ()] == [exact(quote) for quote in sides]
            compared += 1
    assert compared == 51


def exact(quote: dict[str, Any]) -> tuple[Decimal, Decimal, int]:
    return Decimal(quote["px"]), Decimal(quote["sz"]), quote["n"]


def check_trades(messages: list[dict[str, Any]]) -> None:
    pushed = [message for message in messages if message["channel"] == "trades"]
    trades = [trade for message in pushed for trade in message["data"]]
    assert len(trades) == 11
    assert all(trade["coin"] == "BTC" and len(trade["users"]) == 2 for trade in trades)
    assert pushed[0]["prev"] is None  # the node's snapshot does not tell
    assert [m["prev"] for m in pushed[1:]] == [m["height"] for m in pushed[:-1]]


async def fresh_l4(url: str) -> L4Client:
    """What the server says at the end to somebody new."""
    async with connect(url, max_size=None) as client:
        await subscribe(client, type="l4Book", coin="BTC")
        fresh = L4Client()
        fresh.apply(json.loads(await client.recv()))
        return fresh


def check_l4(follower: L4Client, fresh: L4Client) -> None:
    """Snapshot plus updates is the server's own book: every order, in queue order, with its
    size.
    """
    assert follower.updates == 49  # two of the 51 blocks have no BTC event
    assert len(follower.orders) == 51_336
    assert follower.queues() == fresh.queues()
    assert follower.orders == fresh.orders
