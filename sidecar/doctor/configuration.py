"""Settings, and the files that they name: who may change them, who may read what is secret."""

import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecar.config import unknown_keys, unknown_variables
from sidecar.doctor.findings import Finding, error, warning
from sidecar.doctor.site import Site
from sidecar.errors import ConfigInvalid
from sidecar.misspelt import Misspelt
from sidecar.server.tokens import read_tokens


def misspelt(config: Path | None, environment: Mapping[str, str]) -> list[Finding]:
    """All keys of a file and all variables that no setting has, each with the one that may be
    meant.
    """
    found = [_unknown(one, "environment", "set") for one in unknown_variables(environment)]
    if config is not None:
        try:
            tree = tomllib.loads(config.read_text())
        except (OSError, UnicodeError, tomllib.TOMLDecodeError):
            return []  # loading it says so
        found = [_unknown(one, str(config), "write") for one in unknown_keys(tree)] + found
    return found


def _unknown(one: Misspelt, where: str, verb: str) -> Finding:
    meant = f"{verb} {one.near}" if one.near else "remove it; sidecar serve --help lists all"
    return error("there is no such setting", where=where, value=one.name, remedy=meant)


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
