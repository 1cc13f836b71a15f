"""What goes wrong is said, rebuilt, and costs nobody else anything."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from rig import Node, client_of, sidecar_of
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.node.snapshot import MarketRow, RestingRow, write_snapshot
from sidecar.node.transitions import BID, BookCheck
from sidecar.recovery import repair

pytestmark = pytest.mark.anyio


def states(message: Any) -> dict[str, str]:
    assert message["channel"] == "status"
    return {coin: one["state"] for coin, one in message["data"]["coins"].items()}


def steps_to_check(node: Node, market: int) -> None:
    """Blocks up to the next check of a market."""
    while not any(
        isinstance(one, BookCheck) and one.market == market
        for one in node.blocks[node.step() - 1].transitions
    ):
        pass


async def test_open_orders_are_told_anew_once_their_book_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "REBUILD_POLL_S", 0.3)
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        node.snapshot()
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            market = sidecar.state.by_symbol["TOYOTA"]
            order = list(market.book.queue(BID))[-1]  # far from where trades are
            user = "0x" + order.user.hex()
            await client.subscribe(type="openOrders", user=user)
            await client.next()
            order.sz += 1
            steps_to_check(node, market.id)
            while not sidecar.state.faults:
                await anyio.sleep(0.001)
            status, answer = await sidecar.ask(type="openOrders", user=user)
            assert status == 503
            assert "a book with orders of this user is being rebuilt" in answer["msg"]
            while sidecar.state.faults:
                await anyio.sleep(0.01)
            newest = (await client.quiet(0.3))[-1]
            status, answer = await sidecar.ask(type="frontendOpenOrders", user=user)
            assert (newest["channel"], newest["data"]["orders"]) == ("openOrders", answer)


async def test_one_corrupt_order_costs_its_coin_a_resync_and_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repair, "REBUILD_POLL_S", 0.3)  # so that what is wrong can be seen
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        node.snapshot()
        node.step(25)
        async with sidecar_of(node) as sidecar, client_of(sidecar) as client:
            other = sidecar.state.by_symbol["SONY"]
            market = sidecar.state.by_symbol["TOYOTA"]
            topics: list[dict[str, Any]] = [
                {"type": "status"},
                {"type": "l4Book", "coin": "TOYOTA"},
                {"type": "l2Book", "coin": "TOYOTA"},
                {"type": "l4Book", "coin": "SONY"},
            ]
            for subscription in topics:
                await client.subscribe(**subscription)
                await client.next()
            next(iter(market.book.orders.values())).sz += 1
            steps_to_check(node, market.id)
            await sidecar.reaches(node.chain.height)
            seen = await client.until("status")
            assert states(seen[-1]) == {"TOYOTA": "resyncing"}
            told = sidecar.app.report()["markets"]
            assert (told["served"], told["withheld"].keys()) == (4, {"TOYOTA"})
            said = seen[-1]["data"]["coins"]["TOYOTA"]["reason"]
            assert said.startswith("the node checks its book: ")
            wrong_at = seen[-1]["height"]
            status, answer = await sidecar.ask(type="l2Book", coin="TOYOTA")
            assert status == 503
            assert "being rebuilt: the node checks its book" in answer["msg"]
            assert (await sidecar.ask(type="l2Book", coin="SONY"))[0] == 200
            height = node.step(5)
            await sidecar.reaches(height)
            assert sidecar.state.faults.books.keys() == {market.id}
            while sidecar.state.faults:
                await anyio.sleep(0.01)
            node.step(5)
            after = await client.quiet(0.6)
            _check_what_was_sent(after, wrong_at)
            assert other.fault is None
            assert queue(sidecar.state, "TOYOTA") == node_queue(node, "TOYOTA")


async def test_a_snapshot_without_the_market_is_no_place_to_rebuild_its_book_from(
    tmp_path: Path,
) -> None:
    with Node(tmp_path / "ipc") as node:
        node.step(50)
        node.snapshot()
        node.step(10)
        async with sidecar_of(node) as sidecar:
            market = sidecar.state.by_symbol["TOYOTA"]
            rows = (row for row in snapshot_rows(node.chain) if isinstance(row, MarketRow))
            others = [row for row in rows if row.listing.market != market.id]
            write_snapshot(node.ipc.snapshots, snapshot_header(node.chain), others)
            next(iter(market.book.orders.values())).sz += 1
            sidecar.state.mark_book(market, "somebody found it to be wrong")
            while sidecar.state.faults:
                await anyio.sleep(0.01)
            assert queue(sidecar.state, "TOYOTA") == node_queue(node, "TOYOTA")


def _check_what_was_sent(messages: list[Any], wrong_at: int) -> None:
    of_coin = [one for one in messages if _coin(one) == "TOYOTA"]
    gap, *rest = [one for one in of_coin if one["channel"] != "l2Book"]
    assert gap["channel"] == "gap"
    assert gap["data"]["subscription"] == {"type": "l4Book", "coin": "TOYOTA"}
    assert gap["data"]["from"] == wrong_at
    assert "Snapshot" in rest[0]["data"]
    assert all("Updates" in one["data"] for one in rest[1:])
    assert rest[1]["prev"] <= rest[0]["height"] < rest[1]["height"]
    others = [one for one in messages if _coin(one) == "SONY"]
    assert all("Updates" in one["data"] and "state" not in one for one in others)
    heights = [one["height"] for one in others]
    assert [one["prev"] for one in others[1:]] == heights[:-1]
    assert states([one for one in messages if one["channel"] == "status"][-1]) == {}


def _coin(message: Any) -> str | None:
    data = message["data"]
    if message["channel"] == "gap":
        return str(data["subscription"].get("coin"))
    if message["channel"] == "l4Book":
        inner = data.get("Snapshot") or data["Updates"]
        return str(inner.get("coin") or _coin_of_updates(inner))
    return data.get("coin") and str(data["coin"])


def _coin_of_updates(updates: Any) -> str:
    views = [one["order"] for one in updates["order_statuses"]] + updates["book_diffs"]
    return str(views[0]["coin"])


def queue(state: Any, symbol: str) -> list[tuple[int, int, int]]:
    book = state.by_symbol[symbol].book
    return [(one.oid, one.px, one.sz) for one in book.queue(BID)]


def node_queue(node: Node, symbol: str) -> list[tuple[int, int, int]]:
    market = next(one for one in node.chain.config.listed if one.symbol == symbol)
    rows = (row for row in snapshot_rows(node.chain) if isinstance(row, RestingRow))
    return [(r.oid, r.px, r.sz) for r in rows if r.market == market.id and r.side == BID]
