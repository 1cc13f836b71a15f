"""Inputs survive whatever happens to the process, and nothing is executed that no log holds."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.devnet.inputs import Inputs, InputsLog
from sidecar.errors import LogUnwritable


def write(directory: Path, *heights: int) -> None:
    log = InputsLog(directory)
    for height in heights:
        log.append(Inputs(height, None, [b"body %d" % height]))
    log.close()


def test_what_was_appended_is_read_by_height(tmp_path: Path) -> None:
    log = InputsLog(tmp_path)
    first = Inputs(1, 1_000, [])
    third = Inputs(3, None, [b"one", b"two"])
    for inputs in (first, Inputs(2, None, []), third):
        log.append(inputs)
    log.close()
    assert InputsLog(tmp_path).read(0, 3) == {1: first, 3: third}
    assert InputsLog(tmp_path).read(1, 3) == {3: third}


def test_inputs_of_blocks_that_no_log_holds_are_cut_off(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    assert list(InputsLog(tmp_path).read(0, 2)) == [1, 2]
    write(tmp_path, 3)
    assert list(InputsLog(tmp_path).read(0, 5)) == [1, 2, 3]


def test_rotation_keeps_what_the_older_snapshot_needs(tmp_path: Path) -> None:
    log = InputsLog(tmp_path)
    for height in range(1, 31):
        log.append(Inputs(height, None, [b"x"]))
        if height % 10 == 0:
            log.rotate(height, max(height - 10, 1))
    log.close()
    assert [path.stem[-2:] for path in sorted(tmp_path.iterdir())] == ["21", "31"]
    assert list(InputsLog(tmp_path).read(20, 30)) == list(range(21, 31))
    with pytest.raises(LogUnwritable, match="inputs of block 11 are gone"):
        InputsLog(tmp_path).read(10, 30)


def test_a_later_process_goes_on_in_the_newest_file(tmp_path: Path) -> None:
    write(tmp_path, 1)
    log = InputsLog(tmp_path)
    log.rotate(5, 0)
    log.close()
    write(tmp_path, 7)
    assert [path.stem[-1] for path in sorted(tmp_path.iterdir())] == ["1", "6"]
    assert list(InputsLog(tmp_path).read(0, 9)) == [1, 7]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 200))
def test_a_torn_record_is_the_end(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    directory = tmp_path_factory.mktemp("inputs")
    write(directory, *range(1, 6))
    (path,) = directory.iterdir()
    whole = path.stat().st_size
    os.truncate(path, max(whole - cut, 0))
    found = list(InputsLog(directory).read(0, 5))
    assert found == list(range(1, len(found) + 1))
    write(directory, len(found) + 1)  # goes on behind the last whole one
    assert len(InputsLog(directory).read(0, 5)) == len(found) + 1 or len(found) == 5


def test_a_disk_that_takes_half_a_record_is_said_to_be_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = InputsLog(tmp_path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(LogUnwritable, match="disk full"):
        log.append(Inputs(1, None, [b"body"]))
    log.close()
    monkeypatch.undo()
    assert InputsLog(tmp_path).read(0, 1) == {}
