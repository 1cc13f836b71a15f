"""Sockets that a service manager hands over, and what is none."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from sidecar.errors import ConfigInvalid
from sidecar.service import activation
from sidecar.service.activation import passed_sockets


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Where the given descriptors begin: two in a row, both taken by nothing of use."""
    null = os.open(os.devnull, os.O_RDONLY)
    at = 200  # this process's own 3 is something else's
    os.dup2(null, at)
    os.dup2(null, at + 1)
    monkeypatch.setattr(activation, "_FIRST", at)
    yield at
    for number in (null, at, at + 1):
        with suppress(OSError):
            os.close(number)


def given(count: int, names: str = "") -> dict[str, str]:
    environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
    return environment | ({"LISTEN_FDNAMES": names} if names else {})


def listening(at: int, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        os.dup2(sock.fileno(), at)


def test_by_name(first: int) -> None:
    listening(first)
    listening(first + 1)
    environment = given(2, "operator:sidecar.socket") | {"OTHER": "1"}
    assert passed_sockets(environment) == {"operator": first, "server": first + 1}
    assert environment == {"OTHER": "1"}
    assert not os.get_inheritable(first)


def test_two_of_one_kind(first: int) -> None:
    listening(first)
    listening(first + 1)
    with pytest.raises(ConfigInvalid, match="two sockets for server"):
        passed_sockets(given(2))


def test_what_is_no_socket(first: int) -> None:
    assert first
    with pytest.raises(ConfigInvalid, match="descriptor 200 is no socket"):
        passed_sockets(given(1))


def test_what_is_not_there(first: int) -> None:
    listening(first)
    os.close(first + 1)
    with pytest.raises(ConfigInvalid, match="descriptor 201 is no socket"):
        passed_sockets(given(2, "server:operator"))


def test_what_takes_no_connections(first: int) -> None:
    listening(first, socket.SOCK_DGRAM)
    with pytest.raises(ConfigInvalid, match="descriptor 200 takes no connections"):
        passed_sockets(given(1))


def test_what_is_anothers() -> None:
    assert passed_sockets(given(1) | {"LISTEN_PID": "1"}) == {}
