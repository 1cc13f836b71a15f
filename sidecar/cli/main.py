"""The `sidecar` command. Each subcommand is a module here with `add_arguments` and `run`; only the
one that is named is loaded.
"""

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from sidecar import __version__
from sidecar.errors import SidecarError
from sidecar.limits import LAST_WORDS_S
from sidecar.misspelt import nearest
from sidecar.telemetry.outlet import STDERR, stand_in_for_stderr
from sidecar.telemetry.printable import block

_COMMANDS = (
    *("serve", "devnet", "doctor", "status", "watch"),
    *("replay", "log", "demo", "token", "worker"),
)
_INTERNAL = {"worker"}  # not for people
_FLAG = re.compile(r"--[a-z][\w-]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0 done, 1 failed with a reason on stderr, 2
    misused, 70 a bug.
    """
    stand_in_for_stderr()
    options = _parse(arguments)
    run: Callable[[argparse.Namespace], int | None] = options.run
    try:
        return run(options) or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1  # whoever read our output has gone: `sidecar log inspect | head`
    except SidecarError as error:
        return _fail(error)
    except BaseExceptionGroup as group:
        known = _first_known(group)
        return _fail(known) if known is not None else _fail_unknown(group)
    except Exception as error:  # noqa: BLE001 - whatever it is, the last line says what ended it
        return _fail_unknown(error)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    given = sys.argv[1:] if arguments is None else arguments
    named = given[:1] if given and given[0] in _COMMANDS else _COMMANDS
    options, unknown = _parser(named).parse_known_args(given)
    if unknown:
        command: argparse.ArgumentParser = options.parser
        flag = unknown[0].partition("=")[0]
        near = nearest(flag, set(_FLAG.findall(command.format_help())))
        hint = f"; is {near} meant?" if near else ""
        command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _parser(names: Iterable[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="Trading APIs beside the node of an on-chain order-book exchange.",
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in names:
        module = import_module(f"sidecar.cli.{name}")
        summary, _, details = (module.__doc__ or "").partition("\n")
        listed: dict[str, Any] = {} if name in _INTERNAL else {"help": summary.rstrip(".")}
        command = commands.add_parser(
            name,
            **listed,
            description=summary,
            epilog=details.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return parser


def _fail(error: SidecarError) -> int:
    STDERR.patience_s = LAST_WORDS_S
    print(block(f"sidecar: {type(error).__name__}: {error}"), file=sys.stderr)
    return 1


def _fail_unknown(error: BaseException) -> int:
    """A bug: with its traceback, and the reason in the last line."""
    STDERR.patience_s = LAST_WORDS_S
    traceback.print_exception(error)
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    print(block(f"sidecar: bug: {type(first).__name__}: {first}"), file=sys.stderr)
    return os.EX_SOFTWARE


def _first_known(group: BaseExceptionGroup[BaseException]) -> SidecarError | None:
    """The error that ended a task group, if all of its errors have a message for the operator."""
    if group.split(SidecarError)[1] is not None:
        return None
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, SidecarError) else None
