from sidecar.protocol.request import Request


def a_request(target: str = "/", *headers: tuple[str, str]) -> Request:
    return Request("GET", target, "1.1", headers)


def test_the_target_splits_at_the_first_question_mark() -> None:
    assert (a_request("/info").path, a_request("/info").query) == ("/info", "")
    request = a_request("/a%3Fb?c=1?d")
    assert (request.path, request.query) == ("/a%3Fb", "c=1?d")


def test_a_request_has_no_body_unless_it_is_given_one() -> None:
    assert a_request().body == b""


def test_repeated_headers_join_in_the_order_of_arrival() -> None:
    request = a_request("/", ("accept", "a"), ("host", "h"), ("accept", "b, c"))
    assert request.header("accept") == "a, b, c"
    assert request.values("accept") == ("a", "b, c")
    assert request.header("missing") is None
    assert request.values("missing") == ()


def test_tokens_are_lower_case_members_over_repeats() -> None:
    request = a_request("/", ("connection", "Keep-Alive,, \t"), ("connection", "\tUPGRADE "))
    assert request.tokens("connection") == ("keep-alive", "upgrade")
    assert request.tokens("missing") == ()
    assert a_request("/", ("vary", " X-X,X")).tokens("vary") == ("x-x", "x")


def test_only_spaces_and_tabs_are_stripped() -> None:
    assert a_request("/", ("upgrade", "\xa0websocket")).tokens("upgrade") == ("\xa0websocket",)
