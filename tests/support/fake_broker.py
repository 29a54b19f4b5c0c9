"""A broker and the printers behind it, each of which answers every request the same way.

For what `ippusbd` itself never lists: printers with odd answers, as another broker may have them.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ippusbd.wire import ipp
from ippusbd.wire.broker import encode
from ippusbd.wire.ipp import Attribute, Group, Message, Status, Tag, Value


def ipp_answer(**texts: str) -> bytes:
    """An HTTP response with these printer attributes (`_` in a name stands for `-`)."""
    attributes = [
        Attribute(name.replace("_", "-"), (Value(Tag.TEXT, text.encode()),))
        for name, text in texts.items()
    ]
    message = Message(Status.OK, 1, (Group(Tag.PRINTER, tuple(attributes)),))
    return b"HTTP/1.0 200 OK\r\nContent-Type: application/ipp\r\n\r\n" + ipp.encode(message)


NOT_FOUND = b"HTTP/1.0 404 Not Found\r\n\r\n<html>nothing here</html>"
WEB_PAGE = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>" + b"a web console " * 20


@contextmanager
def fake_broker(folder: Path, printers: Mapping[str, bytes]) -> Iterator[None]:
    """`ippusb_manager.sock` in `folder`, and VID_PID.sock for each of `printers`."""

    class Broker(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked = self.rfile.read(self.rfile.read(1)[0])[:-1].decode()
            answers = [*printers, ""] if asked == "list" else [f"{asked}.sock"]
            for answer in answers:
                self.wfile.write(encode(answer))

    with ExitStack() as stack:
        _serve(stack, folder / "ippusb_manager.sock", Broker)
        for name, response in printers.items():
            _serve(stack, folder / f"{name}.sock", _printer(response))
        yield


def _printer(response: bytes) -> type[socketserver.BaseRequestHandler]:
    class Printer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(response)

    return Printer


def _serve(stack: ExitStack, path: Path, handler: type[socketserver.BaseRequestHandler]) -> None:
    server = stack.enter_context(socketserver.ThreadingUnixStreamServer(str(path), handler))
    path.chmod(0o666)
    stack.callback(path.unlink)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="fake broker")
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.shutdown)
