"""Who may read and who may trade, where not everybody may: bearer tokens, of which a file holds
only the hashes.

    # name      scopes       SHA-256 of the token, in hex
    desk-1      read,trade   9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

A token is 256 random bits, so that its hash needs no salt and nobody gains by timing the lookup.
"""

import hashlib
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import ConfigInvalid, HttpRefused
from sidecar.protocol.request import Request
from sidecar.settings import ServerSettings

READ, TRADE = "read", "trade"
SCOPES = (READ, TRADE)
_LINE = re.compile(r"(\S+)\s+(\S+)\s+([0-9a-f]{64})")
_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]+=*)")
_CHALLENGE = (("WWW-Authenticate", "Bearer"),)


class Grant(NamedTuple):
    """What a token allows."""

    name: str
    scopes: frozenset[str]
    digest: str  # the token's

    def require(self, scope: str) -> None:
        """Raises `HttpRefused`."""
        if scope not in self.scopes:
            raise HttpRefused(403, f"the token {self.name!r} may not {scope}")


EVERYTHING = Grant("", frozenset(SCOPES), "")


class Tokens:
    """The grants by the hash of their token."""

    def __init__(self, grants: dict[str, Grant]) -> None:
        self._grants = grants

    def __contains__(self, grant: Grant) -> bool:
        """Whether it is still given, unchanged."""
        return self._grants.get(grant.digest) == grant

    def grant(self, request: Request) -> Grant:
        """What the request's token allows. Raises `HttpRefused` without a good one."""
        found = _BEARER.fullmatch(request.header("authorization") or "")
        grant = None if found is None else self._grants.get(_hash(found[1]))
        if grant is None:
            what = "a token is needed" if found is None else "this token is not known"
            raise HttpRefused(401, f"{what}: Authorization: Bearer TOKEN", _CHALLENGE)
        return grant


def tokens_of(settings: ServerSettings) -> Tokens | None:
    """Those of the settings' file, None where none is asked for. Raises `ConfigInvalid`."""
    return None if settings.tokens_file is None else read_tokens(Path(settings.tokens_file))


def read_tokens(path: Path) -> Tokens:
    """The tokens of a file. Raises `ConfigInvalid`, which names the line."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigInvalid(f"server.tokens_file: can't read {path}: {error}") from error
    grants = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        scopes = frozenset(found[2].split(",")) if found else frozenset[str]()
        if found is None or not scopes <= set(SCOPES):
            what = f"a name, scopes of {', '.join(SCOPES)}, and a SHA-256 in hex"
            raise ConfigInvalid(f"server.tokens_file: {path} line {number} is not {what}")
        grants[found[3]] = Grant(found[1], scopes, found[3])
    return Tokens(grants)


def new_token(name: str, scopes: str) -> tuple[str, str]:
    """A token, and its line for the file."""
    token = secrets.token_urlsafe(32)
    return token, f"{name} {scopes} {_hash(token)}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
