"""Show it: a development chain, a sidecar beside it, and a live book, until Ctrl-C.

The chain and the sidecar are processes of their own, as they would be in production; their logs are
in --path.
"""

import argparse
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from sidecar.cli.client import Client, Place
from sidecar.cli.watch import show_book
from sidecar.errors import RequestInvalid, SidecarError

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 10.0
_CHECK_S = 0.05
_FUNDING = "--funding-ms=30000"  # so that a minute shows some


class DemoFailed(SidecarError):
    """A process of the demo did not start or ended; the message holds its last words."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it runs."""
    add = parser.add_argument
    add("--path", type=Path, default=None, help="working directory; default: a temporary one")
    add("--port", type=int, default=8010, help="0 takes a free one; default %(default)s")
    add("--coin", default="TOYOTA", help="market to show; default %(default)s")
    add("--block-ms", type=int, default=100, help="block interval; default %(default)s")
    add("--seconds", type=float, default=None, help="stop by itself; default: at Ctrl-C")


def run(options: argparse.Namespace) -> None:
    """Starts both, shows the book, stops both."""
    with ExitStack() as stack:
        if options.path is None:
            options.path = Path(stack.enter_context(TemporaryDirectory(prefix="sidecar-demo-")))
        options.path.mkdir(parents=True, exist_ok=True)
        ipc = options.path / "ipc"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        chain_flags = [f"--path={ipc}", f"--block-ms={options.block_ms}", _FUNDING]
        chain = stack.enter_context(_process(options.path, "devnet", *chain_flags))
        print("starting the development chain and the sidecar ...", flush=True)
        serve_flags = (
            f"--source-path={ipc}",
            f"--server-port={options.port}",
            f"--operator-port={options.port and options.port + 1}",
            f"--checkpoint-directory={options.path / 'checkpoints'}",
        )
        sidecar = stack.enter_context(_process(options.path, "serve", *serve_flags))
        address = _wait_until_serving(options.path, (chain, sidecar))
        print(f"  WebSocket   ws://{address}/ws")
        print(f"  HTTP        http://{address}/info")
        print(f"  operators   {_operators(options.path)}")
        print(f"  node log    {ipc}")
        print("Ctrl-C ends everything", flush=True)
        try:
            anyio.run(_show, options, f"ws://{address}/ws", (chain, sidecar))
        except KeyboardInterrupt:
            print("\nstopping ...", flush=True)
    print("stopped", flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


async def _show(options: argparse.Namespace, url: str, processes: "_Processes") -> None:
    with anyio.move_on_after(options.seconds if options.seconds is not None else math.inf):
        async with Client(Place(url)) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_processes, options.path, processes)
            await client.connect()
            if sys.stdout.isatty():
                subscription = {"type": "l2Book", "coin": options.coin, "nLevels": 10}
                await show_book(client, subscription, 10)
            else:
                await _print_bbo(client, options.coin)


async def _print_bbo(client: Client, coin: str) -> None:
    """Without a terminal to draw on: a line for each new best bid and ask."""
    await client.subscribe(type="bbo", coin=coin)
    async for message in client.messages():
        if message["channel"] == "error":
            raise RequestInvalid(message["data"])
        if message["channel"] == "bbo":
            bid, ask = ("-" if one is None else one["px"] for one in message["data"]["bbo"])
            print(f"height {message['height']}  {coin}  {bid} / {ask}", flush=True)


_Processes = tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]  # devnet, serve


async def _watch_processes(path: Path, processes: _Processes) -> None:
    while True:
        _check_running(path, processes)
        await anyio.sleep(_CHECK_S)


def _check_running(path: Path, processes: _Processes) -> None:
    for process, name in zip(processes, ("devnet", "serve"), strict=True):
        if process.poll() is not None:
            raise DemoFailed(f"sidecar {name} ended: {_last_words(path / f'{name}.log')}")


@contextmanager
def _process(path: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A subcommand as a process of its own session (Ctrl-C reaches only us), ended politely."""
    with (path / f"{command[0]}.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            (sys.executable, "-m", "sidecar", *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_serving(path: Path, processes: _Processes) -> str:
    """The address that the sidecar says it serves."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    log = path / "serve.log"
    while not (found := re.search(r"serving ws://(\S+)/ws", log.read_text(errors="replace"))):
        _check_running(path, processes)
        if time.monotonic() > deadline:
            raise DemoFailed(f"no sidecar after {_START_TIMEOUT_S:.0f} s; see {log}")
        time.sleep(_CHECK_S)
    return found[1]


def _operators(path: Path) -> str:
    """Their address, which the log has before clients are served."""
    place = r'"host": "([^"]+)", "port": (\d+), "event": "operators are answered"'
    found = re.search(place, (path / "serve.log").read_text(errors="replace"))
    return ":".join(found.groups()) if found else "see serve.log"


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"
