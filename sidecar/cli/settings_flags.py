"""One flag for each setting, for the commands that take settings as `serve` does."""

import argparse
import os
from pathlib import Path

from sidecar.config import keys, load_settings
from sidecar.settings import Settings

_SHORT = {"server.workers": ("--workers",)}


def add_settings(parser: argparse.ArgumentParser) -> None:
    """--config, and the flags; they are too many for a line of usage."""
    parser.usage = "%(prog)s [options] [--config FILE] [--SECTION-KEY VALUE ...]"
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    for key in keys():
        flags = [key.flag, *_SHORT.get(key.dotted, ())]
        default = "none" if key.default is None else str(key.default).lower()
        choices = f" ({', '.join(key.choices)})" if key.choices else ""
        parser.add_argument(
            *flags,
            dest=key.dotted,
            metavar=key.name.upper(),
            help=f"{key.description}{choices}; default {default}".replace("%", "%%"),
        )


def read_settings(options: argparse.Namespace) -> Settings:
    """From the file, the environment and the flags, as they are now. Raises `ConfigInvalid`."""
    given = vars(options)
    flags = {key.dotted: text for key in keys() if (text := given[key.dotted]) is not None}
    return load_settings(options.config, dict(os.environ), flags)
