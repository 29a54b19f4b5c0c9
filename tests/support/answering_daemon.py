"""Prepared answers on a real control socket, for tests of the commands."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ippusbd.dataclass_json import encode
from ippusbd.errors import IppUsbError


class AnsweringDaemon:
    """Answers each request with `answer`, called with it if it can be; an IppUsbError refuses."""

    def __init__(self) -> None:
        self.answer: object = None
        self.asked: list[dict[str, Any]] = []

    def reply(self, request: dict[str, Any]) -> bytes:
        self.asked.append(request)
        answer = self.answer(request) if isinstance(self.answer, Callable) else self.answer
        if isinstance(answer, IppUsbError):
            reason = encode(answer.diagnosis)
            refused = {"ok": False, "error": str(answer), "reason": reason}
            return json.dumps(refused).encode() + b"\n"
        return json.dumps({"ok": True, "result": answer}).encode() + b"\n"


@contextmanager
def answering_daemon(socket_path: Path) -> Iterator[AnsweringDaemon]:
    """It listens until the end of the block."""
    daemon = AnsweringDaemon()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(daemon.reply(json.loads(self.rfile.readline())))

    socket_path.parent.mkdir(parents=True, exist_ok=True)
    with socketserver.UnixStreamServer(str(socket_path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield daemon
        server.shutdown()
        thread.join()
