import pytest
from wsproto.frame_protocol import CloseReason

from sidecar.protocol.closecodes import CloseCode, echo, sendable


def test_the_names_agree_with_wsproto() -> None:
    assert {int(code) for code in CloseCode} == {int(code) for code in CloseReason} | {1014}


@pytest.mark.parametrize("code", [1005, 1006, 1015])
def test_p34_what_only_an_endpoint_sees_is_never_sent(code: int) -> None:
    assert not sendable(code)


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1016, 2999, 5000, 65536])
def test_p34_undefined_codes_are_not_sent_and_answered_with_1002(code: int) -> None:
    assert not sendable(code)
    assert echo(code) == CloseCode.PROTOCOL_ERROR


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 1013, 1014, 3000, 3999, 4000, 4999])
def test_p34_defined_and_application_codes_are_echoed(code: int) -> None:
    assert sendable(code)
    assert echo(code) == code


def test_a_close_without_a_code_is_answered_without_a_code() -> None:
    assert echo(CloseCode.NO_STATUS_RECEIVED) == CloseCode.NO_STATUS_RECEIVED


@pytest.mark.parametrize("code", [1006, 1015])
def test_a_forbidden_code_is_answered_with_1002(code: int) -> None:
    assert echo(code) == CloseCode.PROTOCOL_ERROR
