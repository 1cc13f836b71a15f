"""Python, and the packages that the sidecar is made of."""

import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from platform import python_version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sidecar.doctor.findings import Finding, error
from sidecar.doctor.site import Site

_NAME = "sidecar"


def check_python(_: Site) -> Iterator[Finding]:
    """Its version is one that is tested."""
    try:
        wanted = metadata.metadata(_NAME)["Requires-Python"]
    except metadata.PackageNotFoundError:
        yield error(
            "the sidecar is not installed: it is run from its sources",
            where=sys.executable,
            remedy="pip install . in a clone of the repository",
        )
        return
    if not SpecifierSet(wanted).contains(python_version(), prereleases=True):
        yield error(
            "another version of Python is needed",
            where=sys.executable,
            value=f"{python_version()}; {wanted} wanted",
            remedy="make the environment anew with such a Python: python3 -m venv",
        )


def check_versions(_: Site) -> Iterator[Finding]:
    """Each package is there, in the range that the sidecar asks for."""
    try:
        lines = metadata.requires(_NAME) or []
    except metadata.PackageNotFoundError:
        return  # said already
    for line in lines:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            version = "missing"
        if version == "missing" or not wanted.specifier.contains(version, prereleases=True):
            yield error(
                "a package of another version is needed",
                where=wanted.name,
                value=f"{version}; {wanted.specifier} wanted",
                remedy=f"{sys.executable} -m pip install '{wanted.name}{wanted.specifier}'",
            )


def check_uvloop(_: Site) -> Iterator[Finding]:
    """The event loop can be loaded."""
    try:
        import_module("uvloop")
    except ImportError as refused:
        yield error(
            "the event loop can't be loaded",
            where="uvloop",
            value=str(refused),
            remedy=f"{sys.executable} -m pip install --force-reinstall uvloop",
        )
