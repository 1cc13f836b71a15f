"""Seeds of what clients, proxies and the submission socket say."""

import json
from collections.abc import Iterator
from typing import Any

from eth_account import Account
from hyperliquid.utils.signing import sign_agent, sign_l1_action, sign_usd_transfer_action

import chain_case
from mutators.frames import Frame, join
from sidecar.api.channels import REGISTRY
from sidecar.api.info import HANDLERS
from sidecar.node.submission import Answer, encode_answer
from sidecar.protocol.deflate import compress
from sidecar.protocol.proxy import SIGNATURE

_MASK = b"\x11\x22\x33\x44"
_CHANNELS = 5  # of one seed
_HOST = b"Host: 127.0.0.1:8010\r\n"
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\n" + _HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def http() -> Iterator[bytes]:
    """Requests of every kind, alone and one behind the other."""
    get = b"GET /readyz HTTP/1.1\r\n" + _HOST + b"\r\n"
    post = b"POST /info HTTP/1.1\r\n" + _HOST + b"Content-Type: application/json\r\n"
    body = b'{"type": "allMids"}'
    sized = post + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\n" + body[:5] + b"\r\n"
    chunked += b"%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\nTrailer: 1\r\n\r\n"
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    yield get + sized + chunked + get
    yield b"\r\n" + get.replace(b"1.1", b"1.0") + get
    yield sized.replace(b"\r\nContent", b"\r\nExpect: 100-continue\r\nContent", 1)
    yield get.replace(b"GET", b"HEAD").replace(_HOST, _HOST + b"Connection: close\r\n") + get
    yield _UPGRADE + b"\r\n" + join([Frame(0x81, b'{"method":"ping"}', _MASK, 0)])
    yield _UPGRADE + offer + b"\r\n\r\n"
    yield _UPGRADE + offer + b'="10", x-webkit; a=b; server_max_window_bits=15\r\n\r\n'
    yield _UPGRADE.replace(b"13", b"8") + b"\r\n"
    yield _UPGRADE.replace(b"GET", b"POST") + b"Content-Length: 3\r\n\r\nabc"
    yield b"CONNECT x:443 HTTP/1.1\r\n" + _HOST + b"\r\n"
    yield post + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    yield b"GET /%b HTTP/1.1\r\n" % (b"x" * 200) + _HOST + b"\r\n"
    yield get[:-2] + b"X: %b\r\n\r\n" % (b"y" * 200)
    yield get[:-2] + b"X: y\r\n" * 12 + b"\r\n"
    yield get[:-2] + (b"X: %b\r\n" % (b"y" * 150)) * 7 + b"\r\n"
    yield b"x" * 1_030
    yield get.replace(b"127.0.0.1", b"1" * 61)
    yield post + b"Content-Length: 257\r\n\r\n"
    yield post + b"Transfer-Encoding: chunked\r\n\r\n101\r\n" + b"z" * 257 + b"\r\n0\r\n\r\n"
    yield post + b"Transfer-Encoding: chunked\r\n\r\n1;%b\r\n" % (b"e" * 550)
    yield get.replace(b"HTTP/1.1", b"HTTP/1.2") + get
    yield get.replace(b"127.0.0.1:8010", b"a b")
    yield post + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def proxy() -> Iterator[bytes]:
    """PROXY headers, and lists of addresses."""
    yield SIGNATURE + b"\x21\x11\x00\x0c\x01\x02\x03\x04\x7f\x00\x00\x01\x12\x34\x00\x50"
    yield SIGNATURE + b"\x21\x21\x00\x24" + bytes(10) + b"\xff\xff\x01\x02\x03\x04" + bytes(20)
    yield SIGNATURE + b"\x21\x21\x00\x28\x20\x01\x0d\xb8" + bytes(36)
    yield SIGNATURE + b"\x20\x00\x00\x00GET / HTTP/1.1"
    yield SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)
    yield SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11)
    yield SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12)
    yield SIGNATURE + b"\x21\x11\x08\x01" + bytes(12)
    yield b"unix"
    yield b"2001:db8::1"
    yield b"10.0.0.1"
    yield b"203.0.113.7, 10.1.2.3, 127.0.0.1"
    yield b"[2001:db8::1]:443, ::ffff:10.0.0.1\nunix, fe80::1%eth0"


def websocket() -> Iterator[bytes]:
    """Texts, fragments, controls, ends."""
    text, long = b'{"method":"ping"}', b"y" * 300
    yield join([Frame(0x81, text, _MASK, 0), Frame(0x81, long, _MASK, 0)])
    yield join([Frame(0x01, text[:5], _MASK, 0), Frame(0x89, b"p", _MASK, 0)]) + join(
        [Frame(0x00, text[5:9], _MASK, 0), Frame(0x80, text[9:], _MASK, 0)]
    )
    yield join([Frame(0x82, long, _MASK, 0), Frame(0x88, b"\x03\xe8bye", _MASK, 0)])
    yield join([Frame(0x8A, b"", _MASK, 0), Frame(0x88, b"", _MASK, 0)])
    yield join([Frame(0x81, "\u00e9\u20ac\U0001f600".encode(), _MASK, 0)])
    yield join([Frame(0x81, text, _MASK, 2)])
    yield join([Frame(0x01, b"", _MASK, 0)] + [Frame(0x00, b"", _MASK, 0)] * 9)
    yield join([Frame(0x81, b"z" * 512, _MASK, 0), Frame(0x81, b"z" * 513, _MASK, 0)])


def compressed() -> Iterator[bytes]:
    """Likewise, deflated."""
    small = compress(b'{"method":"ping"}' * 20) or b""
    bomb = compress(b"a" * 2_000) or b""
    yield join([Frame(0xC1, small, _MASK, 0), Frame(0x81, b"plain", _MASK, 0)])
    yield join([Frame(0x41, small[:4], _MASK, 0), Frame(0x8A, b"", _MASK, 0)]) + join(
        [Frame(0x80, small[4:], _MASK, 0)]
    )
    yield join([Frame(0xC1, bomb, _MASK, 0)])
    yield b"permessage-deflate; server_max_window_bits=12; client_max_window_bits=9"
    yield b"x, permessage-deflate; server_no_context_takeover; server_no_context_takeover, "
    yield b'permessage-deflate; server_max_window_bits="15"; client_no_context_takeover'
    yield b"permessage-deflate; server_max_window_bits=8, permessage-deflate; z"
    yield b"permessage-deflate; client_max_window_bits=7, permessage-deflate"
    yield b"permessage-deflate; client_no_context_takeover=1"
    yield join([Frame(0xC2, small, _MASK, 0), Frame(0xC1, b"\x02\x00", _MASK, 0)])
    yield join([Frame(0xC1, b"\x03\x00" * 3, _MASK, 0), Frame(0x88, b"\x03\xe8", _MASK, 0)])


def requests() -> Iterator[bytes]:
    """Every subscription and every info request, in some of their forms."""
    for first in range(0, len(REGISTRY), _CHANNELS):
        kinds = REGISTRY[first : first + _CHANNELS]
        asked = [{"type": kind.name, **_parameters(kind.parameters)} for kind in kinds]
        lines = [{"method": "subscribe", "subscription": one} for one in asked]
        ends = [{"method": "unsubscribe", "subscription": one} for one in asked]
        yield _lines(lines) + b"\n\n\n" + _lines([*lines, *ends])
    books: tuple[dict[str, int], ...] = (
        {"nSigFigs": 3},
        {"nSigFigs": 5, "mantissa": 2},
        {"nLevels": 100},
    )
    asked = [{"type": "l2Book", "coin": "SONY", **book} for book in books]
    yield _lines({"method": "subscribe", "subscription": one} for one in asked) + b"\n\n\n"
    yield _lines(_post({"type": name, **_parameters(one.parameters)}) for name, one in _few(0))
    yield _lines(_post({"type": name, **_parameters(one.parameters)}) for name, one in _few(1))
    yield _lines(_post({"type": name, **_parameters(one.parameters)}) for name, one in _few(2))
    yield b'{"method":"ping"}\n{"method":"onDisconnect","action":null}\n{"method":"post","id":1}'


def _few(which: int) -> list[tuple[str, Any]]:
    return list(HANDLERS.items())[which::3]


def _post(payload: dict[str, Any]) -> dict[str, Any]:
    return {"method": "post", "id": 7, "request": {"type": "info", "payload": payload}}


def _lines(values: Any) -> bytes:
    return b"\n".join(json.dumps(one, separators=(",", ":")).encode() for one in values)


def _parameters(kind: Any) -> dict[str, Any]:
    state = chain_case.new_state()
    holder = next(user for user in state.users.by_address.values() if user.positions)
    start = state.time_ns // 1_000_000 - 60_000
    known = {
        "coin": "TOYOTA",
        "user": f"0x{holder.address.hex()}",
        "interval": "1m",
        "dex": "",
        "startTime": start,
        "endTime": start + 90_000,
        "aggregateByTime": True,
        "oid": next(iter(state.markets[0].book.orders)),
        "n": 5,
        "nSigFigs": 4,
        "nLevels": 7,
        "req": {"coin": "TOYOTA", "interval": "5m", "startTime": start},
    }
    return {name: known[name] for name in kind.__struct_encode_fields__ if name in known}


def actions() -> Iterator[bytes]:
    """Signed ones of every kind."""
    wallet = Account.from_key(bytes(31) + b"\x07")
    nonce = chain_case.new_state().time_ns // 1_000_000
    for action in _actions(nonce):
        signature = sign_l1_action(wallet, action, None, nonce, None, False)
        yield _lines([{"action": action, "nonce": nonce, "signature": signature}])
    send = {"type": "usdSend", "destination": "0x" + "ab" * 20, "amount": "1.5", "time": nonce}
    signature = sign_usd_transfer_action(wallet, send, False)
    yield _lines([{"action": send, "nonce": nonce, "signature": signature}])
    agent: dict[str, Any] = {
        "type": "approveAgent",
        "agentAddress": "0x" + "cd" * 20,
        "agentName": "a",
    }
    agent |= {"nonce": nonce}
    signature = sign_agent(wallet, agent, False)
    yield _lines([{"action": agent, "nonce": nonce, "signature": signature}])


def _actions(nonce: int) -> Iterator[dict[str, Any]]:
    limit = {"a": 0, "b": True, "p": "2500", "s": "100", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    stop = (
        limit
        | {"b": False, "r": True}
        | {"t": {"trigger": {"isMarket": False, "triggerPx": "2300", "tpsl": "sl"}}}
    )
    profit = stop | {"t": {"trigger": {"isMarket": True, "triggerPx": "2900", "tpsl": "tp"}}}
    cloid = "0x" + "0f" * 16
    yield {"type": "order", "orders": [limit | {"c": cloid}, limit | {"p": "1"}], "grouping": "na"}
    yield {"type": "order", "orders": [limit, profit, stop], "grouping": "normalTpsl"}
    yield {"type": "order", "orders": [profit, stop], "grouping": "positionTpsl"}
    yield {
        "type": "order",
        "orders": [limit | {"r": True, "b": side} for side in (True, False)],
    } | {
        "grouping": "na",
        "builder": {"b": "0x" + "ef" * 20, "f": 1},
    }
    yield {"type": "modify", "oid": 7, "order": limit}
    yield {"type": "batchModify", "modifies": [{"oid": cloid, "order": limit}]}
    yield {"type": "cancel", "cancels": [{"a": 0, "o": 7}, {"a": 9, "o": 8}]}
    yield {"type": "cancelByCloid", "cancels": [{"asset": 1, "cloid": cloid}]}
    yield {"type": "scheduleCancel", "time": nonce + 10_000}
    yield {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5}
    yield {"type": "updateIsolatedMargin", "asset": 1, "isBuy": True, "ntli": -1_000_000}
    yield {"type": "faucet", "amount": "1000"}
    yield {"type": "noop"}


def answers() -> Iterator[bytes]:
    """Of a chain that accepts, refuses, and has not seen an action."""
    resting = {"statuses": [{"resting": {"oid": 77}}, {"error": "no"}]}
    yield encode_answer(Answer(1, True, 9, {"type": "order", "data": resting})) + encode_answer(
        Answer(2, False, 9, "Insufficient margin to place order.")
    )
    yield encode_answer(Answer(3, False, 0, "no block saw it"))
    yield encode_answer(Answer(4, True, 1 << 40, {"type": "default"}))[:-1]


SEEDS = {
    "http": http,
    "proxy": proxy,
    "websocket": websocket,
    "compressed": compressed,
    "requests": requests,
    "actions": actions,
    "answers": answers,
}
