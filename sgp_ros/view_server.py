"""Serves the page of `sgp view`: rerun's viewer, and the recording while it grows.

rerun could serve both itself, but then to the whole network, and its page asks other hosts for fonts and news. This
server listens on this machine alone, and its page is forbidden to talk to anybody else.
"""

from __future__ import annotations

import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.error import HTTPError
from urllib.request import urlopen

import rerun as rr

from sgp_core.errors import InputError

HOST = "127.0.0.1"
RECORDING = "/run.rrd"
POLL_S = 0.1
BLOCK = 1 << 20
# Everything the page needs is its own: scripts, the viewer's WebAssembly, pictures, and the recording.
POLICY = "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' data: blob:"
ELSEWHERE = re.compile(rb"<link[^>]*https?://[^>]*>")


class Page(ThreadingHTTPServer):
    """Serves until the `with` block ends.

    Args:
        port: of this machine; 0 takes a free one.
        recording: .rrd file that grows until `finish`.

    Raises:
        InputError: the port cannot be had.
    """

    daemon_threads = True
    block_on_close = False  # a browser would keep us for as long as it is open

    def __init__(self, port: int, recording: Path) -> None:
        try:
            super().__init__((HOST, port), _Answer)
        except OSError as error:
            raise InputError(
                f"--port {port}: {error.strerror}; is another `sgp view` running? Take another port, or 0 for any"
            ) from error
        self.recording, self.complete, self.ending = recording, threading.Event(), threading.Event()
        with socket.create_server((HOST, 0)) as free:
            viewer_port = free.getsockname()[1]
        rr.start_web_viewer_server(viewer_port)
        self.viewer = f"http://{HOST}:{viewer_port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), name="page", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """For the browser."""
        own = f"http://localhost:{self.server_port}"
        return f"{own}/?url={own}{RECORDING}&theme=light&hide_welcome_screen&persist=0"

    def finish(self) -> None:
        """The recording is complete."""
        self.complete.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self.shutdown()
        self.server_close()


class _Answer(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        """The page, what belongs to it, or the recording."""
        path = self.path.partition("?")[0]
        try:
            if path == RECORDING:
                self._send_recording()
            else:
                self._send_viewer(path)
        except ConnectionError:
            pass  # the browser was closed, or reloads

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        """Nobody wants to read it."""

    def _send_viewer(self, path: str) -> None:
        try:
            with urlopen(f"{self.server.viewer}{path}") as answer:  # of the rerun package, in this process
                body, kind = answer.read(), answer.headers["Content-Type"]
        except HTTPError as error:
            self.send_error(error.code)
            return
        self._begin(kind)
        self.wfile.write(ELSEWHERE.sub(b"", body) if path == "/" else body)

    def _send_recording(self) -> None:
        """Everything so far, and then what is added, until the recording is complete."""
        self._begin("application/octet-stream")
        with self.server.recording.open("rb") as file:
            while not self.server.ending.is_set():
                complete = self.server.complete.is_set()
                if block := file.read(BLOCK):
                    self.wfile.write(block)
                elif complete or self.server.ending.wait(POLL_S):
                    return

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
