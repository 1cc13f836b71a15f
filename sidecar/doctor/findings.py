"""What a check finds, and what a check is."""

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from sidecar.doctor.site import Site

ERROR: Literal["error"] = "error"
WARNING: Literal["warning"] = "warning"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: what, where, the measured value, and what to do about it."""

    severity: Literal["error", "warning"]
    what: str
    where: str
    value: str
    remedy: str
    check: str = ""  # its name, which the examination adds

    def lines(self) -> tuple[str, str, str]:
        """For people."""
        value = f" ({self.value})" if self.value else ""
        return (
            f"{self.severity:8} {self.check}: {self.what}",
            f"         at {self.where}{value}",
            f"         do {self.remedy}",
        )


def always(_: Site) -> bool:
    """It applies to every site."""
    return True


class Check(msgspec.Struct, frozen=True):
    """One entry of the table: `holds` says in a line what is true where nothing is found; `applies`
    tells whether there is anything to look at.
    """

    name: str
    holds: str
    look: Callable[[Site], Iterator[Finding]]
    applies: Callable[[Site], bool] = always


def error(what: str, *, where: object, value: object = "", remedy: str) -> Finding:
    """It keeps the sidecar from serving, or makes it serve what is wrong or late."""
    return Finding(ERROR, what, str(where), str(value), remedy)


def warning(what: str, *, where: object, value: object = "", remedy: str) -> Finding:
    """It serves, but a part is missing, slow or at risk."""
    return Finding(WARNING, what, str(where), str(value), remedy)
