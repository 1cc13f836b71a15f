"""Settings that nobody has, and which one may be meant: for whoever loads settings, and for whoever
looks at them without loading.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

_PREFIX = "SIDECAR_"
_ALIKE = 0.75  # of difflib's 1: what has no more than section or prefix in common is less
_SERVICE_LINK = re.compile(
    r"SIDECAR_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""What Kubernetes tells each pod of a Service that is called sidecar (enableServiceLinks)."""


class Misspelt(NamedTuple):
    """A name that no setting has, and the nearest that one has."""

    name: str
    near: str | None

    def __str__(self) -> str:
        hint = f"is {self.near} meant?" if self.near else "sidecar serve --help lists all"
        return f"there is no setting {self.name}; {hint}"


def misspelt_keys(tree: Mapping[str, Any], known: Collection[str]) -> list[Misspelt]:
    """Those of a file, in order; `known` are dotted."""
    sections = {key.partition(".")[0] for key in known}
    given = {
        f"{section}.{name}" if name else section
        for section, names in tree.items()
        for name in (names if isinstance(names, dict) and names else ("",))
    }
    return [Misspelt(key, _nearest_key(key, known)) for key in sorted(given - sections - {*known})]


def misspelt_variables(environment: Mapping[str, str], known: Collection[str]) -> list[Misspelt]:
    """Those of the environment, in order."""
    given = {name for name in environment if name.startswith(_PREFIX)} - {*known}
    ours = sorted(name for name in given if not _SERVICE_LINK.fullmatch(name))
    return [Misspelt(name, nearest(name, known)) for name in ours]


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that is most like it, if one is."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE)), None)


def _nearest_key(key: str, known: Collection[str]) -> str | None:
    """One of another section that has its name counts as near, however long the sections are."""
    end = "." + key.rpartition(".")[2]
    alike = [one for one in known if one.endswith(end)]
    if not alike:
        return nearest(key, known)
    return difflib.get_close_matches(key, alike, n=1, cutoff=0.0)[0]
