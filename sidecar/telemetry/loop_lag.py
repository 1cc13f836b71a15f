"""How late the event loop is: whoever waits for it waits as long."""

import time

import anyio

from sidecar.limits import LOOP_LAG_INTERVAL_S
from sidecar.telemetry.counts import Histogram


async def watch_loop_lag(lags: Histogram) -> None:
    """For ever, ten times a second."""
    while True:
        due = time.monotonic() + LOOP_LAG_INTERVAL_S
        await anyio.sleep(LOOP_LAG_INTERVAL_S)
        lags.observe(max(time.monotonic() - due, 0.0))
