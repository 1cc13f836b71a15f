"""The world itself: what it does to the code under test is what a kernel may do, and no more."""

import errno
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from tests.simulation.loop import Deadlock
from tests.simulation.network import CALM, Quirks, SimulatedSocket
from tests.simulation.world import World

NAME = ("127.0.0.1", 1)
ODD = Quirks(short=0.5, again=0.3, delay_s=0.2, capacity=700)


def play(world: World, story: Coroutine[Any, Any, Any]) -> Any:
    try:
        with world.clock.installed():
            return world.loop.run_until_complete(story)
    finally:
        world.loop.close()


def pair(world: World, quirks: Quirks) -> tuple[SimulatedSocket, SimulatedSocket]:
    listener = world.network.listen(NAME)
    listener.listen()
    mine = world.network.connect(NAME, quirks=quirks)
    theirs, _ = listener.accept()
    return mine, theirs


@pytest.mark.parametrize("seed", range(5))
def test_bytes_arrive_whole_and_in_order_whatever_the_calls_say(seed: int) -> None:
    world = World(seed)
    sent = world.rng.randbytes(20_000)

    async def story() -> bytes:
        mine, theirs = pair(world, ODD)
        read = b""
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                await mine.send_all(sent)
                mine.close()

            tasks.start_soon(write)
            while data := await theirs.receive(500):
                read += data
        return read

    assert play(world, story()) == sent


def test_who_is_silent_is_heard_no_more_and_nobody_is_told() -> None:
    world = World(1)

    async def story() -> bool:
        mine, theirs = pair(world, CALM)
        world.network.silence(mine)
        mine.send(b"lost")
        mine.close()
        with anyio.move_on_after(3600) as waited:
            await theirs.receive()
        return waited.cancelled_caught

    assert play(world, story())


def test_a_reset_is_seen_by_both_and_by_every_call() -> None:
    world = World(1)

    async def story() -> None:
        mine, theirs = pair(world, CALM)
        mine.send(b"unread")
        await anyio.sleep(1)
        theirs.close()  # with bytes that were not read
        for call in (lambda: mine.send(b"x"), lambda: mine.recv(1)):
            with pytest.raises(OSError, match="as the kernel") as caught:
                call()
            assert caught.value.errno == errno.ECONNRESET

    play(world, story())


def test_what_comes_for_nobody_resets_whoever_sent_it() -> None:
    world = World(1)

    async def story() -> None:
        mine, theirs = pair(world, ODD)
        theirs.close()
        with pytest.raises(OSError, match=r"as the kernel|broken pipe"):
            await mine.send_all(bytes(20_000))

    play(world, story())


def test_hours_pass_at_once_and_waiting_for_nothing_is_an_error() -> None:
    world = World(1)

    async def story() -> float:
        began = anyio.current_time()
        await anyio.sleep(36_000)
        return anyio.current_time() - began

    assert play(world, story()) == pytest.approx(36_000)
    forgotten = World(1)
    with pytest.raises(Deadlock):
        play(forgotten, anyio.Event().wait())
