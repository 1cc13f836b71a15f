"""How the runs before this one ended. A task that fails ends its process, and its counter with it,
before anybody has read it: so it is kept where systemd keeps it over restarts.

    $RUNTIME_DIRECTORY/deaths.json    {"deaths": {"pipeline": 1, "process": 2}, "running": true}

"process": that one ended without a word, killed or out of memory.
"""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

PROCESS = "process"
_FILE = "deaths.json"


class _Kept(msgspec.Struct):
    deaths: dict[str, int] = {}
    running: bool = False


class Deaths:
    """Of one service. Nothing is kept where there is no such directory, or it can't be written."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """systemd sets RUNTIME_DIRECTORY to those of the unit, one behind the other."""
        first = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._path = Path(first) / _FILE if first else None

    def begin(self) -> Counter[str]:
        """A process begins: the deaths of those before it, by task."""
        kept = self._read()
        deaths = Counter(kept.deaths)
        deaths[PROCESS] += kept.running
        self._write(_Kept(dict(deaths), running=True))
        return deaths

    def end(self, deaths: Mapping[str, int]) -> None:
        """It ends in order, or says why; all deaths so far."""
        self._write(_Kept(dict(deaths)))

    def _read(self) -> _Kept:
        with suppress(OSError, msgspec.DecodeError):
            if self._path is not None:
                return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        return _Kept()

    def _write(self, kept: _Kept) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(kept))
            fresh.replace(self._path)
