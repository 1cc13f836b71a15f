"""What clients do beside reading, good and bad, each by its name. Each says whether the connection
is over then, as far as its client is concerned.
"""

from collections.abc import Awaitable, Callable

from tests.simulation.actions import WALLETS, address, bodies
from tests.simulation.client import Client, Connection, Sent
from tests.simulation.topics import choose


async def behave(connection: Connection, name: str) -> bool:
    """Does it. Raises `OSError`."""
    return await HABITS[name](connection)


async def _leave(connection: Connection) -> bool:
    connection.protocol.send_close(1000, "bye")
    return False


async def _reset(connection: Connection) -> bool:
    connection.world.network.reset(connection.sock)
    return True


async def _vanish(connection: Connection) -> bool:
    """The machine is gone; nobody is told."""
    connection.world.network.silence(connection.sock)
    _abandon(connection)
    return True


async def _stall(connection: Connection) -> bool:
    """Never reads again."""
    _abandon(connection)
    return True


def _abandon(connection: Connection) -> None:
    """The socket stays open, with nobody at it."""
    connection.abandoned = True


async def _crawl(connection: Connection) -> bool:
    connection.pace = connection.rng.choice((0.0, 0.3, 1.5))
    return False


async def _garbage(connection: Connection) -> bool:
    rng = connection.rng
    junk = (
        rng.randbytes(rng.randrange(1, 40)),
        b"\x81\x82\0\0\0\0{",
        b"\x83\x80\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xc1\xff" + b"\xff" * 12,
    )
    connection.garbled = True
    async with connection.sending:
        await connection.sock.send_all(rng.choice(junk))
    return False


async def _nonsense(connection: Connection) -> bool:
    junk = ("{", '{"method":"subscribe"}', '{"method":"post","id":-1}', "[" * 500, "null")
    connection.protocol.send_text(connection.rng.choice(junk).encode())
    connection.nonsense += 1
    return False


async def _unsubscribe(connection: Connection) -> bool:
    if connection.reads:
        _give_up(connection, connection.rng.choice(list(connection.reads)))
    return False


async def _anew(connection: Connection) -> bool:
    """Some of what it reads, given up and subscribed to again in one breath."""
    for kind, reading in list(connection.reads.items()):
        if connection.rng.random() < 0.7:
            _give_up(connection, kind)
            connection.subscribe(reading.subscription)
    return False


def _give_up(connection: Connection, kind: str) -> None:
    reading = connection.reads.pop(kind)
    reading.ended = True
    connection.dropped[kind] += 1  # what is on its way may still come
    connection.say(method="unsubscribe", subscription=reading.subscription)


async def _resubscribe(connection: Connection) -> bool:
    connection.subscribe(choose(connection.rng, connection.client.wallet))
    return False


async def _ask(connection: Connection) -> bool:
    for _ in range(connection.rng.randrange(1, 6)):
        connection.ask(connection.rng.choice(_questions(connection.client.wallet)))
    return False


def _questions(wallet: int) -> tuple[dict[str, str], ...]:
    user = address(wallet)
    return (
        {"type": "l2Book", "coin": "TOYOTA"},
        {"type": "l4Snapshot", "coin": "SONY"},
        {"type": "clearinghouseState", "user": user},
        {"type": "openOrders", "user": user},
        {"type": "serverInfo"},
        {"type": "nothing"},
    )


async def _order(connection: Connection) -> bool:
    for _ in range(connection.rng.randrange(1, 4)):
        sent = _next_action(connection.client)
        if sent is None:
            break
        connection.numbers += 1
        connection.asked[connection.numbers] = sent
        head = f'{{"method":"post","id":{connection.numbers},"request":'
        text = head.encode() + b'{"type":"action","payload":' + sent.body + b"}}"
        connection.protocol.send_text(text)
    return False


async def _net(connection: Connection) -> bool:
    sent = _next_action(connection.client)
    if sent is not None:
        connection.nets += 1
        text = b'{"method":"onDisconnect","action":' + sent.body + b"}"
        connection.protocol.send_text(text)
    return False


def _next_action(client: Client) -> Sent | None:
    """Counts as sent; None where it has none, or none any more."""
    mine = bodies(client.wallet)
    if client.number >= WALLETS or client.next_body >= len(mine):
        return None
    sent = Sent(mine[client.next_body])
    client.next_body += 1
    client.sent.append(sent)
    return sent


async def _ping(connection: Connection) -> bool:
    for _ in range(connection.rng.choice((1, 1, 30))):
        connection.protocol.send_ping(connection.rng.randbytes(connection.rng.randrange(8)))
    return False


async def _half_close(connection: Connection) -> bool:
    connection.sock.shutdown(1)
    return False


async def _flood(connection: Connection) -> bool:
    for _ in range(connection.rng.choice((20, 200))):
        connection.say(method="ping")
    return False


HABITS: dict[str, Callable[[Connection], Awaitable[bool]]] = {
    "leave": _leave,
    "reset": _reset,
    "vanish": _vanish,
    "stall": _stall,
    "crawl": _crawl,
    "garbage": _garbage,
    "nonsense": _nonsense,
    "unsubscribe": _unsubscribe,
    "resubscribe": _resubscribe,
    "anew": _anew,
    "ask": _ask,
    "order": _order,
    "net": _net,
    "ping": _ping,
    "half_close": _half_close,
    "flood": _flood,
}
