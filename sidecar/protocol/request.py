"""An HTTP request as the rest of the house sees it: complete, checked, immutable."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose head and body have arrived.

    `version` is "1.1" or "1.0". `target` is the request line's, percent-encoding untouched.
    `headers` are pairs of lower-case name and latin-1 value in the order of arrival; values have no
    control characters but tabs.
    """

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target before the first "?"."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the first "?", or ""."""
        return self.target.partition("?")[2]

    def values(self, name: str) -> tuple[str, ...]:
        """Each value of a header, by its lower-case name. O(headers)."""
        return tuple(value for each, value in self.headers if each == name)

    def header(self, name: str) -> str | None:
        """The header's values joined as RFC 9110 section 5.3 allows, or None. O(headers)."""
        values = self.values(name)
        return ", ".join(values) if values else None

    def tokens(self, name: str) -> tuple[str, ...]:
        """The members of a comma-separated header in lower case, over its repeats, empty ones left
        out (RFC 9110 section 5.6.1).
        """
        members = (member.strip(" \t") for member in (self.header(name) or "").split(","))
        return tuple(member.lower() for member in members if member)
