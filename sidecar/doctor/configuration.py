"""Settings, and the files that they name: who may change them, who may read what is secret."""

import difflib
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.config import keys
from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.errors import ConfigInvalid
from sidecar.server.tokens import read_tokens

_PREFIX = "SIDECAR_"


def unknown_keys(config: Path) -> list[Finding]:
    """All keys of a file that no setting has, each with the one that may be meant."""
    try:
        tree = tomllib.loads(config.read_text())
    except (OSError, UnicodeError, tomllib.TOMLDecodeError):
        return []  # loading it says so
    known = {key.dotted for key in keys()} | {key.section for key in keys()}
    given = {
        f"{section}.{name}" if name else section
        for section, names in tree.items()
        for name in (names if isinstance(names, dict) and names else ("",))
    }
    return [_unknown(key, known, str(config)) for key in sorted(given - known)]


def _unknown(key: str, known: set[str], where: str) -> Finding:
    near = difflib.get_close_matches(key, known, n=1)
    meant = f"write {near[0]}" if near else "remove it; sidecar serve --help lists all"
    return error("there is no such setting", where=where, value=key, remedy=meant)


def check_environment(site: Site) -> Iterator[Finding]:
    """A misspelt variable is no error anywhere else."""
    known = {key.environment for key in keys()}
    for name in sorted(_ours(site.environment) - known):
        near = difflib.get_close_matches(name, known, n=1)
        yield warning(
            "no setting has this variable; it does nothing",
            where="environment",
            value=name,
            remedy=f"set {near[0]}" if near else f"unset {name}",
        )


def _ours(environment: Mapping[str, str]) -> set[str]:
    return {name for name in environment if name.startswith(_PREFIX)}


def check_config_mode(site: Site) -> Iterator[Finding]:
    """Whoever may write it decides what is served, and to whom."""
    if site.config is not None and (mode := site.config.stat().st_mode) & stat.S_IWOTH:
        yield warning(
            "everybody may change the settings",
            where=site.config,
            value=stat.filemode(mode),
            remedy=f"chmod o-w {site.config}",
        )


def check_tokens(site: Site) -> Iterator[Finding]:
    """The file is there, valid, and nobody else's."""
    given = site.settings.server.tokens_file
    if given is None:
        return
    try:
        read_tokens(Path(given))
        mode = Path(given).stat().st_mode
    except (ConfigInvalid, OSError) as refused:
        remedy = "sidecar token NAME makes a line; the service's user has to read the file"
        yield error(str(refused), where=given, remedy=remedy)
        return
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield warning(
            "others may read or change the hashes of the tokens",
            where=given,
            value=stat.filemode(mode),
            remedy=f"chmod 640 {given}",
        )
