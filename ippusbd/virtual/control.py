"""A Unix socket that controls virtual printers, for tests and people: JSON, one object a line.

    {"command": "unplug", "printer": "VIRTUAL1"}  -->  {"ok": true}

Every answer has `ok`; a false one has `error`. `printer` is a serial number, or counts from 1
(identical printers may have none); it may be left out while there is only one. Only the user
who runs the printers has access: the socket is created with mode 0600.

Runs in its own threads, so that it answers whatever the printers do.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from ippusbd.errors import StateError
from ippusbd.virtual.personalities import help_table
from ippusbd.virtual.printer import VirtualPrinter

Question = dict[str, object]
Answer = dict[str, object]

LINE_MAX: Final = 64 * 1024
CLIENTS_MAX: Final = 64


class BadQuestion(Exception):
    """The error that the client gets."""


class VirtualControlServer:
    """Serves until `close`, which ends every thread."""

    def __init__(self, path: Path, printers: Iterable[VirtualPrinter]) -> None:
        self.path = path
        self.printers = list(printers)
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._listener = _listen(path)
        self._thread = threading.Thread(target=self._accept, name="virtual-control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            clients = dict(self._clients)
        for one in (self._listener, *clients):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *clients.values()):
            thread.join()
        self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closed or len(self._clients) >= CLIENTS_MAX:
                    client.close()
                    continue
                thread = threading.Thread(
                    target=self._serve, args=(client,), name="virtual-control", daemon=True
                )
                self._clients[client] = thread
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
            while line := lines.readline(LINE_MAX):
                client.sendall(json.dumps(self.answer(line)).encode() + b"\n")
        with self._lock:
            self._clients.pop(client, None)

    # --- questions

    def answer(self, line: bytes) -> Answer:
        """The answer to one line."""
        try:
            question = json.loads(line)
            if not isinstance(question, dict):
                raise BadQuestion("not a JSON object")
            command = COMMANDS.get(str(question.get("command")))
            if command is None:
                raise BadQuestion(f"no such command; there are: {', '.join(COMMANDS)}")
            return {"ok": True, **command(self, question)}
        except (BadQuestion, KeyError, ValueError) as exc:
            text = exc.args[0] if exc.args else exc
            return {"ok": False, "error": str(text)}

    def _printer(self, question: Question) -> VirtualPrinter:
        serial = question.get("printer")
        if serial is None and len(self.printers) == 1:
            return self.printers[0]
        for number, printer in enumerate(self.printers, 1):
            if serial in (printer.device.model.serial, number):
                return printer
        serials = ", ".join(one.device.model.serial for one in self.printers)
        raise BadQuestion(f"no printer {serial!r}; there are: {serials}")

    def list(self, question: Question) -> Answer:
        return {"printers": [_described(one) for one in self.printers]}

    def personalities(self, question: Question) -> Answer:
        return {"personalities": dict(help_table())}

    def personality(self, question: Question) -> Answer:
        printer = self._printer(question)
        printer.switch(_text(question, "name"), on=_flag(question))
        return {"personalities": list(printer.personalities.names)}

    def paper_out(self, question: Question) -> Answer:
        printer = self._printer(question)
        printer.switch("paper-out", on=_flag(question))
        return {"personalities": list(printer.personalities.names)}

    def plug(self, question: Question) -> Answer:
        self._printer(question).plug()
        return {}

    def unplug(self, question: Question) -> Answer:
        self._printer(question).unplug()
        return {}

    def replug(self, question: Question) -> Answer:
        self._printer(question).replug()
        return {}

    def documents(self, question: Question) -> Answer:
        printer = self._printer(question)
        return {
            "documents": [one.as_dict() for one in tuple(printer.documents)],
            "raw": [one.as_dict() for one in tuple(printer.raw_documents)],
        }

    def jobs(self, question: Question) -> Answer:
        store = self._printer(question).jobs
        return {
            "jobs": [
                {"job": job.id, "name": job.name, "state": store.state(job).name.lower()}
                for job in store.jobs()
            ]
        }

    def feeder(self, question: Question) -> Answer:
        pages = question.get("pages")
        if not isinstance(pages, int) or not 0 <= pages <= 1000:
            raise BadQuestion("pages must be a number from 0 to 1000")
        self._printer(question).scanner.adf_pages = pages
        return {}

    def stats(self, question: Question) -> Answer:
        printer = self._printer(question)
        documents = tuple(printer.jobs.documents)
        return {
            **printer.stats.as_dict(),
            "last_broken": printer.stats.last_broken,
            "documents": len(documents),
            "incomplete_documents": sum(1 for one in documents if not one.completed),
        }


def _described(printer: VirtualPrinter) -> Answer:
    device = printer.device
    return {
        "serial": device.model.serial,
        "id": str(device.spec.usb_id),
        "model": printer.printer.model.make_and_model,
        "plugged": device.plugged,
        "unresponsive": device.unresponsive,
        "interfaces": sum(1 for one in device.spec.interfaces if one.speaks_ipp),
        "personalities": list(printer.personalities.names),
    }


def _text(question: Question, key: str) -> str:
    value = question.get(key)
    if not isinstance(value, str):
        raise BadQuestion(f"{key!r} is missing")
    return value


def _flag(question: Question) -> bool:
    value = question.get("on", True)
    if not isinstance(value, bool):
        raise BadQuestion("'on' must be true or false")
    return value


COMMANDS: Final[dict[str, Callable[[VirtualControlServer, Question], Answer]]] = {
    "list": VirtualControlServer.list,
    "personalities": VirtualControlServer.personalities,
    "personality": VirtualControlServer.personality,
    "paper-out": VirtualControlServer.paper_out,
    "plug": VirtualControlServer.plug,
    "unplug": VirtualControlServer.unplug,
    "replug": VirtualControlServer.replug,
    "documents": VirtualControlServer.documents,
    "jobs": VirtualControlServer.jobs,
    "feeder": VirtualControlServer.feeder,
    "stats": VirtualControlServer.stats,
}


def _listen(path: Path) -> socket.socket:
    """Bound and listening; the socket of an instance that ended is replaced. Raises StateError."""
    if path.exists():
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)
            else:
                raise StateError(f"{path}: in use by another instance")
    listener = socket.socket(socket.AF_UNIX)
    umask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen()
    except OSError as exc:
        listener.close()
        raise StateError(f"{path}: {exc.strerror}") from exc
    finally:
        os.umask(umask)
    return listener


def ask(path: Path, command: str, timeout_s: float = 10.0, /, **arguments: object) -> Answer:
    """One question from another process. Raises StateError with the server's error."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(str(path))
            client.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            with client.makefile("rb") as lines:
                answer = json.loads(lines.readline())
        except (OSError, ValueError) as exc:
            raise StateError(f"{path}: no virtual printer answers ({exc})") from exc
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise StateError(
            f"{command}: {answer.get('error') if isinstance(answer, dict) else answer}"
        )
    return answer
