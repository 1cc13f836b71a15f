"""The native log: segments of records, one record a block (docs/node-log.md).

    log/00000000000000000001.seg    [header][block 1][block 2] ... [block 4096]
    log/00000000000000004097.seg    [header][block 4097] ...    growing: may be cut anywhere

`LogReader` reads a whole directory across segments without waiting: "nothing more yet" is an
answer. The node's side is `sidecar.node.log_writer`.
"""

import math
import time
from pathlib import Path
from typing import Self

from sidecar.errors import LogCorrupt, LogForked, LogGap
from sidecar.limits import LOG_LISTED_S
from sidecar.node.segments import SegmentReader, first_height, list_segments, segment_name
from sidecar.node.transitions import Block
from sidecar.node.unreadable import unreadable


class LogReader:
    """Reads blocks above a height from a log directory, segment after segment, without waiting."""

    def __init__(self, directory: Path, *, after: int = 0, chain: str | None = None) -> None:
        """`after`: the height of the last block that is already known. `chain`: what the
        segments must say.
        """
        self.directory = directory
        self.chain = chain
        self.height = after
        self._segment: SegmentReader | None = None
        self._before: SegmentReader | None = None  # until a block of the present one was read
        self._listed_at = -math.inf  # monotonic seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        for segment in (self._before, self._segment):
            if segment is not None:
                segment.close()
        self._before = self._segment = None

    def directories(self) -> list[Path]:
        """The directories to watch for new blocks."""
        return [self.directory]

    def is_at_head(self) -> bool:
        """False where the log ends below `height`: the node went back."""
        known = 0 if self._segment is None else self._segment.height
        return known >= self.height

    def behind(self) -> list[Path]:
        """Nothing: a block of this log is whole or not there."""
        return []

    @property
    def position(self) -> tuple[Path, int] | None:
        """The segment being read and the offset in it."""
        return None if self._segment is None else (self._segment.path, self._segment.offset)

    def next_block(self) -> Block | None:
        """The block after `height`, or None while the node has not written it.

        Raises `LogCorrupt`, `LogGap` and `LogForked` with file, offset and height; the reader stays
        where it was.
        """
        if self._segment is None and not self._open_first():
            return None
        while True:
            assert self._segment is not None
            self._segment.skip_to(self.height)
            block = self._segment.next_block()
            if block is None:
                if not self._advance():
                    return None
            elif block.height > self.height:
                self._leave_before()
                self.height = block.height
                return block

    def _open_first(self) -> bool:
        segments = list_segments(self.directory)
        if not segments:
            return False
        chosen = [s for s in segments if first_height(s) <= self.height + 1]
        if not chosen:
            oldest = first_height(segments[0])
            raise LogGap(
                f"the log starts at height {oldest}; height {self.height + 1} is needed",
                path=segments[0],
                height=self.height + 1,
            )
        self._segment = SegmentReader(chosen[-1], chain=self.chain)
        self._segment.skip_to(self.height)
        return True

    def _advance(self) -> bool:
        """Goes to the next segment where there is one and this one is read to its end."""
        segment = self._segment
        assert segment is not None
        newer = self._newer(segment)
        if newer is None:
            return False
        # The next segment exists: this one is complete, but its last append may be news to us.
        if segment.at_boundary():
            self._enter(newer, segment)
        elif segment.read_record() is None:
            raise LogCorrupt(
                "the segment ends inside a record though a newer one exists",
                path=segment.path,
                offset=segment.offset,
                height=segment.height + 1,
            )
        return True

    def _newer(self, segment: SegmentReader) -> Path | None:
        """The segment after this one. The name it should have is looked for each time, others
        (a gap) and a log that was replaced or written anew a few times a second: listing costs ten
        times as much.
        """
        expected = self.directory / segment_name(segment.height + 1)
        if expected != segment.path and _exists(expected):
            return expected
        now = time.monotonic()
        if now - self._listed_at < LOG_LISTED_S:
            return None
        self._listed_at = now
        newer = [path for path in list_segments(self.directory) if path.name > segment.path.name]
        for path in newer:  # one of which may have a name that is none
            first_height(path)
        if not newer:
            segment.check_in_place()
            segment.check_passed()
        return newer[0] if newer else None

    def _enter(self, path: Path, before: SegmentReader) -> None:
        """What is opened has to be of the log that was read so far, and so has what is left."""
        self._leave_before()
        if first_height(path) != before.height + 1:
            what = f"the next segment starts at height {first_height(path)}"
            raise LogGap(what, path=path, offset=0, height=before.height + 1)
        segment = SegmentReader(path, chain=self.chain)
        try:
            before.check_in_place(lambda: self._is_retired(before))
            before.check_passed()
        except BaseException:
            segment.close()
            raise
        self._before, self._segment = before, segment

    def _is_retired(self, segment: SegmentReader) -> bool:
        """Segments are retired from the oldest on: where there is an older one than one that is
        gone, the node was set back to it, and wrote on as far as here.
        """
        left = list_segments(self.directory)
        return bool(left) and first_height(left[0]) > first_height(segment.path)

    def _leave_before(self) -> None:
        """Its last block has to be there still when the next one has been read: where the node was
        set back before it wrote that, what is opened may begin as it did then. Where it is gone,
        because it was retired or because another way took its place and was retired, what is opened
        says which block it follows.
        """
        before, segment = self._before, self._segment
        if before is None or segment is None or segment.header is None:
            return
        before.check_passed()
        follows = segment.header.previous_crc
        if follows is not None and follows != before.last_crc:
            what = "the segment follows another block than the one that was read"
            raise LogForked(what, path=segment.path, offset=0, height=before.height)
        before.close()
        self._before = None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # in a directory that may not be searched
        raise unreadable(path, error) from error
