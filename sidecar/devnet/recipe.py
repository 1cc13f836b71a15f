"""What a chain was made of, kept beside it (`ipc/devnet.json`), so that only the same goes on."""

from pathlib import Path

import msgspec

from sidecar.devnet.config import DevnetConfig
from sidecar.devnet.execution.prices import Move
from sidecar.errors import ConfigInvalid, LogUnwritable
from sidecar.node.ipc import replace_file

RULES = "devnet/2"  # to be raised when the same settings make another chain
_SETTINGS = (
    "seed",
    "block_ms",
    "actions_per_block",
    "burst",
    "markets",
    "makers",
    "takers",
    "gamblers",
    "prices_blocks",
    "funding_ms",
    "moves",
)


class Recipe(msgspec.Struct):
    """The settings of a chain."""

    rules: str
    seed: int
    block_ms: int
    actions_per_block: int
    burst: bool
    markets: tuple[str, ...]
    makers: int
    takers: int
    gamblers: int
    prices_blocks: int
    funding_ms: int
    moves: tuple[Move, ...]

    @classmethod
    def of(cls, config: DevnetConfig) -> "Recipe":
        """The recipe of a chain that does not exist yet."""
        return cls(RULES, **{key: getattr(config, key) for key in _SETTINGS})

    def check(self, config: DevnetConfig, path: Path) -> None:
        """Raises `ConfigInvalid` where `config` makes another chain than the recorded one."""
        for key in _SETTINGS:
            ours, theirs = getattr(config, key), getattr(self, key)
            if ours != theirs:
                raise ConfigInvalid(
                    f"devnet.{key} is {_text(ours)}, but the chain in {path.parent} was made with "
                    f"{_text(theirs)}; use that, or a fresh directory"
                )


def _text(setting: object) -> str:
    """A setting as the command line has it."""
    if isinstance(setting, tuple):
        return " ".join(map(str, setting)) or "none"
    return str(setting)


class _Rules(msgspec.Struct):
    rules: str


def read_recipe(path: Path) -> Recipe | None:
    """The recorded recipe, None where there is none. Raises `LogUnwritable`; also where the chain
    was made by other rules than these.
    """
    try:
        content = path.read_bytes()
        rules = msgspec.json.decode(content, type=_Rules).rules
        if rules != RULES:
            raise LogUnwritable(
                f"the chain was made by rules {rules!r}, these are {RULES!r}; "
                "use a fresh directory",
                path=path,
            )
        return msgspec.json.decode(content, type=Recipe)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
