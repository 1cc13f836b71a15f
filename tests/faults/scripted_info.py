"""The info server of a scripted Hyperliquid node: writes the recording's snapshots, or what a test
would rather have.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.faults.recording import MARK, Recording

Behaviour = Callable[[Path], int]  # writes a file; the status to answer with


class ScriptedInfo:
    """Answers as it should where `script` is empty, else as the next one there says."""

    def __init__(self, recording: Recording, height: Callable[[], int]) -> None:
        self.recording = recording
        self.script: deque[Behaviour] = deque()
        self.asked = 0
        self._height = height
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = answer(Path(request["outPath"]))
                self.send_response(status)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"null")

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}/info"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def mark(self) -> int:
        """The newest one that was played."""
        return self._height() // MARK * MARK

    def at(self, height: int) -> Behaviour:
        """A whole snapshot of that mark."""
        return self.writing(lambda: self.recording.l4(height))

    def writing(self, content: Callable[[], bytes], status: int = 200) -> Behaviour:
        def write(path: Path) -> int:
            path.write_bytes(content())
            return status

        return write

    def silent(self, seconds: float) -> Behaviour:
        """Says nothing for so long."""

        def wait(_path: Path) -> int:
            time.sleep(seconds)
            return 200

        return wait

    def _answer(self, path: Path) -> int:
        self.asked += 1
        behaviour = self.script.popleft() if self.script else self.at(self.mark)
        return behaviour(path)
