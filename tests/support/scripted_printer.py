"""A printer whose answers a test writes, behind a real PrinterSite and pool, without USB.

h11 reads what the site sends to it, so a request that is not one well-formed HTTP request fails
the test. Each request takes the next answer: bytes, or a list of bytes that USB would deliver
apart, or an exception the interface fails with after them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
from support.fake_channel import FakeChannel

from ippusbd.errors import UsbError
from ippusbd.kinds import Kind
from ippusbd.proxy.admission.listeners import bind
from ippusbd.proxy.server import PrinterSite, SiteSettings, Wiring
from ippusbd.usbio.pool import InterfacePool

Answer = bytes | UsbError | Sequence[bytes | UsbError]
SETTINGS = SiteSettings(lease_wait_s=5.0, client_stall_s=5.0, retry_after_s=7, grace_s=1.0)


@dataclass
class Heard:
    """A request as the printer got it; names in their own case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.headers]


@dataclass
class ScriptedPrinter:
    """Interfaces that take their answers from one list."""

    answers: list[Answer]
    interfaces: int = 1
    heard: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channels = [FakeChannel(number=n) for n in range(self.interfaces)]
        for channel in self.channels:
            channel.hear = self._reader()

    def _reader(self) -> Any:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        now: list[Heard] = []

        def hear(channel: FakeChannel, data: bytes) -> None:
            parser.receive_data(data)
            while True:
                event = parser.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    return
                if isinstance(event, h11.Request):
                    now.append(_heard(event))
                elif isinstance(event, h11.Data):
                    now[0].body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.heard.append(now.pop())
                    self._say(channel)
                    _next_request(parser)

        return hear

    def _say(self, channel: FakeChannel) -> None:
        if not self.answers:
            return  # silence, as of hardware
        answer = self.answers.pop(0)
        for part in answer if isinstance(answer, list | tuple) else (answer,):
            if isinstance(part, UsbError):
                channel.fail(part)
            else:
                channel.say(part)


def _heard(event: h11.Request) -> Heard:
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers.raw_items()]
    return Heard(event.method.decode(), event.target.decode(), headers)


def _next_request(parser: h11.Connection) -> None:
    """Whatever the request said of its connection: on USB it goes on."""
    parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    parser.send(h11.EndOfMessage())
    if parser.our_state is h11.MUST_CLOSE or parser.their_state is h11.MUST_CLOSE:
        parser.__init__(h11.SERVER, max_incomplete_event_size=1 << 20)  # type: ignore[misc]
    else:
        parser.start_next_cycle()


def answer(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    headers: Sequence[tuple[str, str]] = (("Content-Type", "text/plain"),),
    chunked: bool = False,
) -> bytes:
    """A whole answer as a printer sends it."""
    framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (*headers, framing))]
    head = "\r\n".join((*lines, "", "")).encode("latin-1")
    return head + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body)


@dataclass
class Served:
    """A site, what stands behind it, and its port."""

    site: PrinterSite
    printer: ScriptedPrinter
    pool: InterfacePool

    @property
    def port(self) -> int:
        return self.site.port

    @property
    def heard(self) -> Heard:
        """The only request."""
        (one,) = self.printer.heard
        return one


@asynccontextmanager
async def serve(
    *answers: Answer,
    interfaces: int = 1,
    settings: SiteSettings = SETTINGS,
    **wiring: Any,
) -> AsyncIterator[Served]:
    """A site for a printer that gives `answers`; `wiring` are further fields of Wiring."""
    printer = ScriptedPrinter(list(answers), interfaces)
    pool = InterfacePool(printer.channels, drain_s=1.0)
    site = PrinterSite(settings)
    await site.start([bind("127.0.0.1", 0)])
    site.connect(Wiring(pool, **wiring))
    try:
        yield Served(site, printer, pool)
    finally:
        site.disconnect(Kind.STOPPING.of())
        await site.close()
        await pool.close()
