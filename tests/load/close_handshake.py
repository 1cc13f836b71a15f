"""R13: peers that ignore our Close, send for ever, never read, or close at the same moment."""

import time

from sidecar.limits import CLOSE_TIMEOUT_S
from tests.load.report import Options, Row, at_most, is_equal, share
from tests.load.stand import fit, stand
from tests.load.swarm import Peer
from tests.load.wire import CLOSE, UPGRADE, masked

_MESSAGES = 3  # a minute; one more is answered with a Close
_TOO_MANY = UPGRADE + masked(b'{"method":"ping"}') * (_MESSAGES + 1)
_LATE_S = 1.5  # it is looked at once a second


def run(options: Options) -> list[Row]:
    """Measures."""
    each = fit(options.clients // 20)
    with stand(options) as there:
        server = there.serve("--server-messages-per-minute", str(_MESSAGES))
        swarm = there.swarm(server)
        start, begin = server.descriptors, time.monotonic()
        kinds = {
            "ignore it": swarm.join(each, _TOO_MANY, answers=False),
            "send for ever": swarm.join(each, _TOO_MANY, answers=False),
            "close, too": swarm.join(each, _TOO_MANY + masked(b"\x03\xe8", CLOSE), answers=False),
            "answer it": swarm.join(each, _TOO_MANY),
            "never read": swarm.join(each, UPGRADE, answers=False),
        }
        deaf = kinds["never read"]
        swarm.pump(10.0, lambda: all(peer.open for peer in deaf))
        swarm.deafen(deaf)
        for peer in deaf:
            peer.say(_TOO_MANY[len(UPGRADE) :])
        last = time.monotonic()
        while server.descriptors > start and time.monotonic() - last < 4 * CLOSE_TIMEOUT_S:
            swarm.pump(0.1)
            for peer in kinds["send for ever"]:
                peer.say(masked(b"{}"))
        took = time.monotonic() - last
        swarm.wake(deaf)
        swarm.pump(2.0)
        rows = [_told(name, peers) for name, peers in kinds.items()]
        return [
            *rows,
            is_equal("R13", "descriptors are as before", server.descriptors, start),
            at_most("R13", f"all {5 * each} ended, {last - begin:.1f} s to come in",
                    took, CLOSE_TIMEOUT_S + _LATE_S, "s"),
        ]  # fmt: skip


def _told(name: str, peers: list[Peer]) -> Row:
    told = sum(peer.code == 1008 for peer in peers)
    return share("R13", f"see our Close: who {name}", told, len(peers))
