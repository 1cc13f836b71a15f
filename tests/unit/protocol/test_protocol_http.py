import json
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.errors import HttpRefused
from sidecar.limits import (
    REQUEST_BODY_BYTES_MAX,
    REQUEST_HEAD_BYTES_MAX,
    REQUEST_HEADERS_MAX,
)
from sidecar.protocol.http import HttpConnection, Request

GET = b"GET /meta?x=1 HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /info HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED_HEAD = b"POST /info HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"3\r\nabc\r\n1;ext=x\r\nd\r\n0\r\nTrailer: t\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def post(size: int, *, extra: bytes = b"") -> bytes:
    head = b"POST /info HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n" % (extra, size)
    return head + b"b" * size


def receiving(*pieces: bytes) -> HttpConnection:
    connection = HttpConnection()
    for piece in pieces:
        connection.receive(piece)
    return connection


def the_request(connection: HttpConnection) -> Request:
    request = connection.next_request()
    assert request is not None
    return request


def the_refusal(data: bytes) -> HttpRefused:
    connection = HttpConnection()
    while data:
        room = connection.room()
        connection.receive(data[:room])
        data = data[room:]
        try:
            assert connection.next_request() is None
        except HttpRefused as error:
            return error
    raise AssertionError("not refused")


def parse(answer: bytes, method: bytes = b"GET") -> tuple[h11.Response, bytes, h11.Connection]:
    """The answer as h11's client reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.trailing_data[0] == b""
    return response, body, client


def test_a_request_has_its_parts() -> None:
    request = the_request(
        receiving(
            b"POST /info?a=1 HTTP/1.1\r\nHost: h\r\nX-Name: \xe9\r\nAccept: a\r\nACCEPT: b\r\n"
            b"Content-Length: 4\r\n\r\nbody"
        )
    )
    assert (request.method, request.path, request.query) == ("POST", "/info", "a=1")
    assert (request.version, request.body) == ("1.1", b"body")
    assert request.headers[:2] == (("host", "h"), ("x-name", "é"))
    assert request.header("accept") == "a, b"


def test_chunks_are_joined_and_what_follows_is_the_next_request() -> None:
    connection = receiving(CHUNKED + GET)
    assert the_request(connection).body == b"abcd"
    connection.respond(200, b"")
    assert the_request(connection).path == "/meta"


def test_an_empty_line_before_a_request_is_skipped() -> None:
    assert the_request(receiving(b"\r\n" + GET)).path == "/meta"
    assert the_refusal(b"\r\n\r\n" + GET).status == 400


@pytest.mark.parametrize("status", [200, 404, 500])
def test_h11s_client_reads_the_answer_and_keeps_the_connection(status: int) -> None:
    connection = receiving(POST)
    the_request(connection)
    answer = connection.respond(status, b'{"a":1}', headers=[("x-extra", "y")])
    response, body, client = parse(answer)
    headers = dict(response.headers)
    assert (response.status_code, body) == (status, b'{"a":1}')
    assert headers[b"content-type"] == b"application/json"
    assert (headers[b"content-length"], headers[b"x-extra"]) == (b"7", b"y")
    assert client.their_state is h11.DONE
    assert not connection.should_close
    assert connection.idle


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n",
    ],
)
def test_the_connection_ends_where_the_client_says_so(data: bytes) -> None:
    connection = receiving(data + GET)
    the_request(connection)
    response, _, _ = parse(connection.respond(200, b"{}"))
    assert (b"connection", b"close") in response.headers
    assert connection.should_close
    assert connection.room() == 0
    assert connection.next_request() is None


def test_the_server_may_end_the_connection_with_an_answer() -> None:
    connection = receiving(GET)
    the_request(connection)
    connection.respond(200, b"{}", headers=[("Connection", "close")])
    assert connection.should_close


def test_head_gets_the_length_and_no_body() -> None:
    connection = receiving(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
    the_request(connection)
    response, body, _ = parse(connection.respond(200, b"12345"), method=b"HEAD")
    assert body == b""
    assert (b"content-length", b"5") in response.headers
    assert the_request(connection).method == "GET"
    assert connection.respond(200, b"12345").endswith(b"12345")


@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_have_neither_body_nor_length(status: int) -> None:
    connection = receiving(GET)
    the_request(connection)
    response, body, _ = parse(connection.respond(status, b"{}"))
    assert (response.status_code, body) == (status, b"")
    assert response.headers == []


@pytest.mark.parametrize(("status", "reason"), [(200, b"OK"), (404, b"Not Found"), (599, b"")])
def test_an_answer_has_its_statuss_phrase_and_the_type_that_is_told(
    status: int, reason: bytes
) -> None:
    connection = receiving(GET)
    the_request(connection)
    response, _, _ = parse(connection.respond(status, b"x", content_type="text/plain"))
    assert response.reason == reason
    assert dict(response.headers)[b"content-type"] == b"text/plain"


def test_pipelined_requests_come_one_by_one_in_order() -> None:
    connection = receiving(GET + POST + CHUNKED + GET)
    for method in ("GET", "POST", "POST", "GET"):
        assert the_request(connection).method == method
        connection.respond(200, b"{}")
    assert connection.next_request() is None
    assert connection.idle


def test_asking_for_a_request_before_answering_is_our_bug() -> None:
    connection = receiving(GET + GET)
    the_request(connection)
    with pytest.raises(AssertionError, match="answered"):
        connection.next_request()


def test_reading_more_than_there_is_room_for_is_our_bug() -> None:
    with pytest.raises(AssertionError, match="room"):
        receiving(b"x" * (REQUEST_HEAD_BYTES_MAX + 1))


def test_p19_no_more_than_the_heads_budget_is_taken() -> None:
    connection = HttpConnection()
    assert connection.room() == REQUEST_HEAD_BYTES_MAX
    connection.receive(GET[:10])
    assert connection.next_request() is None
    assert connection.room() == REQUEST_HEAD_BYTES_MAX - 10


def test_p19_a_head_of_229_kb_is_refused_after_16_kib() -> None:
    lines = b"".join(b"X-%05d: y\r\n" % index for index in range(20_000))
    data = b"GET / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n"
    assert len(data) > 229_000
    assert the_refusal(data).status == 431


def test_p19_headers_are_counted() -> None:
    start = b"GET / HTTP/1.1\r\nHost: h\r\n"
    assert the_request(receiving(start + b"A: b\r\n" * (REQUEST_HEADERS_MAX - 1) + b"\r\n"))
    assert the_refusal(start + b"A: b\r\n" * REQUEST_HEADERS_MAX + b"\r\n").status == 431


def test_p20_nothing_is_taken_while_a_request_waits_for_its_answer() -> None:
    connection = receiving(GET)
    the_request(connection)
    assert connection.room() == 0
    connection.respond(200, b"{}")
    assert connection.room() == REQUEST_HEAD_BYTES_MAX


def test_p20_no_more_than_the_body_is_taken() -> None:
    data = post(5000)
    connection = receiving(data[:-4000])
    assert connection.next_request() is None
    assert connection.room() == 4000
    connection.receive(data[-4000:-1])
    assert connection.room() == 1


def test_p20_nothing_is_taken_while_more_than_a_head_waits() -> None:
    """Chunks may be long, so that what comes behind a short body may be as well."""
    connection = receiving(CHUNKED_HEAD)
    assert connection.next_request() is None
    count = REQUEST_HEAD_BYTES_MAX // len(GET) + 2
    connection.receive(b"0\r\n\r\n" + GET * count)
    the_request(connection)
    connection.respond(200, b"{}")
    assert connection.room() == 0
    for _ in range(count):
        assert the_request(connection).path == "/meta"
        connection.respond(200, b"{}")
    assert connection.room() == REQUEST_HEAD_BYTES_MAX


def test_p20_bytes_behind_an_upgrade_are_left_over() -> None:
    connection = receiving(UPGRADE + b"\x81\x80\x00\x00\x00\x00")
    the_request(connection)
    assert connection.room() == 0
    assert connection.leftover() == b"\x81\x80\x00\x00\x00\x00"


def test_an_offered_upgrade_that_is_not_taken_up_is_a_plain_request() -> None:
    offered = POST.replace(b"Host", b"Upgrade: h2c\r\nConnection: Upgrade\r\nHost")
    connection = receiving(offered + GET)
    assert the_request(connection).body == b"{}"
    connection.respond(200, b"{}")
    assert the_request(connection).path == "/meta"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: xn--" + b"a" * 252 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: xn--" + b"a" * 15_000 + b"\r\n\r\n", 431),  # P4
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: \x01\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (CHUNKED_HEAD.replace(b"Host", b"Content-Length: 3\r\nHost"), 400),
        (CHUNKED_HEAD.replace(b"chunked", b"gzip, chunked"), 501),
        (CHUNKED_HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (POST.replace(b": 2", b": +2"), 400),
        (POST.replace(b": 2", b": 2, 3"), 400),
        (POST.replace(b"Host", b"Content-Encoding: gzip\r\nHost"), 415),
        (post(REQUEST_BODY_BYTES_MAX + 1), 413),
        (CHUNKED_HEAD + b"ffffff\r\n" + b"b" * (REQUEST_BODY_BYTES_MAX + 1), 413),
        (CHUNKED_HEAD + b"5\r\nabcdeX\r\n", 400),
        (CHUNKED_HEAD + b"-1\r\n", 400),
        (CHUNKED_HEAD + b"1;x=" + b"e" * 100_000, 413),
        (CHUNKED_HEAD + b"1\r\nx\r\n" * 20_000, 413),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_p21_refusals(data: bytes, status: int) -> None:
    assert the_refusal(data).status == status


def test_a_body_of_the_limit_passes_either_way() -> None:
    chunks = b"b" * REQUEST_BODY_BYTES_MAX
    chunked = CHUNKED_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunks), chunks)
    for data in (post(REQUEST_BODY_BYTES_MAX), chunked):
        (request,) = converse([data])
        assert isinstance(request, tuple)
        assert request[-1] == chunks


def test_p23_a_refusal_is_json_with_close_even_though_h11_has_failed() -> None:
    connection = receiving(b"GET / HTTP/1.1\r\nHost h\r\n\r\n" + GET)
    with pytest.raises(HttpRefused) as refused:
        connection.next_request()
    response, body, client = parse(connection.refuse(refused.value))
    assert (response.status_code, response.reason) == (400, b"Bad Request")
    assert dict(response.headers)[b"content-type"] == b"application/json"
    assert json.loads(body) == {"code": 400, "msg": str(refused.value)}
    assert client.their_state is h11.MUST_CLOSE or client.their_state is h11.CLOSED
    assert connection.should_close
    assert connection.room() == 0
    assert connection.next_request() is None


def test_p22_a_head_that_takes_too_long_can_be_refused_half_way() -> None:
    connection = receiving(GET[:5])
    assert connection.next_request() is None
    assert not connection.idle
    response, _, _ = parse(connection.refuse(HttpRefused(408, "the request took too long")))
    assert response.status_code == 408


def test_p22_idle_is_between_requests_only() -> None:
    connection = HttpConnection()
    idle = [connection.idle]
    for piece in (POST[:5], POST[5:-1], POST[-1:]):
        connection.receive(piece)
        idle.append(connection.idle)
        connection.next_request()
        idle.append(connection.idle)
    connection.respond(200, b"{}")
    assert idle == [True] + [False] * 6
    assert connection.idle


@pytest.mark.parametrize("connection_", ["connection", "Connection"])
def test_a_refused_request_can_name_headers_and_keeps_its_connection_options(
    connection_: str,
) -> None:
    connection = receiving(UPGRADE)
    the_request(connection)
    error = HttpRefused(426, "no", headers=(("upgrade", "websocket"), (connection_, "upgrade")))
    response, _, _ = parse(connection.refuse(error))
    assert (b"upgrade", b"websocket") in response.headers
    options = [value for name, value in response.headers if name == b"connection"]
    assert options == [b"upgrade, close"]


@pytest.mark.parametrize("version", [b"1.1", b"2.0"])
def test_a_refused_head_request_gets_no_body(version: bytes) -> None:
    connection = receiving(b"HEAD / HTTP/%b\r\nHost: h\r\n\r\n" % version)
    try:
        connection.next_request()
    except HttpRefused as error:
        refusal = error
    else:
        refusal = HttpRefused(404, "nothing here")
    assert connection.refuse(refusal).endswith(b"\r\n\r\n")


def test_what_is_refused_after_a_head_request_is_another_request() -> None:
    connection = receiving(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    the_request(connection)
    connection.respond(200, b"{}")
    _, body, _ = parse(connection.refuse(HttpRefused(408, "the request took too long")))
    assert json.loads(body)["code"] == 408


def test_a_refusal_quotes_little_of_a_long_line() -> None:
    error = the_refusal(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a" * 4000 + b"\r\n\r\n")
    assert str(error).startswith("malformed request: ")
    assert len(str(error)) <= 200


def test_expect_100_continue_is_answered_once_before_the_body() -> None:
    head, _, body = post(3, extra=b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    connection = receiving(head + b"\r\n\r\n")
    assert connection.interim() == b""
    assert connection.next_request() is None
    assert connection.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.interim() == b""
    connection.receive(body)
    assert the_request(connection).body == b"bbb"
    parse(connection.respond(200, b"{}"))


@pytest.mark.parametrize(
    "data",
    [
        post(9, extra=b"Expect: 100-continue\r\n")[:-1],  # the body is on its way
        post(9)[:-9],
        post(9, extra=b"Expect: 100-continue\r\n")[:-9].replace(b"1.1", b"1.0"),
    ],
)
def test_no_100_continue_where_nobody_waits(data: bytes) -> None:
    connection = receiving(data)
    assert connection.next_request() is None
    assert connection.interim() == b""


def test_a_body_that_is_too_long_is_refused_before_it_is_asked_for() -> None:
    size = REQUEST_BODY_BYTES_MAX + 1
    data = post(size, extra=b"Expect: 100-continue\r\n")[:-size]
    assert the_refusal(data).status == 413


@pytest.mark.parametrize("sent", [b"", GET[:9], GET[:-1], POST[:-1], CHUNKED[:-1]])
def test_a_peer_that_goes_within_a_request_is_gone(sent: bytes) -> None:
    connection = HttpConnection()
    if sent:
        connection.receive(sent)
    assert connection.next_request() is None
    assert connection.room() > 0
    connection.receive(b"")
    assert connection.room() == 0
    assert connection.next_request() is None
    assert connection.closed
    assert connection.should_close


def test_a_peer_that_half_closes_gets_all_its_answers() -> None:
    connection = receiving(GET + POST, b"")
    for _ in range(2):
        assert not connection.closed
        the_request(connection)
        connection.respond(200, b"{}")
    assert connection.next_request() is None
    assert connection.closed


Outcome = tuple[str, str, tuple[tuple[str, str], ...], bytes] | int | str


def converse(pieces: list[bytes]) -> list[Outcome]:
    """What comes of a client's bytes, answering each request: requests, a refusal's status, the
    end. Checks on the way that the connection never wants nothing and never takes too much.
    """
    connection = HttpConnection()
    outcomes: list[Outcome] = []
    for piece in pieces:
        rest = piece
        while rest and not connection.should_close:
            room = connection.room()
            connection.receive(rest[:room])
            rest = rest[room:]
            outcomes += answer_all(connection)
    if not connection.should_close:
        connection.receive(b"")
        outcomes += answer_all(connection)
        assert connection.closed
    return outcomes


def answer_all(connection: HttpConnection) -> list[Outcome]:
    outcomes: list[Outcome] = []
    try:
        while request := connection.next_request():
            outcomes.append((request.method, request.target, request.headers, request.body))
            parse(connection.respond(200, b"{}"), request.method.encode())
    except HttpRefused as error:
        connection.refuse(error)
        return [*outcomes, error.status]
    ended = connection.should_close
    assert (connection.room() > 0) is not ended
    return [*outcomes, "ended"] if ended and not connection.closed else outcomes


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


requests = st.sampled_from(
    [
        GET,
        POST,
        CHUNKED,
        UPGRADE,
        b"\r\n" + GET,
        post(300),
        post(REQUEST_BODY_BYTES_MAX),
        post(REQUEST_BODY_BYTES_MAX + 1),
        CHUNKED_HEAD + b"1\r\nx\r\n" * 4000 + b"0\r\n\r\n",
        CHUNKED_HEAD + b"1;x=" + b"e" * 17_000 + b"\r\nx\r\n0\r\n\r\n",
        CHUNKED_HEAD + b"0\r\nT: " + b"t" * 17_000 + b"\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nA: %b\r\n\r\n" % (b"a" * 4090),
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: bbbbbbbbbb\r\n" * 1200 + b"\nx\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ]
)


@st.composite
def a_clients_bytes(draw: st.DrawFn) -> bytes:
    data = bytearray(b"".join(draw(st.lists(requests, min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 2))):  # now and then a byte that should not be there
        place = draw(st.integers(0, min(len(data), 500) - 1))
        data[place : place + draw(st.integers(0, 1))] = draw(
            st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\0", b":", b"9", b"\xff"])
        )
    return bytes(data)


@settings(deadline=None)
@given(a_clients_bytes(), st.lists(st.integers(0, 1 << 20), max_size=20))
def test_chunking_equivalence_of_requests(data: bytes, cuts: list[int]) -> None:
    assert converse(cut(data, cuts)) == converse([data])


@pytest.mark.parametrize("data", [GET + POST + CHUNKED + b"\r\n" + GET, CHUNKED[:-3] + b"\nx"])
def test_byte_by_byte_gives_the_same(data: bytes) -> None:
    assert converse([data[i : i + 1] for i in range(len(data))]) == converse([data])


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_nothing_but_a_refusal_is_ever_raised(noise: bytes, place: int) -> None:
    converse(cut(noise, [place]))
    converse(cut(b"GET / HTTP/1.1\r\nHost: h\r\nA: " + noise + b"\r\n\r\n", [place]))
    converse(cut(CHUNKED_HEAD + noise, [place]))
