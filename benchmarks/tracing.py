"""What traces cost: CPU time of a sidecar over the same blocks, with traces off and on at their
usual share, alternating in the same run.

    python benchmarks/tracing.py [--rounds 8] [--blocks 400]

A real sidecar follows a development chain's log, written block by block, 20 ms apart, with a client
that reads it; traces go to a receiver on loopback. CPU time of the sidecar's process, all of its
threads, from the first block to the last.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from sidecar.devnet.chain import Chain
from sidecar.devnet.config import DevnetConfig
from sidecar.node.ipc import IpcDirectory
from sidecar.node.log_writer import LogWriter

_INTERVAL_S = 0.02


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def cpu_s(pid: int) -> float:
    """Of all threads, user and system, in ns precision of the scheduler."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def measure(blocks: int, *flags: str) -> float:
    """CPU seconds for so many blocks."""
    with tempfile.TemporaryDirectory() as directory:
        ipc = IpcDirectory(Path(directory) / "ipc")
        chain = Chain(DevnetConfig(path=ipc.root, seed=7))
        ipc.create(chain.config.chain, chain.time_ns, 50)
        with LogWriter(ipc.log, chain.config.chain) as writer:
            for _ in range(50):
                writer.append(chain.step())
            made = [chain.step() for _ in range(blocks)]
            command = (sys.executable, "-m", "sidecar", "serve", "--source-path", str(ipc.root))
            ports = ("--server-port", "0", "--operator-port", "0", "--log-level", "error")
            process = subprocess.Popen((*command, *ports, *flags), stdout=subprocess.PIPE)
            try:
                assert process.stdout is not None
                assert process.stdout.readline()
                time.sleep(0.3)
                before = cpu_s(process.pid)
                for block in made:
                    writer.append(block)
                    time.sleep(_INTERVAL_S)
                time.sleep(0.3)
                return cpu_s(process.pid) - before
            finally:
                process.kill()
                process.wait()


def main() -> None:
    """Prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=400)
    options = parser.parse_args()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Taking)
    Thread(target=receiver.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{receiver.server_port}/v1/traces"
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(options.rounds):
        for on in (False, True) if turn % 2 else (True, False):
            flags = ("--tracing-endpoint", endpoint) if on else ()
            times[on].append(measure(options.blocks, *flags))
    off, on_s = (statistics.median(times[one]) for one in (False, True))
    ratios = [on / off for on, off in zip(times[True], times[False], strict=True)]
    wall_s = options.blocks * _INTERVAL_S
    print(f"{options.blocks} blocks: {off * 1e3:.0f} ms of CPU off, {on_s * 1e3:.0f} ms on")
    print(f"times as much: {statistics.median(ratios):.3f} (median of {options.rounds} pairs)")
    print(f"of a core: {(on_s - off) / wall_s:.2%}")


if __name__ == "__main__":
    main()
