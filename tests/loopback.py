"""A server on the loopback device whose first answers are spoiled as a test asks."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder.

    `spoiled` holds what is done to the next answers: "cut", "no length", "other", or the status to answer with.
    """

    spoiled: list[str]
    asked: list[str]

    def do_GET(self) -> None:
        """Answer whole, or as the next spoiling says."""
        self.asked.append(self.path)
        content = Path(self.translate_path(self.path)).read_bytes()
        spoiling = self.spoiled.pop(0) if self.spoiled else ""
        if spoiling.isdigit():
            return self.send_error(int(spoiling))
        if spoiling == "other":
            content = gzip.compress(b"other content")
        self.send_response(200)
        if spoiling != "no length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if spoiling in ("cut", "no length") else content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[Handler]]]:
    """Serve a folder; gives the address and the handler. Further tries come at once."""
    monkeypatch.setattr("vqddm.data.download.PAUSE", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Spoiling", (Handler,), {"spoiled": [], "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/", handler
        finally:
            running.shutdown()
            thread.join()
