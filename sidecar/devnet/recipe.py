"""What a chain was made of, kept beside it (`ipc/devnet.json`), so that it can be made again.

A chain follows from its settings and from when it was started: nothing else goes into it. A
producer that starts again executes it again from genesis to the last height in the log, and goes on
from there.
"""

from pathlib import Path

import msgspec

from sidecar.devnet.config import DevnetConfig
from sidecar.errors import ConfigInvalid, LogUnwritable
from sidecar.node.ipc import replace_file

RULES = "devnet/1"  # to be raised when the same settings make another chain
_SETTINGS = ("seed", "block_ms", "actions_per_block", "burst", "markets")


class Recipe(msgspec.Struct):
    """The settings of a chain and `starts`: from which height on its clock was set, to what.

    The clock is set when a producer starts and when it was held up for longer than it can make up
    for (a suspended machine); between, each block is one interval after the one before.
    """

    rules: str
    seed: int
    block_ms: int
    actions_per_block: int
    burst: bool
    markets: tuple[str, ...]
    starts: dict[int, int]  # height -> consensus time of that block, ns

    @classmethod
    def of(cls, config: DevnetConfig) -> "Recipe":
        """The recipe of a chain that does not exist yet."""
        return cls(RULES, starts={}, **{key: getattr(config, key) for key in _SETTINGS})

    def check(self, config: DevnetConfig, path: Path) -> None:
        """Raises `ConfigInvalid` where `config` makes another chain than the recorded one."""
        for key in _SETTINGS:
            ours, theirs = getattr(config, key), getattr(self, key)
            if ours != theirs:
                raise ConfigInvalid(
                    f"devnet.{key} is {ours!r}, but the chain in {path.parent} was made with "
                    f"{theirs!r}; use that, or a fresh directory"
                )
        if self.rules != RULES:
            raise LogUnwritable(
                f"the chain was made by rules {self.rules!r}, these are {RULES!r}; "
                "use a fresh directory",
                path=path,
            )


def read_recipe(path: Path) -> Recipe | None:
    """The recorded recipe, None where there is none. Raises `LogUnwritable`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Recipe)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        what = f"not the record of a development chain ({error}); use a fresh directory"
        raise LogUnwritable(what, path=path) from error
    except OSError as error:
        raise LogUnwritable(f"can't be read: {error.strerror}", path=path) from error


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Records a recipe, whole or not at all. Raises `LogUnwritable`."""
    try:
        replace_file(path, msgspec.json.encode(recipe))
    except OSError as error:
        raise LogUnwritable(f"can't be written: {error.strerror}", path=path) from error
