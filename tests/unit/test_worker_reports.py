"""What a worker says while its supervisor hears nothing comes out whole later on."""

import os
from contextlib import suppress

import pytest

from sidecar.cli.worker import send_report


def take(reader: int, most: int) -> bytes:
    with suppress(BlockingIOError):
        return os.read(reader, most)
    return b""


@pytest.mark.parametrize("most", [1, 5000, 30_000])
def test_no_report_is_torn_by_a_supervisor_that_was_stopped(most: int) -> None:
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        unsent, heard = b"", b""
        for number in range(200):
            report = f"{number} {7000 * 'x'} {number}\n".encode()
            unsent = send_report(writer, report, unsent)
            if number % 20 == 19:
                heard += take(reader, most)
        while data := take(reader, 1 << 20):
            heard += data
            unsent = send_report(writer, b"", unsent)
        said = [line.split() for line in heard.decode().splitlines()]
        assert len(said) > 5
        assert all(len(one) == 3 and one[0] == one[2] for one in said)
        numbers = [int(one[0]) for one in said]
        assert numbers == sorted(set(numbers))
    finally:
        os.close(reader)
        os.close(writer)


def test_a_supervisor_that_is_gone_is_told_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert send_report(writer, b"report\n", b"") == b""
    os.close(writer)
