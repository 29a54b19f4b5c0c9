"""HTTP/1.1 over the two pipes of one interface, as a printer's firmware speaks it.

The connection is persistent and ends only with the session: a host that goes away in the
middle of a request leaves the server waiting for the rest, and a response that nobody reads
stays in the pipe. After broken HTTP the server answers 400, discards input until the pipe is
quiet, and starts with a new parser.

h11 in the server role parses and writes; bodies pass through in the host's own transfers, and
responses leave in bursts of whole packets. Coroutines of the firmware: `waits.run` runs them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final, Protocol

import h11

from ippusbd.errors import IppUsbError
from ippusbd.virtual.http.messages import HttpHandler, HttpRequest, HttpResponse, plain
from ippusbd.virtual.stats import Stats
from ippusbd.virtual.usb.device import VirtualInterface
from ippusbd.virtual.usb.pipes import Buffer, InterfaceSession, SessionEnded

log = logging.getLogger("ippusbd.virtual")

BURST: Final = 64 * 1024
QUIET_S: Final = 0.1  # without input: the end of what follows broken HTTP
ZLP_EVERY_S: Final = 0.01
FETCH_POLL_S: Final = 0.005
FOR_EVER_S: Final = 1e6


class BrokenBody(Exception):
    """The request's body is not valid HTTP; there is nobody to answer."""


class ServerHooks(Protocol):
    """Where the server asks the personalities; `Personality` says what each question means."""

    def packets(self, interface: VirtualInterface, transfer: Buffer) -> Iterable[Buffer]: ...
    def ends_with_zlp(self) -> bool: ...
    def answer(self, request: HttpRequest) -> HttpResponse | None: ...
    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse: ...


class Link:
    """The pipes as the firmware uses them in one session, with the personalities between."""

    def __init__(
        self,
        interface: VirtualInterface,
        session: InterfaceSession,
        hooks: ServerHooks,
        stats: Stats,
    ) -> None:
        self.interface = interface
        self.session = session
        self.hooks = hooks
        self.stats = stats

    async def recv(self, timeout_s: float | None = None) -> bytes:
        data = await self.interface.ipp.out.recv(self.session, timeout_s)
        self.stats.add("bytes_in", len(data))
        return data

    async def send(self, transfer: Buffer) -> None:
        transfers = self.hooks.packets(self.interface, transfer)
        await self.interface.ipp.into.send(self.session, transfers)
        self.stats.add("bytes_out", len(transfer))


class Writer:
    """Gathers a response into transfers, and cuts it where the response says so."""

    def __init__(self, link: Link, response: HttpResponse) -> None:
        self._link = link
        self._response = response
        self._pending: list[Buffer] = []
        self._size = 0
        self._room = response.cut_at
        self._packet = link.interface.ipp.into.packet
        self._begun = False  # a transfer was sent
        self._open = False  # the last transfer ended in a full packet

    async def put(self, data: Buffer) -> None:
        if self._room is not None:
            data = data[: self._room]
            self._room -= len(data)
        if len(data):
            self._pending.append(data)
            self._size += len(data)
        if self._size >= BURST:
            whole = memoryview(b"".join(self._pending))
            cut = self._size - self._size % self._packet
            await self._send(whole[:cut])
            self._pending, self._size = [whole[cut:]], self._size - cut

    async def flush(self) -> None:
        if self._size:
            await self._send(b"".join(self._pending))
        self._pending, self._size = [], 0

    async def finish(self) -> None:
        """End the message: a zero-length packet unless a short packet ended it."""
        await self.flush()
        if self._open and self._link.hooks.ends_with_zlp():
            await self._link.send(b"")

    async def _send(self, data: Buffer) -> None:
        step = self._response.piece or len(data)
        for start in range(0, len(data), step):
            if self._begun and self._response.pause_s:
                await self._link.session.pause(self._response.pause_s)
            self._begun = True
            await self._link.send(data[start : start + step])
        self._open = len(data) % self._packet == 0


class HttpServer:
    """Serves the sessions of one interface; `handler` answers, `stats` counts."""

    def __init__(
        self, interface: VirtualInterface, hooks: ServerHooks, handler: HttpHandler, stats: Stats
    ) -> None:
        self._interface = interface
        self._hooks = hooks
        self._handler = handler
        self._stats = stats

    async def run(self) -> None:
        """Until the power goes."""
        while (session := await self._interface.next_session()) is not None:
            link = Link(self._interface, session, self._hooks, self._stats)
            served = _Served(link, self._handler)
            try:
                await served.forever()
            except SessionEnded:
                served.note_the_end()
            self._interface.busy = False


class _Served:
    """One session: a parser and the current exchange."""

    def __init__(self, link: Link, handler: HttpHandler) -> None:
        self._link = link
        self._interface = link.interface
        self._stats = link.stats
        self._handler = handler
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        self._what = ""  # the request, for an error message

    async def forever(self) -> None:
        while True:
            try:
                await self._exchange()
                self._next_cycle()
            except (h11.RemoteProtocolError, BrokenBody) as exc:
                self._stats.broken(str(exc))
                await self._recover()
            self._interface.busy = False

    def note_the_end(self) -> None:
        """Count the request or response that the end of the session cut."""
        reading = self._conn.their_state is h11.SEND_BODY or bool(self._conn.trailing_data[0])
        if reading:
            self._stats.add("cut_requests")
        elif self._conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
            self._stats.add("cut_responses")

    # --- reading

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._conn.next_event()
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event
            self._conn.receive_data(await self._link.recv())

    async def _piece(self) -> bytes | None:
        """The next piece of the request's body as it arrives; None: it has ended."""
        if self._conn.they_are_waiting_for_100_continue:
            answer = h11.InformationalResponse(status_code=100, headers=[])
            await self._link.send(self._conn.send(answer) or b"")
        if self._conn.their_state is not h11.SEND_BODY:
            return None
        try:
            event = await self._event()
        except h11.RemoteProtocolError as exc:
            raise BrokenBody(f"in the body of {self._what}: {exc}") from exc
        return event.data if isinstance(event, h11.Data) else None

    async def _recover(self) -> None:
        """Answer 400, discard input until it is quiet, and start with a new parser."""
        await self._link.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        while await self._link.recv(QUIET_S):
            pass
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)

    def _next_cycle(self) -> None:
        """HTTP/1.0 and Connection: close have no effect: there is nothing to close."""
        if self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE:
            self._conn.start_next_cycle()
            return
        surplus, _ = self._conn.trailing_data
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        if surplus:
            self._conn.receive_data(surplus)

    # --- one exchange

    async def _exchange(self) -> None:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return
        self._interface.busy = True
        self._stats.add("requests")
        request = self._request(head)
        self._what = f"{request.method} {request.path}"
        if not request.has_body:
            await self._piece()  # at once: what a reset cuts from now on is the response
        response = await self._answer(request)
        if response.delay_s:
            await request.pause(response.delay_s)
        await self._send(request, response)
        self._stats.add("responses")
        await self._rest(request, response)

    def _request(self, head: h11.Request) -> HttpRequest:
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in head.headers.raw_items()]
        return HttpRequest(
            head.method.decode("ascii"),
            head.target.decode("latin-1"),
            headers,
            interface=self._interface,
            piece=self._piece,
            pause=self._link.session.pause,
        )

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        hooks = self._link.hooks
        response = hooks.answer(request)
        if response is None:
            try:
                response = await self._handler(request)
            except IppUsbError as exc:
                response = plain(exc.http_status, f"{exc}\n")
        return hooks.amend(request, response)

    async def _rest(self, request: HttpRequest, response: HttpResponse) -> None:
        """Read and discard what the handler left of the request."""
        if response.rest_after_fetch:
            while len(self._interface.ipp.into):
                await self._link.session.pause(FETCH_POLL_S)
        while await self._piece() is not None:
            pass
        if response.stuck:
            await request.pause(FOR_EVER_S)
        await self._zlps(response.zlps_s)

    async def _zlps(self, seconds: float) -> None:
        """Zero-length packets until the host sends something."""
        clock = self._interface.device.clock
        end = clock() + seconds
        while clock() < end:
            if not self._interface.ipp.into.pending_transfers:
                await self._link.send(b"")
            if data := await self._link.recv(ZLP_EVERY_S):
                self._conn.receive_data(data)
                return

    # --- writing

    async def _send(self, request: HttpRequest, response: HttpResponse) -> None:
        writer = Writer(self._link, response)
        if response.prefix:
            await writer.put(response.prefix)
        await writer.put(self._conn.send(self._head(response)) or b"")
        if response.head_only:
            await writer.flush()
            return
        bodyless = request.method == "HEAD" or response.status in (204, 304)
        for piece in () if bodyless else _pieces_of(response):
            if len(piece):
                await self._put(writer, h11.Data(data=piece))  # type: ignore[arg-type] # passed through
            else:
                await writer.flush()
        await self._put(writer, h11.EndOfMessage())
        await (writer.flush() if response.stuck else writer.finish())

    async def _put(self, writer: Writer, event: h11.Event) -> None:
        for data in self._conn.send_with_data_passthrough(event) or ():
            await writer.put(data)

    def _head(self, response: HttpResponse) -> h11.Response:
        headers = list(response.headers)
        body = response.body
        length = len(body) if isinstance(body, bytes | bytearray | memoryview) else response.length
        if length is None:
            headers.append(("Transfer-Encoding", "chunked"))
        elif response.status != 304 and response.status >= 200 and response.status != 204:
            headers.append(("Content-Length", str(length)))
        reason = response.reason or _reason(response.status)
        return h11.Response(
            status_code=response.status,
            headers=[(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers],
            reason=reason.encode("latin-1"),
        )


def _pieces_of(response: HttpResponse) -> Iterable[Buffer]:
    body = response.body
    if isinstance(body, bytes | bytearray | memoryview):
        return (body,) if len(body) else ()
    return body


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
