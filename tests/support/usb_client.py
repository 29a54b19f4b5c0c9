"""A very small IPP-over-USB client on pyusb, one interface, to look at the printer alone."""

from __future__ import annotations

import array
import time
from dataclasses import dataclass

import h11
import usb.core
import usb.util

from ippusbd.wire import ipp

BUFFER = 64 * 1024


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class UsbClient:
    """Claims interface `number` and speaks HTTP on it, one request at a time."""

    def __init__(self, dev: usb.core.Device, number: int = 0, *, timeout_ms: int = 2000) -> None:
        self.dev = dev
        self.number = number
        self.timeout_ms = timeout_ms
        if dev.is_kernel_driver_active(number):
            dev.detach_kernel_driver(number)
        dev.set_interface_altsetting(number, 1)
        config = dev.get_active_configuration()
        face = usb.util.find_descriptor(config, bInterfaceNumber=number, bAlternateSetting=1)
        addresses = [one.bEndpointAddress for one in face]
        self.into = next(a for a in addresses if a & 0x80)
        self.out = next(a for a in addresses if not a & 0x80)
        self.surplus = b""

    def send(self, data: bytes) -> int:
        return int(self.dev.write(self.out, data, self.timeout_ms))

    def receive(self, size: int = BUFFER, timeout_ms: int | None = None) -> bytes:
        buffer = array.array("B", bytes(size))
        count = self.dev.read(self.into, buffer, timeout_ms or self.timeout_ms)
        return bytes(buffer[:count])

    def ask(
        self,
        method: str = "GET",
        path: str = "/",
        body: bytes = b"",
        *,
        host: str = "localhost:60000",
        headers: tuple[tuple[str, str], ...] = (),
        deadline_s: float = 5.0,
    ) -> Answer:
        """A whole exchange; zero-length packets are no end. TimeoutError when it does not end."""
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        fields = [("Host", host), *headers]
        if body or method in ("POST", "PUT"):
            fields.append(("Content-Length", str(len(body))))
        head = connection.send(h11.Request(method=method, target=path, headers=fields))
        self.send((head or b"") + body)
        if body:
            connection.send(h11.Data(data=body))
        connection.send(h11.EndOfMessage())
        return self.finish(connection, deadline_s)

    def finish(self, connection: h11.Connection, deadline_s: float = 5.0) -> Answer:
        end = time.monotonic() + deadline_s
        head: h11.Response | None = None
        pieces: list[bytes] = []
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if time.monotonic() > end:
                    raise TimeoutError(f"no end of the answer; so far {head} {pieces!r:.200}")
                try:
                    data = self.receive(timeout_ms=200)
                except usb.core.USBTimeoutError:
                    continue
                if data:
                    connection.receive_data(data)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                self.surplus = connection.trailing_data[0]
                names = {k.decode().lower(): v.decode("latin-1") for k, v in head.headers}
                return Answer(head.status_code, names, b"".join(pieces))

    def ipp(
        self,
        code: int,
        *attributes: ipp.Attribute,
        document: bytes = b"",
        path: str = "/ipp/print",
        **options: object,
    ) -> tuple[ipp.Message, bytes]:
        """An IPP exchange: the message and its bytes."""
        answer = self.ask(
            "POST",
            path,
            request(code, *attributes, path=path) + document,
            headers=(("Content-Type", "application/ipp"),),
            **options,  # type: ignore[arg-type]
        )
        assert answer.status == 200, answer
        return ipp.decode(answer.body)[0], answer.body

    def close(self) -> None:
        usb.util.dispose_resources(self.dev)


def request(code: int, *attributes: ipp.Attribute, path: str = "/ipp/print") -> bytes:
    """An encoded IPP request."""
    operation = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri(f"ipp://localhost:60000{path}")),
        ipp.attribute("requesting-user-name", ipp.name("tester")),
        *attributes,
    )
    return ipp.encode(ipp.Message(code, 1, (ipp.Group(ipp.Tag.OPERATION, operation),)))
