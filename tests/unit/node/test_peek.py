"""The height of a record from its front alone, and logs in which heights are missing or twice."""

from pathlib import Path

import msgspec
import pytest

from sidecar.errors import LogGap
from sidecar.node.block_records import PEEK_BYTES, encode_block, peek_height
from sidecar.node.extent import LogExtent
from sidecar.node.log import LogReader
from sidecar.node.records import frame
from sidecar.node.segments import FORMAT, SegmentHeader, segment_name
from sidecar.node.transitions import Block

EDGES = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1]


@pytest.mark.parametrize("height", EDGES)
def test_every_way_to_write_a_height(height: int) -> None:
    for fields in (4, 15, 16, 65_536):
        payload = msgspec.msgpack.encode([height, *range(fields - 1)])
        assert peek_height(payload[:PEEK_BYTES]) == height
    assert peek_height(encode_block(Block(height, 1, 2, []))) == height


def test_what_tells_no_height() -> None:
    header = msgspec.msgpack.encode(SegmentHeader(FORMAT, "test", 1, 0))
    for other in (b"", header, b"\x94", b"\x94\xcd\x01", b"\x94\xff", b"\x81\x01\x02", b"\xdc\x00"):
        assert peek_height(other) is None


def write(directory: Path, *heights: int) -> None:
    header = msgspec.msgpack.encode(SegmentHeader(FORMAT, "test", heights[0], 0))
    blocks = (encode_block(Block(height, height * 10, 0, [])) for height in heights)
    content = b"".join(map(frame, (header, *blocks)))
    (directory / segment_name(heights[0])).write_bytes(content)


def read(directory: Path, after: int) -> list[int]:
    with LogReader(directory, after=after, chain="test") as reader:
        return [block.height for block in iter(reader.next_block, None) if block]


@pytest.mark.parametrize("heights", [(1, 2, 5, 6, 7), (1, 2, 3, 4, 2, 3, 4, 5, 6, 7)])
def test_behind_what_is_missing_or_twice_in_a_segment_a_log_goes_on(
    tmp_path: Path, heights: tuple[int, ...]
) -> None:
    write(tmp_path, *heights)
    extent = LogExtent(tmp_path)
    assert (extent.head, extent.why_not_after(5)) == (7, None)
    assert read(tmp_path, 4) == [5, 6, 7]
    assert read(tmp_path, 5) == [6, 7]
    with pytest.raises(LogGap):
        read(tmp_path, 1)
