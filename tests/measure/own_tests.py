"""Which tests are a module's own: the unit tests of its room that have its name, or that are named
for it here; where there is none, all unit tests of its room.

    sidecar/state/book.py               tests/unit/state/test_book.py
    sidecar/protocol/http.py            tests/unit/protocol/test_protocol_http.py
    sidecar/node/hyperliquid/fills.py   tests/unit/node/test_hyperliquid_fills.py
    sidecar/server/hub.py               tests/unit/server/test_*.py

Rooms without unit tests (cli, doctor, workers, ...) are tested as processes: they have figures of
the whole suite only.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_UNIT = Path("tests/unit")

_NAMED_ELSEWHERE = {
    "cli/operator_client.py": ("test_operator_client.py",),
    "recovery/recover.py": ("test_recovery.py",),
    "state/aggregation.py": ("state/test_book.py",),
    "state/changes.py": ("state/test_chain.py", "state/test_orders.py"),
    "state/chain.py": ("state/test_chain.py", "state/test_health.py"),
    "state/checkpoint.py": ("state/test_checkpoint_rows.py",),
    "state/context.py": ("state/test_candles.py",),
    "state/faults.py": ("state/test_chain.py", "state/test_health.py"),
    "state/recent.py": ("state/test_recent_records.py", "state/test_orders.py"),
    "state/restorer.py": ("state/test_chain.py",),
    "state/users.py": ("state/test_orders.py",),
    "telemetry/logs.py": ("test_logs.py",),
}


def modules() -> list[Path]:
    """The product's, relative to the root; those that say nothing are left out."""
    found = (path.relative_to(ROOT) for path in sorted((ROOT / "sidecar").rglob("*.py")))
    return [path for path in found if (ROOT / path).stat().st_size and path.name != "__main__.py"]


def own_tests(module: Path) -> list[Path]:
    """The test modules, relative to the root; none for a room without unit tests."""
    inner = module.relative_to("sidecar")
    named = [_UNIT / name for name in _NAMED_ELSEWHERE.get(inner.as_posix(), ())]
    return named or _of_its_name(inner) or _of_its_room(inner)


def _of_its_name(inner: Path) -> list[Path]:
    room = _UNIT / (inner.parts[0] if len(inner.parts) > 1 else "")
    before = ("", *(f"{part}_" for part in inner.parts[:-1]))
    names = [room / f"test_{prefix}{inner.stem}.py" for prefix in before]
    return [path for path in names if (ROOT / path).exists()]


def _of_its_room(inner: Path) -> list[Path]:
    if len(inner.parts) == 1:
        return []
    found = (ROOT / _UNIT / inner.parts[0]).glob("test_*.py")
    return sorted(path.relative_to(ROOT) for path in found)
