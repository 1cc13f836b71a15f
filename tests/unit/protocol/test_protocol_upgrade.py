from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from sidecar.errors import HttpRefused, UpgradeRefused
from sidecar.protocol.http import HttpConnection
from sidecar.protocol.request import Request
from sidecar.protocol.upgrade import accept, is_upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
VALID = {
    "host": "server.example.com",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-key": KEY,
    "sec-websocket-version": "13",
}


def handshake(
    *extra: tuple[str, str],
    without: str = "",
    method: str = "GET",
    version: str = "1.1",
    **changed: str,
) -> Request:
    """The RFC's own handshake, with headers changed, left out, or added."""
    headers = VALID | {name.replace("_", "-"): value for name, value in changed.items()}
    headers.pop(without, None)
    return Request(method, "/ws", version, (*headers.items(), *extra))


def refusal(request: Request) -> UpgradeRefused:
    with pytest.raises(UpgradeRefused) as refused:
        accept(request)
    return refused.value


def test_the_rfcs_own_example() -> None:
    plain, extended = accept(handshake()), accept(handshake(), "permessage-deflate; a")
    named = b"\r\nSec-WebSocket-Extensions: permessage-deflate; a\r\n\r\n"
    assert extended == plain.removesuffix(b"\r\n\r\n") + named
    assert plain == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize(
    "client",
    [
        ClientProtocol(parse_uri("ws://example.com:3001/ws?a=b")),
        ClientProtocol(
            parse_uri("ws://example.com/ws"),
            origin="https://example.com",  # type: ignore[arg-type]
            extensions=[ClientPerMessageDeflateFactory(client_max_window_bits=True)],
            subprotocols=[Subprotocol("a"), Subprotocol("b")],
        ),
    ],
)
def test_a_real_client_opens_with_what_is_offered_declined(client: ClientProtocol) -> None:
    client.send_request(client.connect())
    http = HttpConnection()
    for data in client.data_to_send():
        http.receive(data)
    request = http.next_request()
    assert request is not None
    assert is_upgrade(request)
    client.receive_data(accept(request))
    (response,) = client.events_received()
    assert isinstance(response, Response)
    assert client.handshake_exc is None
    assert client.state is State.OPEN
    assert client.extensions == []
    assert client.subprotocol is None
    assert http.leftover() == b""


def test_a_real_client_reads_the_refusal() -> None:
    client = ClientProtocol(parse_uri("ws://example.com/ws"))
    handshake_request = client.connect()
    del handshake_request.headers["Sec-WebSocket-Version"]
    client.send_request(handshake_request)
    http = HttpConnection()
    for data in client.data_to_send():
        http.receive(data)
    request = http.next_request()
    assert request is not None
    client.receive_data(http.refuse(refusal(request)))
    client.receive_eof()
    (response,) = client.events_received()
    assert isinstance(response, Response)
    assert response.status_code == 426
    assert response.headers["Sec-WebSocket-Version"] == "13"
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Connection"] == "upgrade, close"


# One block of rows for each row of upgrade._CHECKS, in its order.
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (handshake(method="POST"), 405),
        (handshake(method="get"), 405),
        (handshake(version="1.0"), 400),  # P21
        (handshake(without="host"), 400),
        (handshake(("host", "b")), 400),
        (handshake(without="upgrade"), 426),
        (handshake(upgrade="h2c"), 426),
        (handshake(upgrade="websocket2"), 426),
        (handshake(without="connection"), 426),
        (handshake(connection="keep-alive"), 426),
        (handshake(connection="upgraded"), 426),
        (handshake(without="sec-websocket-version"), 426),
        (handshake(sec_websocket_version="8"), 426),
        (handshake(sec_websocket_version="13, 8"), 426),
        (handshake(sec_websocket_version="013"), 426),
        (handshake(("sec-websocket-version", "13")), 426),
        (handshake(without="sec-websocket-key"), 400),
        (handshake(("sec-websocket-key", KEY)), 400),
        (handshake(sec_websocket_key=""), 400),
        (handshake(sec_websocket_key=KEY[4:]), 400),
        (handshake(sec_websocket_key="A" * 24), 400),  # base64 of 18 bytes
        (handshake(sec_websocket_key="A" * 20 + "===="), 400),
        (handshake(sec_websocket_key="A" * 21 + "-=="), 400),
        (handshake(sec_websocket_key="\xe9" * 22 + "=="), 400),
        (handshake(("content-length", "0")), 400),  # P21
        (handshake(("content-length", "5")), 400),
        (handshake(("transfer-encoding", "chunked")), 400),
        (handshake(sec_websocket_extensions=""), 400),
        (handshake(sec_websocket_extensions=", ,"), 400),
        (handshake(sec_websocket_extensions="a,\xa0"), 400),  # no space of HTTP's
        (handshake(sec_websocket_extensions="a b"), 400),
        (handshake(sec_websocket_extensions="a;"), 400),
        (handshake(sec_websocket_extensions="a; b="), 400),
        (handshake(sec_websocket_extensions='a; b="'), 400),
        (handshake(sec_websocket_extensions='a; b="c d"'), 400),
        (handshake(sec_websocket_extensions="a; \xe9"), 400),
    ],
)
def test_each_check_refuses(request_: Request, status: int) -> None:
    assert refusal(request_).status == status


@pytest.mark.parametrize(
    "request_",
    [
        handshake(upgrade="WebSocket"),
        handshake(upgrade="h2c, websocket"),
        handshake(("upgrade", "websocket"), upgrade="h2c"),
        handshake(connection="keep-alive, Upgrade"),
        handshake(("connection", "keep-alive")),  # P6: the last one does not win
        handshake(("connection", "UPGRADE"), connection="keep-alive"),
        handshake(sec_websocket_protocol="chat, superchat"),
        handshake(sec_websocket_extensions="permessage-deflate; client_max_window_bits"),
        handshake(sec_websocket_extensions='a;b="10" ; c = d,, e'),
        handshake(sec_websocket_extensions='X; B="C"; D=E'),
        handshake(sec_websocket_extensions="X"),
        handshake(("sec-websocket-extensions", "b"), sec_websocket_extensions="a"),
        handshake(("origin", "null")),
    ],
)
def test_each_check_lets_pass(request_: Request) -> None:
    answer = accept(request_)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Extensions" not in answer
    assert b"Protocol:" not in answer


def test_p6_two_connection_headers_on_the_wire() -> None:
    client = ClientProtocol(parse_uri("ws://example.com/ws"))
    handshake_request = client.connect()
    handshake_request.headers["Connection"] = "keep-alive"
    http = HttpConnection()
    http.receive(handshake_request.serialize())
    request = http.next_request()
    assert request is not None
    assert request.values("connection") == ("Upgrade", "keep-alive")
    assert accept(request)


UPGRADE = (("upgrade", "websocket"), ("connection", "upgrade"))


@pytest.mark.parametrize(
    ("request_", "named", "headers"),
    [
        (handshake(method="POST"), "GET", (("allow", "GET"),)),
        (handshake(version="1.0"), "HTTP/1.1", ()),
        (handshake(without="host"), "Host", ()),
        (handshake(without="upgrade"), "Upgrade", UPGRADE),
        (handshake(without="connection"), "Connection", UPGRADE),
        (
            handshake(without="sec-websocket-version"),
            "Sec-WebSocket-Version",
            (*UPGRADE, ("sec-websocket-version", "13")),
        ),
        (handshake(without="sec-websocket-key"), "Sec-WebSocket-Key", ()),
        (handshake(("content-length", "0")), "Content-Length", ()),
        (handshake(sec_websocket_extensions=""), "Sec-WebSocket-Extensions", ()),
    ],
)
def test_refusals_say_what_is_wrong_and_what_would_do(
    request_: Request, named: str, headers: tuple[tuple[str, str], ...]
) -> None:
    refused = refusal(request_)
    assert named in str(refused)
    assert refused.headers == headers


def test_is_upgrade_looks_at_the_upgrade_header_alone() -> None:
    assert is_upgrade(handshake())
    assert is_upgrade(handshake(without="sec-websocket-key"))
    assert not is_upgrade(handshake(without="upgrade"))
    assert not is_upgrade(handshake(upgrade="h2c"))


latin_1 = st.text(alphabet=st.characters(codec="latin-1"), max_size=40)


@given(st.sampled_from([*VALID, "sec-websocket-extensions", "sec-websocket-protocol"]), latin_1)
def test_p3_hostile_headers_raise_refusals_only(name: str, value: str) -> None:
    with suppress(UpgradeRefused):
        accept(handshake(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits=abc"),
        (b"Sec-WebSocket-Extensions", b'permessage-deflate; client_max_window_bits="10"'),
        (b"Sec-WebSocket-Extensions", b"\xff"),
        (b"Sec-WebSocket-Protocol", b"\xff"),
        (b"Connection", b"\xff"),
        (b"Host", b"xn--\xff"),
        (b"Host", b"xn--zzzzzzz--"),
    ],
)
def test_p3_the_headers_that_break_wsprotos_handshake(name: bytes, value: bytes) -> None:
    lines = {header.encode(): text.encode() for header, text in VALID.items()}
    lines.pop(name.lower(), None)
    lines[name] = value
    fields = b"".join(b"%b: %b\r\n" % line for line in lines.items())
    http = HttpConnection()
    http.receive(b"GET /ws HTTP/1.1\r\n" + fields + b"\r\n")
    with suppress(HttpRefused):
        request = http.next_request()
        assert request is not None
        accept(request)


def test_a_long_extension_header_is_read_in_linear_time() -> None:
    for value in ("a" * 4000 + "\xe9", "a;" * 2000, "a " * 2000, ";b= " * 1000, 'a;b="' * 800):
        assert refusal(handshake(sec_websocket_extensions=value)).status == 400
