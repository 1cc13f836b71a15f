import pytest

from sidecar.errors import HttpRefused
from sidecar.limits import (
    REQUEST_BODY_BYTES_MAX,
    REQUEST_HEAD_BYTES_MAX,
    REQUEST_HEADER_LINE_BYTES_MAX,
    REQUEST_HEADERS_MAX,
)
from sidecar.protocol.head import body_budget, check_lines, check_request, measure
from sidecar.protocol.request import Request

HEAD = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def measured_at_once(data: bytes) -> int:
    return measure(bytearray(data), 0)


def measured_in_steps(data: bytes) -> int:
    buffer = bytearray()
    for index in range(len(data)):
        searched = len(buffer)
        buffer += data[index : index + 1]
        if size := measure(buffer, searched):
            return size
    return 0


@pytest.mark.parametrize("behind", [b"", b"GET / HTTP", b"\n\x00\r\r", HEAD])
def test_only_the_head_is_measured_and_searched(behind: bytes) -> None:
    assert measure(bytearray(HEAD + behind), 0) == len(HEAD)


def test_a_head_may_be_nothing_but_its_end() -> None:
    assert measure(bytearray(b"\r\n\r\nGET /"), 0) == 4


def test_an_incomplete_head_has_no_size() -> None:
    assert all(measure(bytearray(HEAD[:end]), 0) == 0 for end in range(len(HEAD)))


def test_the_end_is_found_wherever_it_is_cut() -> None:
    assert measured_in_steps(HEAD) == len(HEAD)


@pytest.mark.parametrize(
    "line",
    [
        b"A: b\nC: d",
        b"A: b\rC: d",
        b"A: b\r\n c",
        b"A: b\r\n\tc",
        b"A: \x00",
        b"A: \x1b",
        b"A: \x7f",
    ],
)
def test_p21_bare_lf_folds_and_control_characters_are_refused(line: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n"
    for read in (measured_at_once, measured_in_steps):
        with pytest.raises(HttpRefused) as refused:
            read(head)
        assert refused.value.status == 400


def test_tabs_and_latin_1_pass() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nA: b\tc \xe9\r\n\r\n"
    assert measured_in_steps(head) == len(head)


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02\x00", b"\n", b"\r\n\n"])
def test_tls_and_bare_lf_are_refused_before_the_head_is_complete(first: bytes) -> None:
    with pytest.raises(HttpRefused) as refused:
        measure(bytearray(first), 0)
    assert refused.value.status == 400


def test_p19_a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    exact = HEAD[:-4] + b"\r\nA: " + b"a" * (REQUEST_HEAD_BYTES_MAX - len(HEAD) - 5) + b"\r\n\r\n"
    assert measure(bytearray(exact), 0) == REQUEST_HEAD_BYTES_MAX
    with pytest.raises(HttpRefused) as refused:
        measure(bytearray(b"X" + exact), 0)
    assert refused.value.status == 431


def test_p19_a_head_of_the_limit_without_an_end_is_refused() -> None:
    unfinished = HEAD[:-4] + b"\r\nA: " + b"a" * (REQUEST_HEAD_BYTES_MAX - len(HEAD) - 1)
    assert measure(bytearray(unfinished[:-1]), 0) == 0
    assert len(unfinished) == REQUEST_HEAD_BYTES_MAX
    with pytest.raises(HttpRefused) as refused:
        measure(bytearray(unfinished), 0)
    assert refused.value.status == 431


def test_a_head_whose_request_line_never_ends_is_414() -> None:
    with pytest.raises(HttpRefused) as refused:
        measure(bytearray(b"\r\nGET /" + b"a" * REQUEST_HEAD_BYTES_MAX), 0)
    assert refused.value.status == 414


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"GET /" + b"a" * REQUEST_HEADER_LINE_BYTES_MAX + b" HTTP/1.1"], 414),
        ([b"GET / HTTP/1.1"] + [b"A: b"] * (REQUEST_HEADERS_MAX + 1), 431),
        ([b"GET / HTTP/1.1", b"A:" + b" " * REQUEST_HEADER_LINE_BYTES_MAX], 431),
    ],
)
def test_lines_that_are_too_long_or_too_many(lines: list[bytes], status: int) -> None:
    with pytest.raises(HttpRefused) as refused:
        check_lines(b"\r\n".join(lines) + b"\r\n\r\n")
    assert refused.value.status == status


def test_lines_at_their_limits_pass() -> None:
    longest = b"A:" + b"b" * (REQUEST_HEADER_LINE_BYTES_MAX - 2)
    fields = [longest] * 2 + [b"A: b"] * (REQUEST_HEADERS_MAX - 2)
    line = b"GET /" + b"a" * (REQUEST_HEADER_LINE_BYTES_MAX - 14) + b" HTTP/1.1"
    assert len(line) == REQUEST_HEADER_LINE_BYTES_MAX
    check_lines(b"\r\n".join([line, *fields]) + b"\r\n\r\n")


def refusal(
    *headers: tuple[str, str], method: str = "POST", target: str = "/", version: str = "1.1"
) -> HttpRefused | None:
    try:
        check_request(Request(method, target, version, headers))
    except HttpRefused as error:
        return error
    return None


LENGTH = ("content-length", "5")
CHUNKED = ("transfer-encoding", "chunked")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (refusal(version="2.0"), 505),
        (refusal(version="0.9"), 505),
        (refusal(target="http://h/info"), 400),
        (refusal(target="*", method="OPTIONS"), 400),
        (refusal(target="h:80", method="CONNECT"), 400),
        (refusal(target="/", method="CONNECT"), 400),
        (refusal(("host", "a" * 256)), 400),
        (refusal(("host", "a b")), 400),
        (refusal(("host", "a/b")), 400),
        (refusal(("host", "b\xfccher.example")), 400),
        (refusal(LENGTH, CHUNKED), 400),
        (refusal(CHUNKED, version="1.0"), 400),
        (refusal(("content-length", str(REQUEST_BODY_BYTES_MAX + 1))), 413),
        (refusal(("content-length", "9" * 20)), 413),
        (refusal(LENGTH, ("content-encoding", "gzip")), 415),
        (refusal(CHUNKED, ("content-encoding", "identity, br")), 415),
    ],
)
def test_p21_what_h11_takes_and_we_do_not(error: HttpRefused | None, status: int) -> None:
    assert error is not None
    assert error.status == status


@pytest.mark.parametrize(
    "error",
    [
        refusal(("host", "")),
        refusal(("host", "[::1]:3001")),
        refusal(("host", "a" * 255)),
        refusal(("host", "api.example.com:443")),
        refusal(("host", "API.Example.COM")),
        refusal(version="1.0"),
        refusal(("content-length", str(REQUEST_BODY_BYTES_MAX))),
        refusal(LENGTH, ("content-encoding", "Identity")),
        refusal(("content-encoding", "gzip")),  # there is no body to be encoded
        refusal(("content-length", "0"), ("content-encoding", "gzip")),
        refusal(target="//double"),
    ],
)
def test_what_is_taken(error: HttpRefused | None) -> None:
    assert error is None


def test_415_says_what_is_accepted() -> None:
    error = refusal(LENGTH, ("content-encoding", "gzip"))
    assert error is not None
    assert error.headers == (("accept-encoding", "identity"),)


@pytest.mark.parametrize(
    ("header", "budget"),
    [
        (("accept", "*/*"), 0),
        (LENGTH, 5),
        (CHUNKED, REQUEST_BODY_BYTES_MAX + REQUEST_HEAD_BYTES_MAX),
    ],
)
def test_body_budget(header: tuple[str, str], budget: int) -> None:
    assert body_budget(Request("POST", "/", "1.1", (header,))) == budget
