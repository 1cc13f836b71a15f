"""Clients that take compressed messages and clients that don't see the same, over real sockets."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect

from rig import Node, sidecar_of

pytestmark = pytest.mark.anyio


async def subscribe(websocket: Any, wanted: list[Any]) -> list[Any]:
    """All messages up to the last response."""
    for subscription in wanted:
        await websocket.send(json.dumps({"method": "subscribe", "subscription": subscription}))
    found = list[Any]()
    with anyio.fail_after(20):
        while [one["channel"] for one in found].count("subscriptionResponse") < len(wanted):
            found.append(json.loads(await websocket.recv()))
    return found


async def read(websocket: Any, until: int) -> list[Any]:
    """All messages up to that height."""
    found = list[Any]()
    with anyio.fail_after(20):
        while not found or found[-1].get("height", 0) < until or found[-1]["channel"] != "blocks":
            found.append(json.loads(await websocket.recv()))
    return found


@pytest.mark.parametrize("topics", [1, 3])
async def test_both_kinds_of_clients_see_the_same(tmp_path: Path, topics: int) -> None:
    wanted = [
        {"type": "blocks"},
        {"type": "l2Book", "coin": "SONY"},
        {"type": "trades", "coin": "NTT"},
    ]
    with Node(tmp_path) as node:
        node.step(20)
        async with (
            sidecar_of(node) as sidecar,
            connect(sidecar.ws_url, compression=None) as plain,
            connect(sidecar.ws_url) as deflate,
        ):
            assert [one.name for one in deflate.protocol.extensions] == ["permessage-deflate"]
            assert plain.protocol.extensions == []
            seen = [await subscribe(websocket, wanted[:topics]) for websocket in (plain, deflate)]
            for _ in range(30):
                await sidecar.reaches(node.step())
            for messages, websocket in zip(seen, (plain, deflate), strict=True):
                messages.extend(await read(websocket, node.chain.height))
            assert seen[0] == seen[1]


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.step(2)
        async with (
            sidecar_of(node, server__deflate="false") as sidecar,
            connect(sidecar.ws_url) as websocket,
        ):
            assert websocket.protocol.extensions == []


async def test_what_a_client_compresses_is_understood(tmp_path: Path) -> None:
    with Node(tmp_path) as node:
        node.step(2)
        async with sidecar_of(node) as sidecar, connect(sidecar.ws_url) as websocket:
            padding = "x" * 5_000
            subscription = {"type": "blocks", "padding": padding}
            await websocket.send(json.dumps({"method": "subscribe", "subscription": subscription}))
            answer = json.loads(await websocket.recv())
            assert answer["channel"] in {"subscriptionResponse", "error"}
            await websocket.send(json.dumps({"method": "ping", "padding": "y" * 70_000}))
            with pytest.raises(Exception, match="1009"):
                while True:
                    await websocket.recv()
