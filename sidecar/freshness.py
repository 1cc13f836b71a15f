"""Looks at the clocks while no block comes, and tells subscribers of `status` what changed."""

import time

import anyio

from sidecar.api.channels import Channels
from sidecar.api.messages import encode
from sidecar.limits import FRESHNESS_INTERVAL_S
from sidecar.protocol import frames
from sidecar.server.hub import Hub
from sidecar.state.chain import ChainState
from sidecar.state.health import LIVE, Condition, Health
from sidecar.telemetry.logs import get_log

_log = get_log("freshness")


async def watch_freshness(health: Health, state: ChainState, channels: Channels, hub: Hub) -> None:
    """For ever, a few times a second."""
    known = health.feed
    while True:
        await anyio.sleep(FRESHNESS_INTERVAL_S)
        health.observe(time.monotonic_ns(), time.time_ns())
        if health.feed is not known:
            known = health.feed
            _tell(known, state.height)
        for topic, message in channels.status():
            hub.stage(topic, frames.text(encode(message)))
        await hub.flush(state.height)


def _tell(condition: Condition, height: int) -> None:
    log = _log.info if condition.state == LIVE else _log.warning
    log("feed", state=condition.state, reason=condition.reason, height=height)
