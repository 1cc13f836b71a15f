"""Nodes that die, answer late, twice or in another order, and clients that are gone before their
answer: every order's fate is told truthfully or as unknown, and none is sent twice.
"""

import json
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from processes import Serve, Server, Start
from sidecar.fixed import SCALE
from sidecar.node.log import LogReader
from sidecar.node.submission import Answer, RecordStream, decode_request, encode_answer
from sidecar.node.transitions import OrderStatus
from trader import fund, order, post, signed, wallet_of

ALICE, BOB = wallet_of(0xA11CE), wallet_of(0xB0B)
USER = bytes.fromhex(ALICE.address[2:])


def chain(start: Start, path: Path) -> Any:
    quick = ("--block-ms", "30", "--snapshot-blocks", "50", "--actions-per-block", "5")
    return start("devnet", "--path", str(path), *quick)


def numbered(number: int) -> dict[str, Any]:
    """An order that is known by its price."""
    return order(f"{1500 + number}", "1.0")


def opened(ipc: Path) -> Counter[int]:
    """How often the chain has taken each of them, by its number."""
    found: Counter[int] = Counter()
    with LogReader(ipc / "log", after=0, chain="devnet-1") as log:
        for block in iter(log.next_block, None):
            for one in block.transitions:
                if isinstance(one, OrderStatus) and one.user == USER and one.status == "open":
                    found[one.limit_px // SCALE - 1500] += 1
    return found


def test_the_node_is_killed_while_a_hundred_orders_are_in_flight(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    """Four times over, one connection: who was told "resting" is in the log, once; who was told
    that nothing was sent is not; unknown may be either, and asking again sends nothing twice.
    """
    ipc = tmp_path / "ipc"
    node = chain(start, ipc)
    generous = ("--orders-burst-per-account", "10000", "--orders-in-flight-per-account", "1000")
    server = serve("--source-path", str(ipc), *generous, "--orders-answer-timeout-s", "2")
    fund(server, ALICE)
    told: dict[int, str] = {}
    requests = {}
    with connect(server.ws_url, max_queue=None) as websocket:
        for round_ in range(4):
            batch = range(round_ * 100, round_ * 100 + 100)
            for number in batch:
                requests[number] = signed(ALICE, numbered(number))
                action = {"type": "action", "payload": requests[number]}
                websocket.send(json.dumps({"method": "post", "id": number, "request": action}))
                if number == batch[20 * round_ + 10]:
                    threading.Timer(0.02 * round_, node.kill).start()
            for _ in batch:
                answer = json.loads(websocket.recv(timeout=20))["data"]
                told[answer["id"]] = fate(answer["response"])
            node.wait()
            node = chain(start, ipc)
            await_readiness(server)
    again = [number for number in told if told[number] == "unknown"]
    for number in again:
        status, answer = server.post("/exchange", json.dumps(requests[number]).encode())
        assert (status, answer["status"]) == (504, "unknown")
    taken = opened(ipc)
    assert set(Counter(told.values())) <= {"resting", "unknown", "not sent"}
    assert Counter(told.values())["resting"] > 20
    for number, said in told.items():
        wanted = {"resting": {1}, "not sent": {0}, "unknown": {0, 1}}[said]
        assert taken[number] in wanted, (number, said)


def fate(response: Any) -> str:
    payload = response["payload"]
    if response["type"] == "error":
        assert payload.startswith("503: "), payload
        return "not sent"
    if payload["status"] == "unknown":
        assert "ask orderStatus" in payload["response"]
        assert payload["nonce"] > 0
        return "unknown"
    (status,) = payload["response"]["data"]["statuses"]
    assert "resting" in status, status
    return "resting"


def await_readiness(server: Server) -> None:
    """Until the sidecar takes orders again: a chain that was killed starts and it connects."""
    deadline = time.monotonic() + 20
    while True:
        status, answer = server.post(
            "/exchange", json.dumps(signed(ALICE, {"type": "noop"})).encode()
        )
        if status == 200 and answer["status"] == "ok":
            return
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


def test_without_a_node_market_data_goes_on(start: Start, serve: Serve, tmp_path: Path) -> None:
    ipc = tmp_path / "ipc"
    node = chain(start, ipc)
    server = serve("--source-path", str(ipc))
    fund(server, ALICE)
    assert ready(server) == (200, True, "")
    node.kill()
    deadline = time.monotonic() + 20
    while (told := ready(server))[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert told[1] is False
    started = time.monotonic()
    status, answer = server.post("/exchange", json.dumps(signed(ALICE, order())).encode())
    assert (status, answer["code"]) == (503, 503)
    assert "The node takes no actions now" in answer["msg"]
    assert time.monotonic() - started < 2
    assert len(server.info(type="allMids")) >= 1
    with connect(server.ws_url) as websocket:
        book = {"type": "l2Book", "coin": "TOYOTA"}
        websocket.send(json.dumps({"method": "subscribe", "subscription": book}))
        channels = {json.loads(websocket.recv(timeout=20))["channel"] for _ in range(2)}
        assert channels == {"subscriptionResponse", "l2Book"}
    chain(start, ipc)
    await_readiness(server)
    assert ready(server)[0] == 200


def ready(server: Server) -> tuple[int, bool, str]:
    """Status, verdict and what is said of the submission socket."""
    status, told = server.get("/readyz", server.operator_port)
    return status, told["ready"], told["submission"]["reason"]


class OddNode:
    """In the place of a chain's submission socket: answers as the test wants it."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.bodies: list[bytes] = []

    def accept(self) -> None:
        self._listener.settimeout(20)
        self._sock, _ = self._listener.accept()
        self._records = RecordStream(1 << 20)

    def request(self) -> int:
        """The id of the next request."""
        while (payload := self._records.next_payload()) is None:
            self._records.feed(self._sock.recv(1 << 16))
        request = decode_request(payload)
        self.bodies.append(request.body)
        return request.request_id

    def answer(self, number: int, response: Any) -> None:
        self._sock.sendall(encode_answer(Answer(number, True, 3, response)))

    def close(self) -> None:
        self._sock.close()
        self._listener.close()


@contextmanager
def taken_over(
    start: Start, serve: Serve, tmp_path: Path, answer_timeout_s: str
) -> Iterator[tuple[Server, OddNode]]:
    """A sidecar of a chain whose submission socket was taken over."""
    ipc = tmp_path / "ipc"
    node = chain(start, ipc)
    server = serve("--source-path", str(ipc), "--orders-answer-timeout-s", answer_timeout_s)
    fund(server, ALICE)
    node.kill()
    (ipc / "submit.sock").unlink(missing_ok=True)
    odd = OddNode(ipc / "submit.sock")
    odd.accept()
    yield server, odd
    odd.close()


@pytest.fixture
def odd(start: Start, serve: Serve, tmp_path: Path) -> Iterator[tuple[Server, OddNode]]:
    """One that soon has waited long enough for an answer."""
    with taken_over(start, serve, tmp_path, "0.4") as both:
        yield both


def test_answers_late_twice_and_out_of_order(odd: tuple[Server, OddNode]) -> None:
    server, node = odd
    with connect(server.ws_url) as websocket:
        requests = [signed(ALICE, numbered(number)) for number in range(4)]
        for number, request in enumerate(requests):
            action = {"type": "action", "payload": request}
            websocket.send(json.dumps({"method": "post", "id": number, "request": action}))
        ids = [node.request() for _ in requests]
        for number in (2, 2, 0, 1, 0):
            node.answer(ids[number], {"type": "order", "of": number})
        answers = [json.loads(websocket.recv(timeout=20))["data"] for _ in range(3)]
        assert {one["id"]: one["response"]["payload"]["response"]["of"] for one in answers} == {
            0: 0,
            1: 1,
            2: 2,
        }
        late = json.loads(websocket.recv(timeout=20))["data"]  # at its deadline
        assert (late["id"], late["response"]["payload"]["status"]) == (3, "unknown")
        node.answer(ids[3], {"type": "order", "of": 3})
        deadline = time.monotonic() + 10
        while (known := server.post("/exchange", json.dumps(requests[3]).encode()))[0] == 504:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert known[1] == {"status": "ok", "response": {"type": "order", "of": 3}}
    assert len(node.bodies) == 4


def test_a_client_that_is_gone_before_its_answer_can_ask_again(odd: tuple[Server, OddNode]) -> None:
    """Asked again, also by many at once, it is the one that was sent."""
    server, node = odd
    request = signed(ALICE, order())
    body = json.dumps(request).encode()
    with connect(server.ws_url) as websocket:
        action = {"type": "action", "payload": request}
        websocket.send(json.dumps({"method": "post", "id": 1, "request": action}))
        number = node.request()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.post, "/exchange", body) for _ in range(8)]
        time.sleep(0.1)
        node.answer(number, {"type": "default"})
        answers = [one.result() for one in asked]
    assert answers == [(200, {"status": "ok", "response": {"type": "default"}})] * 8
    assert node.bodies == [json.dumps(request).encode()]


def test_the_body_is_forwarded_byte_for_byte(odd: tuple[Server, OddNode]) -> None:
    """Spaces, escapes, unknown fields and all."""
    server, node = odd
    request = signed(ALICE, order())
    body = json.dumps(request | {"isFrontend": "\u00e9\n"}, indent=3).encode()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, "/exchange", body)
        node.answer(node.request(), {"type": "default"})
        assert asked.result()[0] == 200
    with connect(server.ws_url) as websocket:
        text = json.dumps(signed(ALICE, order()), indent=1, ensure_ascii=False)
        request_text = f'{{"payload":{text},"type":"action"}}'
        websocket.send(f'{{"method": "post", "id": 1, "request": {request_text}}}')
        node.answer(node.request(), {"type": "default"})
        assert json.loads(websocket.recv(timeout=20))["channel"] == "post"
    assert node.bodies == [body, text.encode()]


def test_a_burst_waits_its_turn_in_order(odd: tuple[Server, OddNode]) -> None:
    """More at once than one turn of the event loop admits, three times over."""
    server, node = odd
    with connect(server.ws_url, max_queue=None) as websocket:
        for _ in range(3):
            node.bodies.clear()
            payloads = [signed(ALICE, numbered(number)) for number in range(120)]
            posts = (
                {"method": "post", "id": number, "request": {"type": "action", "payload": one}}
                for number, one in enumerate(payloads)
            )
            websocket.socket.sendall(b"".join(masked(json.dumps(one).encode()) for one in posts))
            for _ in payloads:
                node.answer(node.request(), {"type": "default"})
            ids = [json.loads(websocket.recv(timeout=20))["data"]["id"] for _ in payloads]
            assert ids == list(range(120))
            assert node.bodies == [json.dumps(one).encode() for one in payloads]


def test_what_a_connection_sent_goes_before_what_it_laid_out(odd: tuple[Server, OddNode]) -> None:
    """Also where its orders still wait their turn when it ends: a cancel may not overtake them."""
    server, node = odd
    net = signed(ALICE, {"type": "scheduleCancel", "time": 1 << 42})
    with connect(server.ws_url, max_queue=None) as websocket:
        websocket.send(json.dumps({"method": "onDisconnect", "action": net}))
        assert json.loads(websocket.recv(timeout=20))["channel"] == "onDisconnect"
        payloads = [signed(ALICE, numbered(number)) for number in range(120)]
        posts = (
            {"method": "post", "id": number, "request": {"type": "action", "payload": one}}
            for number, one in enumerate(payloads)
        )
        frames = [masked(json.dumps(one).encode()) for one in posts]
        websocket.socket.sendall(b"".join(frames) + b"\x88\x80" + bytes(4))
        for _ in range(121):
            node.answer(node.request(), {"type": "default"})
    assert node.bodies == [json.dumps(one).encode() for one in (*payloads, net)]


def test_an_answer_that_json_cannot_say_is_unknown(odd: tuple[Server, OddNode]) -> None:
    server, node = odd
    body = json.dumps(signed(ALICE, order())).encode()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(server.post, "/exchange", body)
        node.answer(node.request(), {None: 1})
        status, answer = asked.result()
    assert (status, answer["status"]) == (504, "unknown")
    assert server.post("/info", b'{"type": "serverInfo"}')[0] == 200


def test_nonsense_is_limited_too(start: Start, serve: Serve, tmp_path: Path) -> None:
    ipc = tmp_path / "ipc"
    chain(start, ipc)
    limits = ("--orders-per-s-per-ip", "0.1", "--orders-burst-per-ip", "2")
    server = serve("--source-path", str(ipc), *limits)
    said = [server.post("/exchange", b"nonsense")[0] for _ in range(6)]
    assert said == [422, 422, 422, 422, 429, 429]


def test_a_trader_is_answered_and_who_ignores_refusals_is_let_go(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    """Actions don't count as messages, but for those that are too many."""
    ipc = tmp_path / "ipc"
    chain(start, ipc)
    limits = ("--server-messages-per-minute", "30", "--orders-burst-per-account", "100")
    server = serve("--source-path", str(ipc), *limits, "--orders-per-s-per-account", "0.01")
    fund(server, ALICE)
    answers = []
    with connect(server.ws_url, max_queue=None) as websocket:
        for number in range(130):  # 99 are good, 30 refused, one too many
            action = {"type": "action", "payload": signed(ALICE, {"type": "noop"})}
            request = {"method": "post", "id": number, "request": action}
            websocket.socket.sendall(masked(json.dumps(request).encode()))
        with pytest.raises(ConnectionClosed, match=r"1008.*more than 30 messages a minute"):
            while True:
                answers.append(json.loads(websocket.recv(timeout=20))["data"]["response"])
    kinds = Counter(one["type"] for one in answers)
    assert kinds["error"] == 30
    assert all(one["payload"].startswith("429") for one in answers if one["type"] == "error")


def masked(text: bytes) -> bytes:
    """A client's frame (mask of zeros)."""
    return b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text


def test_limits_over_both(start: Start, serve: Serve, tmp_path: Path) -> None:
    """A limited client is told when to come back, and can still cancel."""
    ipc = tmp_path / "ipc"
    chain(start, ipc)
    limits = ("--orders-per-s-per-account", "0.05", "--orders-burst-per-account", "3")
    server = serve("--source-path", str(ipc), *limits)
    fund(server, BOB)  # from here on the node takes what comes, so that nobody has to try again
    fund(server, ALICE)
    for _ in range(2):
        assert post(server, signed(ALICE, order()))["status"] == "ok"
    body = json.dumps(signed(ALICE, order())).encode()
    status, answer = server.post("/exchange", body)
    assert (status, answer["code"]) == (429, 429)
    assert (
        "Too many requests from this account: 0.05 requests a second, 3 at a time." in answer["msg"]
    )
    assert int(server.headers["Retry-After"]) >= 1
    used = server.info(type="userRateLimit", user=ALICE.address)
    assert (used["nRequestsUsed"], used["nRequestsCap"]) == (3, 3)
    with connect(server.ws_url) as websocket:
        payload = signed(ALICE, order())
        action = {"type": "action", "payload": payload}
        websocket.send(json.dumps({"method": "post", "id": 1, "request": action}))
        response = json.loads(websocket.recv(timeout=20))["data"]["response"]
        assert response["type"] == "error"
        assert response["payload"].startswith("429: Too many requests from this account")
    cancel = {"type": "cancel", "cancels": [{"a": 0, "o": 1}]}
    assert post(server, signed(ALICE, cancel))["status"] == "ok"


def test_it_ends_politely_with_orders_in_flight(start: Start, serve: Serve, tmp_path: Path) -> None:
    """Who waits for an answer when the server ends has it."""
    ipc = tmp_path / "ipc"
    start("devnet", "--path", str(ipc), "--block-ms", "300")
    server = serve("--source-path", str(ipc))
    fund(server, ALICE)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(post, server, signed(ALICE, order()))
        time.sleep(0.1)
        assert server.stop() == 0
        assert asked.result()["status"] == "ok"


def test_when_it_ends_before_the_answer_the_fate_is_told_as_unknown(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    """Over HTTP and over WebSocket; the node had both actions."""
    with taken_over(start, serve, tmp_path, "30") as (server, node), ThreadPoolExecutor(1) as pool:
        posted, sent = (signed(ALICE, numbered(number)) for number in range(2))
        asked = pool.submit(server.post, "/exchange", json.dumps(posted).encode())
        node.request()
        with connect(server.ws_url) as websocket:
            action = {"type": "action", "payload": sent}
            websocket.send(json.dumps({"method": "post", "id": 1, "request": action}))
            node.request()
            server.signal(signal.SIGTERM)
            response = json.loads(websocket.recv(timeout=20))["data"]["response"]
            with pytest.raises(ConnectionClosed, match="1001"):
                websocket.recv(timeout=20)
        status, answer = asked.result()
        assert server.stop() == 0
    assert status == 504
    for told, request in ((answer, posted), (response["payload"], sent)):
        assert (told["status"], told["nonce"]) == ("unknown", request["nonce"])
        assert told["response"].startswith("The server is shutting down; it may have been executed")
