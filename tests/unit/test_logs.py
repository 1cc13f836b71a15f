"""Log lines: repeats are counted and never lost, secrets never shown, all that matter are
documented.
"""

import ast
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from sidecar.limits import LOG_REPEATS_KEPT, LOG_REPEATS_S, LOG_REPEATS_SHOWN
from sidecar.telemetry import logs, printable
from sidecar.telemetry.outlet import Outlet
from sidecar.telemetry.redact import HIDDEN, redact
from sidecar.telemetry.repeats import Repeats

ROOT = Path(__file__).resolve().parents[2]
LOUD = {"warning": "warning", "error": "error", "exception": "error"}


def loud_events() -> Iterator[tuple[str, str]]:
    """Level and event of each call; what is put in is `*`."""
    for path in (ROOT / "sidecar").rglob("*.py"):
        if "devnet" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr=level), args=[event]
                ):
                    if name.endswith("log") and level in LOUD:
                        yield LOUD[level], shown(event)


def shown(event: ast.expr) -> str:
    if isinstance(event, ast.Constant):
        return str(event.value)
    assert isinstance(event, ast.JoinedStr)
    return "".join(str(one.value) if isinstance(one, ast.Constant) else "*" for one in event.values)


def test_every_line_that_matters_is_documented() -> None:
    document = (ROOT / "docs" / "logs.md").read_text()
    rows = re.findall(r"^\| (\w+) \| `(.+?)` \| ", document, re.MULTILINE)
    chosen = {("warning", "feed"), ("warning", "no checkpoints")}  # by expressions
    assert set(rows) == set(loud_events()) | chosen
    assert len(rows) == len(set(rows))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def put(repeats: Repeats, **event: Any) -> dict[str, Any] | None:
    event = {"level": "warning", "room": "x", "event": "e"} | event
    try:
        return dict(repeats(None, "", event))
    except structlog.DropEvent:
        return None


def test_a_few_are_shown_then_how_many_more_there_were() -> None:
    repeats = Repeats(clock := Clock())
    told = [put(repeats, n=n) for n in range(50)]
    assert [one["n"] for one in told if one] == list(range(LOG_REPEATS_SHOWN))
    assert put(repeats, reason="another") is not None
    assert put(repeats, level="debug") is not None
    clock.now = LOG_REPEATS_S
    again = put(repeats)
    assert again is not None
    assert again["repeated"] == 50 - LOG_REPEATS_SHOWN


def test_a_thousand_accounts_are_one_cause() -> None:
    """Their reasons differ in addresses, heights and amounts only."""
    repeats = Repeats(Clock())
    reasons = [
        f"the node checks account 0x{n:040x}: positions are {[(n, -n)] * (n % 4)}, here {n * 7}"
        for n in range(1000)
    ]
    shown = [one for reason in reasons if (one := put(repeats, reason=reason))]
    assert [one["reason"] for one in shown] == reasons[:LOG_REPEATS_SHOWN]
    assert put(repeats, reason="the node checks account 0x00: account value is 3, here 4")


def test_what_does_not_come_again_is_told_too() -> None:
    repeats, said = Repeats(clock := Clock()), list[Any]()
    for _ in range(LOG_REPEATS_SHOWN + 3):
        put(repeats, reason="r")
    repeats.tell(said.append)
    assert not said
    clock.now = LOG_REPEATS_S
    repeats.tell(said.append)
    assert said == [{"level": "warning", "room": "x", "event": "e", "reason": "r", "repeated": 3}]
    repeats.tell(said.append)
    assert len(said) == 1


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, LOG_REPEATS_S)), max_size=200),
)
def test_every_line_is_shown_or_counted(lines: list[tuple[int, float]]) -> None:
    repeats, counted = Repeats(clock := Clock()), 0
    said: list[Any] = []
    for kind, pause in lines:
        clock.now += pause
        event = put(repeats, reason=kind)
        if event is not None:
            counted += 1 + event.get("repeated", 0)
        repeats.tell(said.append)
    clock.now += LOG_REPEATS_S
    repeats.tell(said.append)
    assert counted + sum(one["repeated"] for one in said) == len(lines)


def test_kinds_are_bounded() -> None:
    repeats = Repeats(Clock())
    for number in range(3 * LOG_REPEATS_KEPT):
        put(repeats, reason=number)
    assert len(repeats._seen) <= LOG_REPEATS_KEPT


SIGNATURE = "0x" + "ab" * 65
HALF = "0x" + "cd" * 32


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        (f"a signature {SIGNATURE} that is wrong", "abab"),
        ({"signature": {"r": HALF, "s": HALF, "v": 27}}, "cdcd"),
        (f'{{"r": "{HALF}", "s": "{HALF}"}}', "cdcd"),
        ("GET /ws?token=geheim&x=1", "geheim"),
        (["Bearer one", {"token": "two"}], "one"),
        ({"Authorization": "Basic eHg="}, "eHg"),
    ],
)
def test_no_secret_is_shown(value: Any, secret: str) -> None:
    told = json.dumps(redact(value))
    assert secret not in told
    assert HIDDEN in told


@pytest.mark.parametrize(
    "text", [HALF, "0x" + "12" * 20, "height 7", "tokens are asked for no more"]
)
def test_hashes_addresses_and_words_stay(text: str) -> None:
    assert redact(text, "reason") == text


@pytest.fixture
def configured() -> Iterator[None]:
    """What a test configures is its own."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("configured")
def test_lines_are_json_with_secrets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure_logs("debug", "json")
    log = logs.get_log("room")
    try:
        int("Bearer abcdef")
    except ValueError:
        log.exception("bug", token="abcdef", nested={"authorization": "abcdef"})
    for _ in range(LOG_REPEATS_SHOWN + 5):
        log.warning("again", reason="r")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "abcdef" not in stream.getvalue()
    assert "ValueError" in lines[0]["exception"]
    assert lines[0]["timestamp"].endswith("Z")
    assert len(lines) == 1 + LOG_REPEATS_SHOWN


@pytest.mark.usefixtures("configured")
def test_how_many_lines_are_missing_is_said_once_lines_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    with path.open("wb") as kept, open("/dev/full", "wb") as full:  # noqa: PTH123
        out = Outlet(os.dup(full.fileno())).open()
        monkeypatch.setattr("sys.stderr", out)
        monkeypatch.setattr(logs, "STDERR", out)
        logs.configure_logs("error", "json")
        log = logs.get_log("room")
        for number in range(3):
            log.error("lost", n=number)
        os.dup2(kept.fileno(), out.fileno())
        for number in range(2):
            log.error("written", n=number)
        os.dup2(full.fileno(), out.fileno())
        log.error("another is lost")
        os.close(out.fileno())
    told = [json.loads(one) for one in path.read_text().splitlines()]
    assert [one["event"] for one in told] == ["written", "log lines were lost", "written"]
    assert (told[1]["lines"], told[1]["reason"]) == (3, "No space left on device")
    assert out.lost == 4


@pytest.mark.usefixtures("configured")
def test_what_was_lost_is_told_later_where_it_would_be_a_repetition_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    clock = Clock()
    with path.open("wb") as kept, open("/dev/full", "wb") as full:  # noqa: PTH123
        out = Outlet(os.dup(full.fileno())).open()
        monkeypatch.setattr("sys.stderr", out)
        monkeypatch.setattr(logs, "STDERR", out)
        monkeypatch.setattr(logs, "_REPEATS", Repeats(clock))
        logs.configure_logs("debug", "json")
        log = logs.get_log("room")
        for _ in range(2 * LOG_REPEATS_SHOWN):
            os.dup2(full.fileno(), out.fileno())
            log.debug("lost")
            os.dup2(kept.fileno(), out.fileno())
            log.debug("written")
        clock.now = LOG_REPEATS_S
        log.debug("written")
        os.close(out.fileno())
    told = [json.loads(one) for one in path.read_text().splitlines()]
    missing = [one["lines"] for one in told if one["event"] == "log lines were lost"]
    assert missing == [*LOG_REPEATS_SHOWN * [1], LOG_REPEATS_SHOWN]


EVIL = "a\n2026 [error] forged\x1b[2J\x1b]0;title\x07\x7f\x9b31m\u2028\u202eb"


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("evil", [EVIL, "\x1b[31m", "\x9b31m", "\rforged"])
def test_nobody_steers_the_terminal_or_writes_a_line_of_the_log(
    style: str, evil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = io.StringIO()
    monkeypatch.setattr("sys.stderr", told)
    logs.configure_logs("debug", style)
    log = logs.get_log("server")
    event = f"bug: {evil}"
    try:
        [].index(evil)  # type: ignore[arg-type]
    except ValueError as error:
        log.exception(event, origin=evil, inner=[{"k": evil}], exc_info=ValueError(evil, error))
    structlog.reset_defaults()
    text = told.getvalue()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)
    assert not any(one.startswith(("2026 [error] forged", "forged")) for one in text.splitlines())


@given(st.text())
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert printable.block(text) == text or not text.isprintable()
    assert len(printable.line(text).splitlines()) <= 1
    assert "\x1b" not in printable.block(text)
