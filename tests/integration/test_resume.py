"""Whoever comes back reads on as if it had never been away: here, after a restart, elsewhere."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rig import Client, Node, client_of, sidecar_of
from sidecar import limits
from sidecar.node.transitions import Fill
from sidecar.server import hub, recent

pytestmark = pytest.mark.anyio

MARKET_TOPICS: list[dict[str, Any]] = [
    {"type": "trades", "coin": "TOYOTA"},
    {"type": "l4Book", "coin": "TOYOTA"},
]
CHANNELS = ("trades", "l4Book", "bookDelta", "candle", "orderUpdates", "userFills", "user")


def all_topics(node: Node) -> list[dict[str, Any]]:
    """One of each channel that can be resumed and that the chain keeps busy; the user is one that
    trades a lot.
    """
    traded = Counter(
        leg.user
        for made in node.blocks
        for fill in made.transitions
        if isinstance(fill, Fill)
        for leg in (fill.buyer, fill.seller)
        if leg is not None
    )
    user = "0x" + traded.most_common(1)[0][0].hex()
    return [
        *MARKET_TOPICS,
        {"type": "bookDelta", "coin": "TOYOTA"},
        {"type": "candle", "coin": "TOYOTA", "interval": "1m"},
        {"type": "candle", "coin": "TOYOTA", "interval": "1h"},
        *({"type": kind, "user": user} for kind in ("orderUpdates", "userFills", "userEvents")),
        *({"type": kind, "user": user} for kind in ("userFundings", "userNonFundingLedgerUpdates")),
    ]


def kind(message: Any) -> str:
    return str(message["channel"])


def is_update(message: Any) -> bool:
    """Not a gap, not a snapshot, not the status."""
    data = message["data"]
    return (
        kind(message) not in ("gap", "status", "blocks")
        and not (isinstance(data, dict) and ("Snapshot" in data or data.get("isSnapshot")))
        and not (isinstance(data, dict) and data.get("snapshot"))
    )


def by_topic(messages: list[Any], channel: str) -> list[Any]:
    """Those of a channel, topic by topic (of candles there are two) in their order."""
    found = sequence([one for one in messages if kind(one) == channel])
    return sorted(found, key=lambda one: one["data"]["i"]) if channel == "candle" else found


def sequence(messages: list[Any]) -> list[Any]:
    """What counts of messages: everything but a `prev` that could not be told, after a restart."""
    return [{**one, "prev": None} for one in messages if is_update(one)]


async def to_height(client: Client, height: int) -> list[Any]:
    """All messages up to the heartbeat of that height, and what is run again meanwhile."""
    seen = await client.until("blocks")
    while seen[-1]["height"] < height:
        seen += await client.until("blocks")
    return seen + await client.quiet(0.25)


async def start_reading(
    client: Client, resume_at: int | None, topics: list[dict[str, Any]] = MARKET_TOPICS
) -> None:
    for subscription in topics:
        await client.subscribe(resume_at, **subscription)
    await client.subscribe(type="blocks")


@pytest.mark.parametrize("where", ["recent", "log"])
async def test_random_absences_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "log":  # nothing of late is kept: everything is run again
        monkeypatch.setattr(hub, "TOPIC_LINGER_S", 0.0)
        monkeypatch.setattr(hub, "TOPICS_LINGERING_MAX", 0)
    rng = random.Random(4)
    with Node(tmp_path / "ipc", segment_blocks=40, funding_ms=2_000) as node:
        node.step(70)
        async with sidecar_of(node) as first, sidecar_of(node) as second:
            node.snapshot()  # books are run again from here on
            async with client_of(first) as steady:
                topics = all_topics(node)
                await start_reading(steady, None, topics)
                height, mine = node.chain.height, list[Any]()
                for _ in range(8):
                    side = rng.choice((first, second))
                    async with client_of(side) as client:
                        before = side.resumptions
                        await start_reading(client, height, topics)
                        target = node.step(rng.randrange(1, 25))
                        await side.resumes(before + len(topics))
                        mine += await to_height(client, target)
                        height = target
                    node.step(rng.randrange(1, 30))
                    await first.reaches(node.chain.height)
                    await second.reaches(node.chain.height)
                async with client_of(second) as client:
                    before = second.resumptions
                    await start_reading(client, height, topics)
                    target = node.step()
                    await second.resumes(before + len(topics))
                    mine += await to_height(client, target)
                whole = await to_height(steady, node.chain.height)
            assert not [one for one in mine if kind(one) == "gap"]
            for channel in CHANNELS:
                expected = by_topic(whole, channel)
                assert by_topic(mine, channel) == expected, channel
                assert len(expected) > 20, channel


async def test_a_restarted_sidecar_gives_what_was_missed(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(40)
        async with sidecar_of(node) as before, client_of(before) as client:
            await start_reading(client, None)
            seen = await to_height(client, node.step(20))
        node.step(10)
        async with sidecar_of(node) as after, client_of(after) as client:
            await start_reading(client, 60)
            missed = await to_height(client, node.step(5))
        async with sidecar_of(node) as fresh, client_of(fresh) as client:
            await start_reading(client, 40)
            whole = await to_height(client, node.step(1))
        assert _by_channel(seen + missed, 75) == _by_channel(whole, 75)


def _by_channel(messages: list[Any], up_to: int) -> dict[str, list[Any]]:
    chosen = [one for one in sequence(messages) if one["height"] <= up_to]
    return {name: [one for one in chosen if kind(one) == name] for name in ("trades", "l4Book")}


async def test_prev_chains_across_a_resumption(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(60)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            await client.subscribe(20, type="l4Book", coin="TOYOTA")
            await client.subscribe(type="blocks")
            node.step(5)
            messages = [one for one in await client.quiet(0.4) if kind(one) == "l4Book"]
            heights = [one["height"] for one in messages]
            assert heights == sorted(set(heights))
            assert heights[0] > 20
            assert heights[-1] == 65
            assert [one["prev"] for one in messages[1:]] == heights[:-1]
            assert messages[0]["prev"] <= 20


async def test_what_no_log_holds_is_a_gap_and_a_fresh_snapshot(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc", segment_blocks=10) as node:
        node.step(25)
        node.snapshot()
        node.step(30)
        node.writer.retire(25)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            for subscription in MARKET_TOPICS:
                await client.subscribe(3, **subscription)
            seen = await client.quiet(0.5)
            gaps = {
                one["data"]["subscription"]["type"]: one["data"]
                for one in seen[:]
                if kind(one) == "gap"
            }
            assert gaps.keys() == {"trades", "l4Book"}
            assert {(gap["from"], gap["to"]) for gap in gaps.values()} == {(4, 55)}
            assert "Snapshot" in next(one for one in seen if kind(one) == "l4Book")["data"]
            node.step(3)
            assert [one["height"] for one in await client.quiet(0.3) if kind(one) == "l4Book"]


async def test_a_sidecar_that_is_not_there_yet_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(30)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            await client.subscribe(34, type="l4Book", coin="TOYOTA")
            await client.subscribe(type="blocks")
            node.step(8)
            seen = [one for one in await client.quiet(0.4) if kind(one) == "l4Book"]
            assert seen[0]["prev"] <= 34 < seen[0]["height"]
            assert [one["prev"] for one in seen[1:]] == [one["height"] for one in seen[:-1]]
            assert seen[-1]["height"] == sidecar.state.by_symbol["TOYOTA"].orders_height
            monkeypatch.setattr("sidecar.recovery.waiting.RESUME_AHEAD_S", 0.1)
            await client.subscribe(9_000, type="trades", coin="TOYOTA")
            gap = (await client.until("gap"))[-1]["data"]
            assert gap["reason"] == "this sidecar is at height 38, below 9000"


async def test_unsubscribing_or_leaving_while_it_waits_ends_it(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(30)
        async with sidecar_of(node) as sidecar:
            async with client_of(sidecar) as client:
                await client.subscribe(99, type="trades", coin="TOYOTA")
                await client.say(
                    method="unsubscribe", subscription={"type": "trades", "coin": "TOYOTA"}
                )
                assert (await client.next())["data"]["method"] == "unsubscribe"
                await client.subscribe(99, type="trades", coin="TOYOTA")
            await sidecar.reaches(node.step(80))
            async with client_of(sidecar) as client:
                await client.subscribe(type="trades", coin="TOYOTA")
                node.step(20)
                assert await client.quiet()


async def test_a_height_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(10)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            for height in (-1, 1 << 64, "7", None):
                await client.say(
                    method="subscribe",
                    subscription={"type": "trades", "coin": "TOYOTA"},
                    resume={"height": height},
                )
                answer = await client.next()
                assert kind(answer) == "error", answer
                assert "height" in answer["data"]


async def test_frames_of_late_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recent.RecentFrames.__init__, "__defaults__", (20_000,))
    assert limits.RECENT_BYTES_MAX > 20_000
    with Node(tmp_path / "ipc") as node:
        node.step(40)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as steady:
            await start_reading(steady, None)
            whole = await to_height(steady, node.step(60))
            async with client_of(sidecar) as client:
                await start_reading(client, 40)
                again = await to_height(client, node.step(2))
            assert _by_channel(again, 100) == _by_channel(whole, 100)
