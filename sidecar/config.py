"""Settings: a TOML file, then the environment, then flags; each key once, checked at the start.

`source.kind` in the file is `SIDECAR_SOURCE_KIND` in the environment and `--source-kind` on the
command line.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from sidecar.errors import ConfigInvalid
from sidecar.misspelt import Misspelt, misspelt_keys, misspelt_variables
from sidecar.settings import Settings


class Key(msgspec.Struct, frozen=True):
    """One setting: its section and name, its plain type, default and description."""

    section: str
    name: str
    type: type
    choices: tuple[str, ...]
    default: Any
    description: str

    @property
    def dotted(self) -> str:
        """As in the file and in messages: `source.kind`."""
        return f"{self.section}.{self.name}"

    @property
    def environment(self) -> str:
        """As in the environment: `SIDECAR_SOURCE_KIND`."""
        return f"SIDECAR_{self.section}_{self.name}".upper()

    @property
    def flag(self) -> str:
        """As on the command line: `--source-kind`."""
        return f"--{self.section}-{self.name}".replace("_", "-")


def keys() -> Iterator[Key]:
    """Every setting, in the order of the file."""
    for section in msgspec.structs.fields(Settings):
        hints = get_type_hints(section.type, include_extras=True)
        for field in msgspec.structs.fields(section.type):
            plain, choices, description = _describe(hints[field.name])
            yield Key(section.name, field.name, plain, choices, field.default, description)


def unknown_keys(tree: Mapping[str, Any]) -> list[Misspelt]:
    """The keys of a file that no setting has."""
    return misspelt_keys(tree, [key.dotted for key in keys()])


def unknown_variables(environment: Mapping[str, str]) -> list[Misspelt]:
    """The variables that begin as ours do, and that no setting has. Whoever set one relied on it:
    it may be that of `server.tokens_file`.
    """
    return misspelt_variables(environment, [key.environment for key in keys()])


def load_settings(
    path: Path | None, environment: Mapping[str, str], flags: Mapping[str, str]
) -> Settings:
    """The settings from a file (None: defaults only), `environment` and `flags` (by dotted key), in
    rising order.

    Raises `ConfigInvalid`, which names the key, where it was set, and what is allowed.
    """
    tree = _read(path) if path is not None else {}
    _refuse(str(path), unknown_keys(tree))
    _refuse("environment", unknown_variables(environment))
    origin = str(path)
    for key in keys():
        for text, name in (
            (environment.get(key.environment), key.environment),
            (flags.get(key.dotted), key.flag),
        ):
            if text is not None:
                section = tree.setdefault(key.section, {})
                if not isinstance(section, dict):
                    raise ConfigInvalid(f"{path}: {key.section} is a section: [{key.section}]")
                section[key.name] = _parse(key, text, name)
                origin = f"{path}, the environment or the flags" if path else "environment or flags"
    _default_directory(tree, environment)
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise ConfigInvalid(f"{origin}: {_explain(str(error))}") from error


def _refuse(where: str, unknown: Sequence[Misspelt]) -> None:
    if unknown:
        raise ConfigInvalid(f"{where}: {'; '.join(map(str, unknown))}")


def _default_directory(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    """`checkpoint.directory` where systemd gives the service one (systemd.exec(5): StateDirectory=;
    several are separated by colons).
    """
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    section = tree.setdefault("checkpoint", {})
    if given and isinstance(section, dict):
        section.setdefault("directory", f"{given}/checkpoints")


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError as error:
        raise ConfigInvalid(f"{path}: no such config file") from error
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"{path}: {error}") from error


def _parse(key: Key, text: str, origin: str) -> Any:
    if key.type is bool:
        try:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.lower()
            ]
        except KeyError:
            raise ConfigInvalid(f"{origin}: {key.dotted} is true or false, not {text!r}") from None
    if key.type in (int, float):
        try:
            return key.type(text)
        except ValueError:
            raise ConfigInvalid(f"{origin}: {key.dotted} is a number, not {text!r}") from None
    return text


def _explain(message: str) -> str:
    """msgspec's message with the key in front: "Expected ... - at `$.server.port`"."""
    what, _, place = message.partition(" - at `$.")
    place = place.rstrip("`")
    choices = next((key.choices for key in keys() if key.dotted == place), ())
    allowed = f"; it is one of {', '.join(choices)}" if choices else ""
    return f"{place}: {what}{allowed}" if place else what


def _describe(hint: Any) -> tuple[type, tuple[str, ...], str]:
    description = ""
    while get_origin(hint) is Annotated:
        hint, *metadata = get_args(hint)
        for meta in metadata:
            description = meta.description or description
    if get_origin(hint) is Literal:
        return str, get_args(hint), description
    plain = next((one for one in get_args(hint) if one is not type(None)), hint)
    if get_origin(plain) is Annotated:  # in `Annotated[int, ...] | None`
        plain = get_args(plain)[0]
    return plain, (), description
