"""Queries of one address take their share of the server's time, and no more."""

import json
from typing import Any

import anyio
import anyio.to_thread
import pytest
import requests
from websockets.asyncio.client import connect

from blocks import bid
from sidecar.errors import Limited
from sidecar.server.query_time import QueryTime
from test_sessions import running, say, subscribe

pytestmark = pytest.mark.anyio
L4 = {"type": "l4Snapshot", "coin": "TOYOTA"}


class Clock:
    """Both clocks by hand: seconds that pass, and seconds of work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.worked = 0.0
        monkeypatch.setattr("sidecar.server.query_time.time", self)

    def monotonic(self) -> float:
        return self.now

    def thread_time_ns(self) -> int:
        return round(self.worked * 1e9)


def test_whoever_has_used_his_share_up_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, shares = Clock(monkeypatch), QueryTime(0.1)
    for _ in range(5):
        with shares.of("1.2.3.4"):
            clock.worked += 1.0
    with pytest.raises(Limited), shares.of("1.2.3.4"):
        raise AssertionError("it is not begun")
    with shares.of("5.6.7.8"):
        clock.worked += 1.0  # others have their own
    clock.now += 1.0
    with shares.of("1.2.3.4"):
        clock.worked += 0.3  # one may take longer than what was left: that is a debt
    clock.now += 1.9
    with pytest.raises(Limited), shares.of("1.2.3.4"):
        pass
    clock.now += 0.2
    with shares.of("1.2.3.4"):
        pass


def test_what_failed_took_its_time_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, shares = Clock(monkeypatch), QueryTime(0.1)
    with pytest.raises(KeyError), shares.of("1.2.3.4"):
        clock.worked += 6.0
        raise KeyError
    with pytest.raises(Limited), shares.of("1.2.3.4"):
        pass


async def test_over_http_and_websocket_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.server.query_time.QUERY_BURST_S", 0.05)
    async with running(query_share_per_ip=0.000_001) as sidecar:
        sidecar.push(*(bid(oid, 100 + oid % 50) for oid in range(1, 3_001)))
        url = f"http://127.0.0.1:{sidecar.server.port}/info"

        def ask() -> Any:
            return requests.post(url, json.dumps(L4), timeout=10)

        answers = [await anyio.to_thread.run_sync(ask) for _ in range(50)]
        codes = [answer.status_code for answer in answers]
        assert codes[0] == 200
        assert codes[-1] == 429
        assert answers[-1].headers["Retry-After"] == "1"
        async with connect(sidecar.url) as client:
            request = {"type": "info", "payload": L4}
            answer = await say(client, method="post", id=1, request=request)
            assert answer["data"]["response"]["payload"].startswith("429: Queries of this address")
            refused = await subscribe(client, type="l4Book", coin="TOYOTA")
            assert refused["channel"] == "error"
            assert sidecar.hub.topics == 0
            assert await say(client, method="ping") == {"channel": "pong"}


async def test_who_comes_back_has_a_share_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what he asked for before keeps him from nothing; but to come back from nowhere, again
    and again, is no way to snapshots without end.
    """
    monkeypatch.setattr("sidecar.server.query_time.QUERY_BURST_S", 0.000_001)
    async with running(query_share_per_ip=0.000_001) as sidecar, connect(sidecar.url) as client:
        sidecar.push(bid(1, 100))
        book = {"type": "l4Book", "coin": "TOYOTA"}
        await subscribe(client, **book)
        await client.recv()
        resume = {"method": "subscribe", "subscription": book, "resume": {"height": 10**9}}
        told = []
        for _ in range(2):
            await say(client, method="unsubscribe", subscription=book)
            told.append(await say(client, **resume))
            told += [json.loads(await client.recv()) for _ in range(2 if len(told) < 2 else 0)]
        channels = [one["channel"] for one in told]
        assert channels == ["subscriptionResponse", "gap", "l4Book", "error"]
