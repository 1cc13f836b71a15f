"""Looks at the running world all the time: is what sidecars say of themselves true, is what they
keep bounded?
"""

from typing import Any

import anyio

from sidecar.state.health import LIVE, STALE
from tests.simulation.client import Client
from tests.simulation.node import SimulatedNode
from tests.simulation.sidecar_process import OUTBOX_BYTES_MAX, STALE_AFTER_S, Process
from tests.simulation.world import World

_LOOK_S = 0.2
_SLACK_S = 1.5  # a look of the freshness task, a poll of the follower, a turn of the loop
_LAST_WORDS = 3  # what was begun, a ping or pong, the close: whatever their size
_SNAPSHOTS_MAX = 64 << 20


class Watch:
    """Of one world."""

    def __init__(
        self,
        world: World,
        node: SimulatedNode,
        processes: list[Process],
        clients: list[Client],
    ) -> None:
        self.violations: list[str] = []
        self._world = world
        self._node = node
        self._processes = processes
        self._clients = clients
        self._disturbed_at = world.clock.now
        self._moved: dict[int, tuple[int, float]] = {}  # by process: its height, since when

    def disturbed(self) -> None:
        """Time itself was out of order: nothing is judged by it for a while."""
        self._disturbed_at = self._world.clock.now

    async def run(self) -> None:
        """For ever."""
        while True:
            await anyio.sleep(_LOOK_S)
            for process in self._processes:
                if process.ready and process.app is not None:
                    self._look(process, process.app)

    def _look(self, process: Process, app: Any) -> None:
        state, server = app.state, app.parts.server
        if state is None or server is None or state.health is None:
            return
        self._note_freshness(process, state)
        for connection, session in server._sessions.items():
            self._note_outbox(connection, session)

    def _note_freshness(self, process: Process, state: Any) -> None:
        """Promise 5: what has stood still for longer than the bound is not called live."""
        now, number = self._world.clock.now, process.name[1]
        height, since = self._moved.get(number, (-1, now))
        if height != state.height or since < process.up_since:
            self._moved[number] = (state.height, now)
            return
        feed, still_s = state.health.feed.state, now - max(since, self._disturbed_at)
        if still_s > STALE_AFTER_S + _SLACK_S and feed == LIVE:
            self.violations.append(
                f"promise 5: live, though nothing has moved for {still_s:.1f} s at {height}"
            )
        unread_s = now - max(self._node.written.get(height + 1, now), since, self._disturbed_at)
        if unread_s > STALE_AFTER_S + _SLACK_S and feed == STALE:
            self.violations.append(
                f"promise 5: the node is called silent, but has written {height + 1} "
                f"{unread_s:.1f} s ago"
            )

    def _note_outbox(self, connection: Any, session: Any) -> None:
        outbox = connection.outbox
        too_much = outbox.bytes > OUTBOX_BYTES_MAX and len(outbox._entries) > _LAST_WORDS
        if too_much or outbox._uncounted > _SNAPSHOTS_MAX:
            waiting = [(len(one.frame), one.counted) for one in outbox._entries.values()]
            self.violations.append(
                f"promise 4: {outbox.bytes} bytes wait for one client: {waiting}"
            )

    def is_well(self, process: Process) -> bool:
        """Live, and at the node's head."""
        app = process.app
        if not process.ready or app is None or app.state is None:
            return False
        state = app.state
        return (
            state.health is not None
            and state.health.live
            and self._node.height - state.height <= 1
            and app.parts.services is not None
            and not app.parts.services.hub.slow
        )

    def describe(self, process: Process) -> str:
        """For a verdict."""
        app = process.app
        if app is None or app.state is None or app.state.health is None:
            return "not up"
        feed = app.state.health.feed
        wrong = len(app.state.faults.books)
        return f"{feed.state} ({feed.reason}) at {app.state.height}, {wrong} books wrong"

    def leftovers(self, process: Process) -> list[str]:
        """What a sidecar still keeps of clients that have all gone."""
        app = process.app
        if app is None or app.parts.server is None or app.parts.services is None:
            return []
        server, hub = app.parts.server, app.parts.services.hub
        left = {
            "connections": server.connections,
            "sessions": len(server._sessions),
            "addresses": len(+server._gate._by_address),
            "slow": len(hub.slow),
            "readers": sum(len(plain) + len(deflated) for plain, deflated in hub._topics.values()),
            "not closed once": server.opened - sum(server.closed.values()),
        }
        return [f"{count} {what} left" for what, count in left.items() if count]

    def witness_closes(self) -> list[str]:
        """Promise 1: who does nothing odd is let go only with the server itself."""
        witness = self._clients[0]
        odd = [close for close in witness.closes if close[0] != 1001]
        return [f"a client that did nothing odd was closed: {close}" for close in odd]
