"""Long work that leaves the loop to others now and then."""

import time

from anyio.lowlevel import checkpoint

from sidecar.limits import REBUILD_SLICE_S


class Slices:
    """Long work in slices, between which everything else has its turn."""

    def __init__(self) -> None:
        self._end = time.monotonic() + REBUILD_SLICE_S

    async def breathe(self) -> None:
        """To be awaited often; costs next to nothing before the slice is over."""
        if time.monotonic() >= self._end:
            await checkpoint()
            self._end = time.monotonic() + REBUILD_SLICE_S
