"""Every refusal, over HTTP and over WebSocket; and whatever else is posted: no error of the server,
no closed connection, nothing forwarded that its account did not sign.
"""

import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from processes import Process, Server
from sidecar.api.orders.signing import decode_signed, recover_signer
from sidecar.devnet.inputs import InputsLog
from trader import fund, order, post, signed, wallet_of

ALICE, STRANGER = wallet_of(0xA11CE), wallet_of(0x57A6E)
USER = ALICE.address.lower()


class Desk:
    """A server, and one WebSocket connection that is never closed."""

    def __init__(self, server: Server, websocket: ClientConnection, ipc: Path) -> None:
        self.server = server
        self.websocket = websocket
        self.ipc = ipc
        self._asked = 0

    def http(self, body: bytes) -> tuple[int, Any]:
        return self.server.post("/exchange", body)

    def post(self, payload: Any) -> Any:
        """The response of a post."""
        self._asked += 1
        request = {"type": "action", "payload": payload}
        self.websocket.send(json.dumps({"method": "post", "id": self._asked, "request": request}))
        answer = json.loads(self.websocket.recv(timeout=20))
        assert answer["channel"] == "post"
        assert answer["data"]["id"] == self._asked
        return answer["data"]["response"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    path = tmp_path_factory.mktemp("refusals")
    with ExitStack() as stack:
        chain = ("devnet", "--path", str(path / "ipc"), "--block-ms", "10", "--actions-per-block")
        keeping_all = ("--snapshot-blocks", "1000000")  # that it was ever given
        stack.callback(Process(path / "devnet.log", *chain, "5", *keeping_all).kill)
        limits = ("--orders-burst-per-ip", "100000", "--orders-burst-per-account", "100000")
        more = ("--server-messages-per-minute", "1000000")
        server = Server(path / "serve.log", "--source-path", str(path / "ipc"), *limits, *more)
        stack.callback(server.kill)
        server.ready()
        deadline = time.monotonic() + 20
        while len(server.info(type="allMids")) < 5:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        fund(server, ALICE)
        websocket = stack.enter_context(connect(server.ws_url))
        yield Desk(server, websocket, path / "ipc")


def one(**changes: Any) -> dict[str, Any]:
    made = order()
    made["orders"][0] |= changes
    return made


def err(message: str) -> dict[str, Any]:
    return {"status": "err", "response": message}


def error(*messages: str) -> dict[str, Any]:
    statuses = [{"error": message} for message in messages]
    return {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}


IOC = {"limit": {"tif": "Ioc"}}
BOTH = {"limit": {"tif": "Gtc"}, "trigger": {"triggerPx": "1", "isMarket": True, "tpsl": "tp"}}
OFF_TRIGGER = {"trigger": {"triggerPx": "2500.01", "isMarket": True, "tpsl": "sl"}}
CANCEL = {"type": "cancel", "cancels": [{"a": 0, "o": 1}]}
NOT_LISTED = "Invalid action: asset 77 is not listed."
NEVER = "Order was never placed, already canceled, or filled."

REFUSALS: list[tuple[Any, Any]] = [
    (one(p="2500.01"), error("Price must be divisible by tick size.")),
    (one(p="0"), error("Order has invalid price.")),
    (one(s="0"), error("Order has zero size.")),
    (one(s="1.001"), error("Order has invalid size.")),
    (one(s="0.01"), error("Order must have minimum value of 1000 JPY.")),
    (one(p="9", s="1000"), error("Order price too far from oracle")),
    (one(r=True), error("Reduce only order would increase position.")),
    (one(s="1000000"), error("Insufficient margin to place order.")),
    (one(r=True, t=OFF_TRIGGER), error("Invalid TP/SL price.")),
    (one(a=77), err(NOT_LISTED)),
    (one(p="1e3"), err("Invalid number: '1e3' is not a decimal number such as \"81307.0\"")),
    (one(p="9" * 20), err(f"Invalid number: {'9' * 20} is out of range.")),
    (one(t=BOTH), err("Invalid action: an order's `t` has either `limit` or `trigger`.")),
    (one(p="9", s="1000", t=IOC), error("Order price too far from oracle")),
    ({"type": "cancel", "cancels": [{"a": 77, "o": 1}]}, err(NOT_LISTED)),
    (
        {"type": "updateLeverage", "asset": 77, "isCross": True, "leverage": 2},
        err(NOT_LISTED),
    ),
    (
        {"type": "modify", "oid": 1, "order": one(p="2500.01")["orders"][0]},
        err("Price must be divisible by tick size."),
    ),
    (
        {"type": "batchModify", "modifies": [{"oid": 1, "order": one(s="0")["orders"][0]}]},
        error("Order has zero size."),
    ),
    (
        {"type": "cancel", "cancels": []},
        err("Invalid action: Expected `array` of length >= 1 - at `$.cancels`"),
    ),
    # what only the chain can say
    (one(p="900", t=IOC), error("Order could not immediately match against any resting orders.")),
    (
        CANCEL,
        {
            "status": "ok",
            "response": {"type": "cancel", "data": {"statuses": [{"error": NEVER}]}},
        },
    ),
]


@pytest.mark.parametrize(("action", "wanted"), REFUSALS)
def test_a_refusal_is_the_same_over_both(desk: Desk, action: Any, wanted: Any) -> None:
    assert desk.http(json.dumps(signed(ALICE, action)).encode()) == (200, wanted)
    assert desk.post(signed(ALICE, action)) == {"type": "action", "payload": wanted}


_CLOCK = re.compile(r"(?<=one day after )[0-9]{13}")


def refusal_over_both(desk: Desk, request: Any) -> str:
    """The message of an action that is refused as a whole; it may tell the time, in ms."""
    status, answer = desk.http(json.dumps(request).encode())
    assert (status, answer["status"]) == (200, "err")
    posted = desk.post(request)
    assert (posted["type"], posted["payload"]["status"]) == ("action", "err")
    told, again = str(answer["response"]), str(posted["payload"]["response"])
    assert _CLOCK.sub("now", again) == _CLOCK.sub("now", told)
    return told


def test_refusals_of_whole_requests(desk: Desk) -> None:
    noop = {"type": "noop"}
    old = refusal_over_both(desk, signed(ALICE, noop, 5))
    assert "Invalid nonce: 5 is not within two days before" in old
    used = signed(ALICE, noop)
    post(desk.server, used)
    again = refusal_over_both(desk, signed(ALICE, CANCEL, used["nonce"]))
    assert again == f"Invalid nonce: duplicate nonce {used['nonce']}."
    unknown = refusal_over_both(desk, signed(STRANGER, noop))
    assert unknown == f"Must deposit before performing actions. User: {STRANGER.address.lower()}"
    expired = refusal_over_both(desk, signed(ALICE, noop, expires_after=5))
    assert expired == "Action expired: expiresAfter 5 is over."
    vault = signed(ALICE, noop) | {"vaultAddress": "0x" + "11" * 20}
    assert refusal_over_both(desk, vault) == f"Vault not registered: 0x{'11' * 20}"
    bad = signed(ALICE, noop)
    bad["signature"]["v"] = 5
    assert refusal_over_both(desk, bad) == "signature.v must be 27 or 28 (or 0 or 1)"


def test_what_cannot_be_read(desk: Desk) -> None:
    for body in (b"", b"{", b"[]", b"\xff\xff", b'{"action": 5}', b"[" * 50_000):
        status, answer = desk.http(body)
        assert (status, answer["code"]) == (422, 422)
    response = desk.post({"action": 5})
    assert response["type"] == "error"
    assert response["payload"].startswith("422: not a signed action: Expected `object`")


def test_one_good_order_takes_the_bad_ones_along(desk: Desk) -> None:
    action = order("2600.0", "1.0")
    action["orders"].append(one(p="2500.01")["orders"][0])
    answer = post(desk.server, signed(ALICE, action))
    good, bad = answer["response"]["data"]["statuses"]
    assert "resting" in good or "filled" in good
    assert bad == {"error": "Price must be divisible by tick size."}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=4,
)
ACTIONS = [
    order(),
    CANCEL,
    {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": "0x" + "22" * 16}]},
    {"type": "modify", "oid": 3, "order": one()["orders"][0]},
    {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 7},
    {"type": "scheduleCancel"},
    {"type": "noop"},
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    children: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        yield from places(child, (*path, key))


def mutated(value: Any, path: tuple[Any, ...], put: Any, *, remove: bool) -> Any:
    if not path:
        return put
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = put
    return value


@settings(max_examples=300)
@given(data=st.data(), action=st.sampled_from(ACTIONS), put=json_values, remove=st.booleans())
def test_whatever_is_posted_is_answered(
    desk: Desk, data: st.DataObject, action: Any, put: Any, remove: bool
) -> None:
    request = json.loads(json.dumps(signed(ALICE, action)))
    where = data.draw(st.sampled_from(list(places(request))))
    changed = mutated(request, where, put, remove=remove)
    status, answer = desk.http(json.dumps(changed, ensure_ascii=True).encode())
    assert status in {200, 422}, answer
    assert isinstance(answer, dict)
    if remove:
        response = desk.post(changed)
        assert response["type"] in {"action", "error"}
        assert not str(response["payload"]).startswith("500")


@settings(max_examples=150)
@given(data=st.data(), action=st.sampled_from(ACTIONS))
def test_whatever_byte_is_changed(desk: Desk, data: st.DataObject, action: Any) -> None:
    body = bytearray(json.dumps(signed(ALICE, action)).encode())
    body[data.draw(st.integers(0, 10_000)) % len(body)] = data.draw(st.integers(0, 255))
    status, answer = desk.http(bytes(body))
    assert status in {200, 422}, answer
    desk.websocket.send(
        b'{"method": "post", "id": 1, "request": {"type": "action", "payload": %b}}'
        % bytes(body).replace(b"\xff", b"?").decode(errors="replace").encode(),
        text=True,
    )
    assert json.loads(desk.websocket.recv(timeout=20))["channel"] in {"post", "error"}


def test_nothing_was_forwarded_that_its_account_did_not_sign(desk: Desk, tmp_path: Path) -> None:
    """All that the chain was ever given, after everything above."""
    first = post(desk.server, signed(ALICE, {"type": "noop"}))
    assert first["status"] == "ok"
    copy = shutil.copytree(desk.ipc / "inputs", tmp_path / "inputs")
    inputs = InputsLog(copy).read(0, 1 << 60).values()
    bodies = [body for one in inputs for body in one.bodies]
    assert len(bodies) > 10
    signers = {recover_signer(decode_signed(body)).hex() for body in bodies}
    assert signers == {USER[2:]}
