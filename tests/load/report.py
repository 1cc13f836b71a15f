"""A line of the result: what was measured, what is wanted, and whether that is met."""

from typing import NamedTuple


class Options(NamedTuple):
    """What a scenario is told."""

    clients: int
    seconds: float  # of each phase
    seed: int


class Row(NamedTuple):
    """One line."""

    target: str  # R6 to R20
    what: str
    measured: str
    wanted: str
    met: bool
    fact: bool  # holds on any machine; otherwise a figure, of this one

    def __str__(self) -> str:
        mark = "yes" if self.met else "NO"
        return f"{self.target:4} {self.what:62} {self.measured:>14} {self.wanted:>12}  {mark}"


HEADER = f"{'id':4} {'what':62} {'measured':>14} {'target':>12}  met"


def at_most(target: str, what: str, measured: float, bound: float, unit: str) -> Row:
    """A figure that should be small."""
    wanted = f"<= {bound:g} {unit}"
    return Row(target, what, f"{measured:.4g} {unit}", wanted, measured <= bound, fact=False)


def share(target: str, what: str, measured: int, of: int, *, least: float = 1.0) -> Row:
    """What holds for so many of them."""
    wanted = "all" if least == 1 else f">= {least:.1%}"
    return Row(target, what, f"{measured}/{of}", wanted, measured >= least * of > 0, fact=True)


def is_equal(target: str, what: str, measured: object, wanted: object) -> Row:
    """What has to be just that."""
    return Row(target, what, str(measured), str(wanted), measured == wanted, fact=True)
