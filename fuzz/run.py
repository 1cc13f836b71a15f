"""Runs a fuzz target with atheris (`pip install atheris`) until a finding, or as long as libFuzzer
is told.

    python fuzz/run.py websocket -max_total_time=60
"""

import sys

import atheris

with atheris.instrument_imports(include=["sidecar", "wsproto", "h11"]):
    from targets import TARGETS


def main() -> None:
    """The first argument is the target; the rest is libFuzzer's."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"usage: python fuzz/run.py {{{','.join(TARGETS)}}} [libFuzzer flags]")
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
