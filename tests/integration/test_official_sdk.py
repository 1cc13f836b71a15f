"""The official Python client, unmodified, against the development chain."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hyperliquid.info import Info

from processes import Serve, Server, Start

SYMBOLS = {"TOYOTA", "SONY", "MUFG", "NTT", "NINTENDO"}


@pytest.fixture
def server(tmp_path: Path, start: Start, serve: Serve) -> Server:
    start("devnet", "--path", str(tmp_path / "ipc"), "--block-ms", "20")
    server = serve("--source-path", str(tmp_path / "ipc"))
    deadline = time.monotonic() + 20
    while set(server.info(type="allMids")) != SYMBOLS:  # the chain's first blocks fill its books
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return server


@pytest.fixture
def info(server: Server) -> Iterator[Info]:
    client = Info(base_url=server.url)
    yield client
    client.disconnect_websocket()
    client.ws_manager.join()
    client.session.close()


def test_sdk_constructs_and_queries(info: Info) -> None:
    meta = info.meta()
    assert {asset["name"] for asset in meta["universe"]} == SYMBOLS
    assert info.name_to_asset("TOYOTA") == 0
    mids = info.all_mids()
    assert set(mids) == SYMBOLS
    assert all(float(mid) > 0 for mid in mids.values())
    book = info.l2_snapshot("SONY")
    bids, asks = book["levels"]
    assert book["coin"] == "SONY"
    assert 0 < float(bids[0]["px"]) < float(asks[0]["px"])
    assert info.spot_meta() == {"universe": [], "tokens": []}


def test_sdk_gets_callbacks(info: Info) -> None:
    received: dict[str, queue.Queue[Any]] = {}
    for kind in ("l2Book", "bbo", "trades", "allMids"):
        received[kind] = queue.Queue()
        subscription = {"type": kind} | ({} if kind == "allMids" else {"coin": "TOYOTA"})
        info.subscribe(subscription, received[kind].put)
    first = {kind: messages.get(timeout=20) for kind, messages in received.items()}
    assert {kind: message["channel"] for kind, message in first.items()} == {
        kind: kind for kind in received
    }
    bids, asks = first["l2Book"]["data"]["levels"]
    assert len(bids) == len(asks) == 20
    assert first["bbo"]["data"]["coin"] == "TOYOTA"
    assert set(first["allMids"]["data"]["mids"]) == SYMBOLS
    trade = first["trades"]["data"][0]
    assert trade["side"] in {"A", "B"}
    assert len(trade["users"]) == 2
    for kind, messages in received.items():  # and they go on
        later = messages.get(timeout=20)
        assert later["height"] > first[kind]["height"]
