"""Check a machine before trouble does.

Takes the settings as serve does. Each finding says what is wrong, where, what was measured, and the
remedy; docs/doctor.md lists all checks. Exit codes: 0 healthy or warnings only, 1 warnings with
--strict, 2 errors.
"""

import argparse
import os
from pathlib import Path

import msgspec

from sidecar.cli.settings_flags import add_settings, read_settings
from sidecar.doctor.configuration import misspelt
from sidecar.doctor.findings import ERROR, Finding, error
from sidecar.doctor.machine import Machine
from sidecar.doctor.site import Site
from sidecar.doctor.table import CHECKS, SETTINGS, examine
from sidecar.errors import ConfigInvalid

_WARNED, _FAILED = 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to say it, and the settings."""
    add = parser.add_argument
    add("-v", "--verbose", action="store_true", help="a line for each check that passed, too")
    add("--json", action="store_true", help="findings as one JSON object")
    add("--strict", action="store_true", help="exit with 1 where there are warnings")
    add(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="where /proc, /sys and /run of the machine are, such as in a container",
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    """Examines and tells."""
    findings, passed = _examine(options)
    if options.json:
        told = {"healthy": not findings, "findings": findings, "passed": passed}
        print(msgspec.json.encode(told).decode())
    else:
        for finding in findings:
            print("\n".join(finding.lines()))
        if options.verbose:
            holds = {check.name: check.holds for check in CHECKS}
            for name in passed:
                print(f"ok       {name}: {holds.get(name, 'they are valid')}")
        print(_summary(findings, len(passed)))
    if any(finding.severity == ERROR for finding in findings):
        return _FAILED
    return _WARNED if findings and options.strict else 0


def _examine(options: argparse.Namespace) -> tuple[list[Finding], list[str]]:
    """What was found, and the names of the checks that found nothing."""
    try:
        settings = read_settings(options)
    except ConfigInvalid as refused:
        return _invalid(options.config, str(refused)), []
    site = Site(settings, Machine(options.root), options.config)
    findings: list[Finding] = []
    passed = [SETTINGS]
    for check, found in examine(site):
        if found:
            findings += found
        elif found is not None:
            passed.append(check.name)
    return findings, passed


def _invalid(config: Path | None, reason: str) -> list[Finding]:
    """Settings that can't be loaded: nothing else can be judged."""
    found = misspelt(config, os.environ)
    if not found:
        where = config if config is not None else "environment or flags"
        found = [error(reason, where=where, remedy="correct it; sidecar serve --help lists all")]
    return [msgspec.structs.replace(one, check=SETTINGS) for one in found]


def _summary(findings: list[Finding], passed: int) -> str:
    if not findings:
        return f"healthy: {passed} checks"
    errors = sum(finding.severity == ERROR for finding in findings)
    return f"{errors} errors, {len(findings) - errors} warnings; {passed} checks passed"
