"""Runs `sidecar` commands in children of one process that has imported everything: a line of JSON
on stdin for each, its exit code on stdout. Starting an interpreter each time takes a second.
"""

import concurrent.futures.thread
import encodings.idna
import json
import os
import resource
import sys
from typing import Any, NoReturn

import anyio._backends._asyncio

from sidecar.cli import doctor, serve
from sidecar.cli.main import main

NOBODY = 65534
PRELOADED = (concurrent.futures.thread, encodings.idna, anyio._backends._asyncio, doctor, serve)
"""What would be imported late, when nobody may not read the environment any more."""


def run_in_child(order: dict[str, Any]) -> NoReturn:
    code = 70
    try:
        fd = os.open(order["output"], os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        os.environ.update(order["environment"])
        sys.path[:0] = order["libraries"]
        if (descriptors := order["descriptors"]) is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        if order["as_nobody"]:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        code = main(order["arguments"])
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run_in_child(json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()
