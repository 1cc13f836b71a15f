"""Make a bearer token for a sidecar that not everybody may use.

The token goes to stdout, once: it is kept nowhere. Its line for the file that server.tokens_file
names goes to stderr, or is appended to --file.
"""

import argparse
import sys
from pathlib import Path

from sidecar.errors import ConfigInvalid
from sidecar.server.tokens import SCOPES, new_token


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """For whom, and what for."""
    parser.add_argument("name", help="who gets it, for logs; without spaces")
    parser.add_argument(
        "--scopes", default=",".join(SCOPES), help="what it allows; default %(default)s"
    )
    parser.add_argument("--file", type=Path, help="append its line to this file")


def run(options: argparse.Namespace) -> None:
    """Prints it."""
    if not options.name or options.name != "".join(options.name.split("#")[0].split()):
        raise ConfigInvalid(f"a name without spaces and #, not {options.name!r}")
    if not set(options.scopes.split(",")) <= set(SCOPES):
        raise ConfigInvalid(f"scopes are {', '.join(SCOPES)}, separated by commas")
    token, line = new_token(options.name, options.scopes)
    if options.file is None:
        print(line, file=sys.stderr)
    else:
        try:
            options.file.touch(mode=0o640)  # hashes: the service reads them as the file's group
            with options.file.open("a") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise ConfigInvalid(f"{options.file}: {error.strerror}") from error
    print(token)
