"""The local info server: snapshots as a Hyperliquid node writes them, over real sockets."""

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from blocks import ALICE, BOB, PX, SONY, TOYOTA, opened
from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.hyperliquid import info_server
from sidecar.devnet.hyperliquid.info_server import InfoServer
from sidecar.devnet.hyperliquid.snapshot import l4_snapshot
from sidecar.devnet.rows import snapshot_header, snapshot_rows
from sidecar.errors import ConfigInvalid
from sidecar.limits import REQUEST_BODY_BYTES_MAX
from sidecar.node.hyperliquid import HyperliquidSnapshot
from sidecar.node.snapshot import (
    AccountRow,
    MarketRow,
    NodeRow,
    RestingRow,
    Row,
    SnapshotHeader,
    TradeRow,
    TriggerRow,
)
from sidecar.node.transitions import ASK, BID, Trigger

A, B = "0x" + "aa" * 20, "0x" + "bb" * 20
NS_PER_MS = 1_000_000
ADDED_NS = 1_778_002_736_649 * NS_PER_MS
HEADER = SnapshotHeader("node-snapshot/1", "devnet-1", 77, ADDED_NS)
ALL = {"users": True, "triggers": True, "height": True}
replace = msgspec.structs.replace


def resting(oid: int, user: bytes = ALICE, side: int = BID, px: int = 100) -> RestingRow:
    status = replace(opened(oid, side, px, sz=3), user=user)
    return RestingRow(1, oid, user, side, px * PX, 2 * PX, ADDED_NS, status)


def waiting(oid: int, side: int = ASK, parent: int = 0) -> TriggerRow:
    trigger = Trigger(90 * PX, "Price below 90")
    status = replace(opened(oid, side), tif=None, trigger=trigger, order_type="Stop Market")
    return TriggerRow(status, parent)


# In the queue at 100 a triggered order with a low id stands last.
ROWS: list[Row] = [
    MarketRow(TOYOTA),
    resting(5),
    resting(8, BOB),
    resting(2),
    resting(3, px=99),
    resting(6, BOB, ASK, px=101),
    MarketRow(SONY),
    waiting(10),
    waiting(11, BID),
    waiting(12, parent=5),
    AccountRow(ALICE, 5),
    NodeRow("devnet", b""),
]


def load(path: Path, **wanted: bool) -> Any:
    path.write_bytes(l4_snapshot(HEADER, ROWS, **(ALL | wanted)))
    return json.loads(path.read_bytes())


def oids(entries: list[Any]) -> list[int]:
    return [order["oid"] for _, order in entries]


def test_a_snapshot_has_every_coin_in_queue_order_and_triggers_behind(tmp_path: Path) -> None:
    height, coins = load(tmp_path / "all")
    assert height == 77
    assert [coin for coin, _ in coins] == ["TOYOTA", "SONY"]
    bids, asks = coins[0][1]
    assert oids(bids) == [5, 8, 2, 3, 11]
    assert oids(asks) == [6, 10]
    assert coins[1][1] == [[], []]
    assert [user for user, _ in bids] == [A, B, A, A, A]


def test_the_orders_of_a_snapshot(tmp_path: Path) -> None:
    _, coins = load(tmp_path / "all")
    order = coins[0][1][0][1][1]
    assert json.dumps(order, separators=(",", ":")) == (
        '{"coin":"TOYOTA","side":"B","limitPx":"100.0","sz":"2.0","oid":8,'
        '"timestamp":1778002736649,"triggerCondition":"N/A","isTrigger":false,"triggerPx":"0.0",'
        '"children":[],"isPositionTpsl":false,"reduceOnly":false,"orderType":"Limit",'
        '"origSz":"3.0","tif":"Gtc","cloid":null}'
    )
    trigger = coins[0][1][1][1][1]
    assert (trigger["isTrigger"], trigger["triggerPx"], trigger["tif"]) == (True, "90.0", None)


def test_who_waits_for_a_parent_is_within_it(tmp_path: Path) -> None:
    for triggers in (True, False):
        _, coins = load(tmp_path / "all", triggers=triggers)
        (child,) = coins[0][1][0][0][1]["children"]
        assert (child["oid"], child["isTrigger"]) == (12, True)


def test_without_triggers_users_or_height(tmp_path: Path) -> None:
    coins = load(tmp_path / "bare", users=False, triggers=False, height=False)
    bids, asks = coins[0][1]
    assert [order["oid"] for order in bids] == [5, 8, 2, 3]
    assert [order["oid"] for order in asks] == [6]


def test_an_order_of_which_only_the_book_is_known() -> None:
    row = replace(resting(4), status=None)
    written = json.loads(l4_snapshot(HEADER, [MarketRow(TOYOTA), row], **ALL))
    order = written[1][0][1][0][0][1]
    assert (order["oid"], order["limitPx"], order["sz"], order["origSz"]) == (
        4, "100.0", "2.0", "2.0",
    )  # fmt: skip


def details(rows: list[RestingRow], symbols: dict[int, str]) -> list[Any]:
    """What there is to compare, the markets by symbol."""
    orig_szs = [row.status and row.status.orig_sz for row in rows]
    plain = [(symbols[row.market], replace(row, market=0, status=None)) for row in rows]
    return list(zip(plain, orig_szs, strict=True))


@pytest.mark.parametrize("users", [True, False])
def test_the_reader_finds_the_same_books(tmp_path: Path, users: bool) -> None:
    chain = Chain(DevnetConfig(path="unused", actions_per_block=100))
    for _ in range(80):
        chain.step()
    rows = list(snapshot_rows(chain))
    path = tmp_path / "out.json"
    header = snapshot_header(chain)
    path.write_bytes(l4_snapshot(header, rows, users=users, triggers=True, height=True))
    snapshot = HyperliquidSnapshot(path)
    read = [row for row in snapshot.rows() if isinstance(row, RestingRow)]
    mine = [row for row in rows if isinstance(row, RestingRow)]
    if not users:
        mine = [replace(row, user=bytes(20)) for row in mine]
    symbols = {row.listing.market: row.listing.symbol for row in rows if isinstance(row, MarketRow)}
    names = {market: symbol for symbol, market in snapshot.markets.items()}
    assert snapshot.height == 80
    assert len(read) > 100
    assert details(read, names) == details(mine, symbols)
    waiting = [row for row in rows if isinstance(row, TriggerRow)]
    found = [row for row in snapshot.rows() if isinstance(row, TriggerRow)]
    assert len(found) > 10
    assert {row.status.oid: row.parent for row in found} == {
        row.status.oid: row.parent for row in waiting
    }


def test_mainnets_own_snapshot_comes_out_as_it_was(captured: Path) -> None:
    path = captured / "snapshot_985148181.json.gz"
    header = replace(HEADER, height=985148181)
    written = l4_snapshot(header, HyperliquidSnapshot(path).rows(), **ALL)
    theirs = json.loads(gzip.decompress(path.read_bytes()))
    for side in theirs[1][0][1]:
        for _, order in side:
            order["isPositionTpsl"] &= order["triggerCondition"] != "N/A"  # nor this, of one order
    assert written == json.dumps(theirs, separators=(",", ":")).encode()


@pytest.fixture
def server() -> Iterator[InfoServer]:
    server = InfoServer(0, lambda: (HEADER, list(ROWS)), lambda: 1_788_312_923_270)
    server.start()
    yield server
    server.stop()


def post(
    server: InfoServer,
    body: Any,
    path: str = "/info",
    method: str = "POST",
    content_type: str = "application/json",
) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, data, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, response.read()


def asked(path: Path, *, users: bool = True, triggers: bool = False, height: bool = True) -> Any:
    return {
        "type": "fileSnapshot",
        "request": {
            "type": "l4Snapshots",
            "includeUsers": users,
            "includeTriggerOrders": triggers,
        },
        "outPath": str(path),
        "includeHeightInOutput": height,
    }


def test_a_snapshot_is_written_where_it_is_asked_for(server: InfoServer, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("the one before")
    assert post(server, asked(path)) == (200, b"null")
    snapshot = HyperliquidSnapshot(path)
    assert snapshot.height == 77
    orders = [row for row in snapshot.rows() if isinstance(row, RestingRow)]
    assert [(row.oid, row.user) for row in orders] == [
        (5, ALICE), (8, BOB), (2, ALICE), (3, ALICE), (6, BOB),
    ]  # fmt: skip
    waiting = [row for row in snapshot.rows() if isinstance(row, TriggerRow)]
    assert all(row.parent for row in waiting)  # those that wait for the price were not asked for
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "wanted", [{"users": False}, {"height": False}, {"triggers": True}, {"users": False} | ALL]
)
def test_what_it_holds_is_what_was_asked_for(
    server: InfoServer, tmp_path: Path, wanted: dict[str, bool]
) -> None:
    path = tmp_path / "out.json"
    assert post(server, asked(path, **wanted)) == (200, b"null")
    whole = {"users": True, "triggers": False, "height": True} | wanted
    assert path.read_bytes() == l4_snapshot(HEADER, ROWS, **whole)


def test_the_exchange_status(server: InfoServer) -> None:
    answer = (200, b'{"time":1788312923270,"specialStatuses":null}')
    assert post(server, {"type": "exchangeStatus"}) == answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 50_000,
        [],
        {"type": "meta"},
        {"type": "fileSnapshot"},
        {**asked(Path("x")), "outPath": 5},
        {**asked(Path("x")), "request": {"type": "referrerStates"}},
    ],
)
def test_what_it_can_not_answer(server: InfoServer, body: Any) -> None:
    status, answer = post(server, body)
    assert status == 422
    assert answer.startswith(b"Failed to deserialize the JSON body into the target type: ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 404),
        ("POST", "/info/", 404),
        ("GET", "/exchange", 404),
        ("GET", "/info", 405),
        ("PUT", "/info", 405),
        ("HEAD", "/info", 405),
        ("OPTIONS", "/info", 405),
        ("POST", "/info?really", 200),
    ],
)
def test_paths_and_methods(server: InfoServer, method: str, path: str, status: int) -> None:
    assert post(server, {"type": "exchangeStatus"}, path, method)[0] == status


def test_a_web_page_can_not_ask(server: InfoServer, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert post(server, asked(path), content_type="text/plain")[0] == 415
    assert not path.exists()


@pytest.mark.parametrize("name", ["missing/out.json", "directory", "nul\0"])
def test_a_path_that_can_not_be_written(server: InfoServer, tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    status, answer = post(server, asked(tmp_path / name))
    assert (status, answer[:11]) == (500, b"can't write")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def raw(server: InfoServer, head: bytes) -> bytes:
    """Everything that comes back to raw bytes, until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(head)
        return b"".join(iter(lambda: peer.recv(4096), b""))


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Content-Length: %d" % (REQUEST_BODY_BYTES_MAX + 1), 413),
        (b"Content-Length: %s" % (b"9" * 5000), 413),
        (b"Content-Length: -1", 411),
        (b"Content-Length: 1e3", 411),
        (b"Transfer-Encoding: chunked", 411),
    ],
)
def test_bodies_that_are_not_read(server: InfoServer, header: bytes, status: int) -> None:
    answer = raw(server, b"POST /info HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in answer


def test_a_body_of_the_largest_size(server: InfoServer) -> None:
    body = b'{"type":"exchangeStatus"}'
    assert post(server, body.ljust(REQUEST_BODY_BYTES_MAX))[0] == 200


def test_a_body_that_ends_early(server: InfoServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(b"POST /info HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_who_says_nothing_is_dropped(server: InfoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_server._Handler, "timeout", 0.01)
    assert raw(server, b"POST /in") == b""


def test_a_connection_serves_many_requests(server: InfoServer) -> None:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        for path, status in (("/info", 422), ("/else", 404), ("/info", 422)):
            connection.request("POST", path, b"{}", {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert not response.will_close


def test_connections_are_bounded(server: InfoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_server, "_CONNECTIONS_MAX", 1)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as first:
        first.request("GET", "/info")
        assert first.getresponse().read() == b""
        assert raw(server, b"") == b""


def serving(snapshot: Callable[[], tuple[SnapshotHeader, list[Row]]]) -> InfoServer:
    server = InfoServer(0, snapshot, lambda: 0)
    server.start()
    return server


def test_requests_at_the_same_time(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def snapshot() -> tuple[SnapshotHeader, list[Row]]:
        together.wait(10)
        return HEADER, list(ROWS)

    server, path = serving(snapshot), tmp_path / "out.json"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(server, asked(path)), range(8)))
    server.stop()
    assert answers == [(200, b"null")] * 8
    assert HyperliquidSnapshot(path).height == 77
    assert list(tmp_path.iterdir()) == [path]


def test_a_snapshot_that_fails_ends_that_request_only(tmp_path: Path) -> None:
    server = serving(lambda: (HEADER, [resting(1)]))  # of a market that is not there
    assert raw_post(server, asked(tmp_path / "out.json")) == b""
    assert post(server, {"type": "exchangeStatus"})[0] == 200
    server.stop()


def raw_post(server: InfoServer, body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = b"POST /info HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return raw(server, head % len(data) + data)


def requests_left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "info request"]


def test_stop_lets_a_request_finish_and_ends_idle_connections(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def snapshot() -> tuple[SnapshotHeader, list[Row]]:
        begun.set()
        assert go_on.wait(10)
        return HEADER, list(ROWS)

    server, path = serving(snapshot), tmp_path / "out.json"
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as idle,
        ThreadPoolExecutor(2) as pool,
    ):
        answer = pool.submit(post, server, asked(path))
        assert begun.wait(10)
        stopped = pool.submit(server.stop)
        assert idle.recv(1) == b""
        go_on.set()
        assert answer.result(10) == (200, b"null")
        stopped.result(10)
    assert not requests_left()


def test_stop_does_not_wait_for_a_request_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def snapshot() -> tuple[SnapshotHeader, list[Row]]:
        begun.set()
        assert go_on.wait(10)
        return HEADER, list(ROWS)

    monkeypatch.setattr(info_server, "_STOP_GRACE_S", 0.01)
    server = serving(snapshot)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(raw_post, server, asked(tmp_path / "out.json"))
        assert begun.wait(10)
        server.stop()
        assert answer.result(10) == b""
    go_on.set()
    for thread in requests_left():
        thread.join(10)
    assert not requests_left()


def test_a_stopped_server_listens_no_more_and_can_start_again(server: InfoServer) -> None:
    port = server.port
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        post(server, {"type": "exchangeStatus"})
    server.start()
    assert server.port == port
    assert post(server, {"type": "exchangeStatus"})[0] == 200


def test_a_port_that_is_taken(server: InfoServer) -> None:
    second = InfoServer(server.port, lambda: (HEADER, []), lambda: 0)
    with pytest.raises(ConfigInvalid, match=f"info_port: can't listen on 127.0.0.1:{server.port}"):
        second.start()
    second.stop()


def test_rows_it_does_not_know_do_not_matter() -> None:
    trade: Any = TradeRow(1, 1, msgspec.UNSET)  # type: ignore[arg-type]
    assert l4_snapshot(HEADER, [*ROWS, trade], **ALL) == l4_snapshot(HEADER, ROWS, **ALL)
