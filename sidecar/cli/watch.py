"""Watch a channel of a running sidecar in the terminal.

sidecar watch l2Book TOYOTA              a live book with its last trades
sidecar watch trades SONY                every message as a line of JSON
sidecar watch l2Book NTT --json          the same for the book
sidecar watch l2Book BTC --param nSigFigs=5 --param mantissa=2
sidecar watch userFills --param user=0xADDRESS
sidecar watch bbo --url wss://HOST/ws --token-file FILE
"""

import argparse
import ssl
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sidecar.cli.client import Client, Place
from sidecar.errors import ConfigInvalid, RequestInvalid

_DEFAULT_URL = "ws://127.0.0.1:8010/ws"
_TRADES_SHOWN = 5
_REFRESH_PER_S = 10
_FRAME_LINES = 7  # title, head and rules of the table, and one to spare
_BAR_CHARS = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to watch, and where."""
    add = parser.add_argument
    add("channel", nargs="?", default="l2Book", help="subscription type; default %(default)s")
    add("coin", nargs="?", help="market; default: the first one that the chain lists")
    add("--url", default=_DEFAULT_URL, help="ws:// or wss://; default %(default)s")
    tokens = parser.add_mutually_exclusive_group()
    tokens.add_argument("--token-file", metavar="FILE", help="file with a token; - is stdin")
    tokens.add_argument("--token", help="the token itself, which everybody on this machine sees")
    add("--ca-file", type=Path, metavar="FILE", help="certificates to trust, for wss://")
    add("--depth", type=int, default=10, help="most levels a side; default %(default)s")
    add(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further field of the subscription, the value as JSON (or a plain word); may repeat",
    )
    add("--json", action="store_true", help="print messages as lines of JSON")
    add("--count", type=int, default=None, help="stop after so many messages")


def run(options: argparse.Namespace) -> None:
    """Shows messages until interrupted or the server ends."""
    anyio.run(_watch, options, backend_options={"use_uvloop": True})


async def _watch(options: argparse.Namespace) -> None:
    subscription = {"type": options.channel, **_parameters(options.param)}
    place = Place(options.url, _token(options), _authorities(options.ca_file))
    async with Client(place) as client:
        await client.connect()
        if options.coin is not None:
            subscription["coin"] = options.coin
        elif options.channel not in ("allMids", "blocks"):
            subscription["coin"] = await _first_coin(place)
        if options.channel == "l2Book" and not options.json and sys.stdout.isatty():
            subscription.setdefault("nLevels", options.depth)
            await show_book(client, subscription, options.depth)
        else:
            await client.subscribe(**subscription)
            await _print_lines(client, options.count)


def _token(options: argparse.Namespace) -> str | None:
    token: str | None = options.token
    if options.token_file is not None:
        token = _first_line(options.token_file)
    if token is not None and not (token.isascii() and token.isprintable() and token):
        raise ConfigInvalid("a token is one line of ASCII, as sidecar token prints it")
    return token


def _first_line(name: str) -> str:
    try:
        text = sys.stdin.readline() if name == "-" else Path(name).read_text()
    except OSError as error:
        raise ConfigInvalid(f"--token-file: {name}: {error.strerror}") from error
    except UnicodeError as error:
        raise ConfigInvalid(f"--token-file: {name} is no text") from error
    return text.partition("\n")[0].strip()


def _authorities(path: Path | None) -> Path | None:
    try:
        if path is not None:
            ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigInvalid(f"--ca-file: {path}: {error.strerror or error}") from error
    return path


async def _print_lines(client: Client, count: int | None) -> None:
    pushed = 0
    async for message in client.messages():
        if message["channel"] == "error":
            raise RequestInvalid(message["data"])
        if message["channel"] != "subscriptionResponse":
            print(msgspec.json.encode(message).decode(), flush=True)
            pushed += 1
            if pushed == count:
                return


async def _first_coin(place: Place) -> str:
    async with Client(place) as client:
        await client.connect()
        await client.subscribe(type="allMids")
        async for message in client.messages():
            if message["channel"] == "allMids" and message["data"]["mids"]:
                return str(next(iter(message["data"]["mids"])))
    raise AssertionError("messages() ends by raising")


async def show_book(client: Client, subscription: dict[str, Any], depth: int) -> None:
    """A live book with its last trades, redrawn a few times a second, for ever."""
    coin = subscription["coin"]
    await client.subscribe(**subscription)
    await client.subscribe(type="trades", coin=coin)
    trades: deque[dict[str, Any]] = deque(maxlen=_TRADES_SHOWN)
    screen = Live(console=Console(), refresh_per_second=_REFRESH_PER_S, transient=True)
    with screen:
        book: dict[str, Any] | None = None
        async for message in client.messages():
            if message["channel"] == "error":
                raise RequestInvalid(message["data"])
            if message["channel"] == "trades":
                trades.extend(message["data"])
            elif message["channel"] == "l2Book":
                book = message
            if book is not None:
                room = screen.console.size.height - _FRAME_LINES - len(trades)
                screen.update(_render(book, trades, min(depth, max(room // 2, 1))))


def _render(message: dict[str, Any], trades: deque[dict[str, Any]], depth: int) -> Group:
    data = message["data"]
    bids, asks = data["levels"]
    table = Table(title=f"{data['coin']}  height {message['height']}", title_style="bold")
    for name, justify in (("px", "right"), ("sz", "right"), ("n", "right"), ("", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    largest = max((float(level["sz"]) for level in bids + asks), default=1.0)
    for level in reversed(asks[:depth]):
        table.add_row(*_row(level, largest), style="red")
    table.add_section()
    for level in bids[:depth]:
        table.add_row(*_row(level, largest), style="green")
    return Group(table, *(_trade_line(trade) for trade in reversed(trades)))


def _row(level: dict[str, Any], largest: float) -> tuple[str, str, str, str]:
    bar = "█" * round(_BAR_CHARS * float(level["sz"]) / largest)
    return level["px"], level["sz"], str(level["n"]), bar.ljust(_BAR_CHARS)


def _trade_line(trade: dict[str, Any]) -> Text:
    at = datetime.fromtimestamp(trade["time"] / 1000, UTC)
    word, style = ("buy ", "green") if trade["side"] == "B" else ("sell", "red")
    return Text(f" {at:%H:%M:%S.%f}"[:-3] + f" {word} {trade['sz']} at {trade['px']}", style=style)


def _parameters(pairs: list[str]) -> dict[str, Any]:
    parameters = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigInvalid(f"--param takes NAME=VALUE, not {pair!r}")
        try:
            parameters[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            parameters[name] = value
    return parameters
