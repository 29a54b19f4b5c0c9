"""HTTP/1.1 over the two pipes of one interface, as a printer's firmware speaks it.

The connection is persistent and has no end but the session's: a host that goes away in the
middle of a request leaves the server waiting for the rest, and an answer nobody fetches stays
in the pipe. After broken HTTP the server answers 400, drops what still arrives until the pipe
is quiet, and starts afresh.

h11 in the server role reads and writes; bodies pass through in the host's own transfers, and
answers leave in bursts of whole packets. Blocks; runs in the interface's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Final

import h11

from ippusbd.errors import IppUsbError
from ippusbd.virtual.http.messages import Handler, Request, Response, plain
from ippusbd.virtual.stats import Stats
from ippusbd.virtual.usb.device import VirtualDevice, VirtualInterface
from ippusbd.virtual.usb.pipes import Buffer, Session, SessionEnded

log = logging.getLogger("ippusbd.virtual")

BURST: Final = 64 * 1024
QUIET_S: Final = 0.1  # after broken HTTP: so long nothing must arrive
ZLP_EVERY_S: Final = 0.01
FETCH_POLL_S: Final = 0.005
FOR_EVER_S: Final = 1e6


class BrokenBody(Exception):
    """The request's body is no HTTP; there is nobody to answer."""


class Link:
    """The pipes as the firmware uses them in one session, with the personalities between."""

    def __init__(
        self, device: VirtualDevice, face: VirtualInterface, session: Session, stats: Stats
    ) -> None:
        self.device = device
        self.face = face
        self.session = session
        self.stats = stats

    def recv(self, timeout_s: float | None = None) -> bytes:
        data = self.face.ipp.out.recv(self.session, timeout_s)
        self.stats.add("bytes_in", len(data))
        return data

    def send(self, transfer: Buffer) -> None:
        transfers = self.device.personalities.packets(self.face, transfer)
        self.face.ipp.into.send(self.session, transfers)
        self.stats.add("bytes_out", len(transfer))


class Writer:
    """Gathers an answer into transfers; knows where the answer is to be cut."""

    def __init__(self, link: Link, response: Response) -> None:
        self._link = link
        self._response = response
        self._pending: list[Buffer] = []
        self._size = 0
        self._room = response.cut_at
        self._packet = link.face.ipp.into.packet
        self._open = False  # the last transfer ended in a full packet

    def put(self, data: Buffer) -> None:
        if self._room is not None:
            data = data[: self._room]
            self._room -= len(data)
        if len(data):
            self._pending.append(data)
            self._size += len(data)
        if self._size >= BURST:
            whole = memoryview(b"".join(self._pending))
            cut = self._size - self._size % self._packet
            self._send(whole[:cut])
            self._pending, self._size = [whole[cut:]], self._size - cut

    def flush(self) -> None:
        if self._size:
            self._send(b"".join(self._pending))
        self._pending, self._size = [], 0

    def finish(self) -> None:
        """The end of the message: a zero-length packet where no short one says so."""
        self.flush()
        if self._open and self._link.device.personalities.ends_with_zlp():
            self._link.send(b"")

    def _send(self, data: Buffer) -> None:
        step = self._response.piece or len(data)
        for start in range(0, len(data), step):
            self._link.send(data[start : start + step])
            if self._response.pause_s:
                self._link.session.pause(self._response.pause_s)
        self._open = len(data) % self._packet == 0


class HttpServer:
    """Serves the sessions of one interface; `handler` answers, `stats` counts."""

    def __init__(
        self, device: VirtualDevice, face: VirtualInterface, handler: Handler, stats: Stats
    ) -> None:
        self._device = device
        self._face = face
        self._handler = handler
        self._stats = stats

    def run(self) -> None:
        """Until the power goes."""
        while (session := self._face.wait_for_session()) is not None:
            served = _Served(self._device, self._face, session, self._handler, self._stats)
            try:
                served.forever()
            except SessionEnded:
                served.note_the_end()
            self._face.busy = False


class _Served:
    """One session: a parser, and the exchange under way."""

    def __init__(
        self,
        device: VirtualDevice,
        face: VirtualInterface,
        session: Session,
        handler: Handler,
        stats: Stats,
    ) -> None:
        self._device = device
        self._face = face
        self._handler = handler
        self._stats = stats
        self._link = Link(device, face, session, stats)
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)

    def forever(self) -> None:
        while True:
            try:
                self._exchange()
                self._next_cycle()
            except (h11.RemoteProtocolError, BrokenBody) as exc:
                self._stats.broken(str(exc))
                self._recover()
            self._face.busy = False

    def note_the_end(self) -> None:
        """Count what the end of the session cut."""
        reading = self._conn.their_state is h11.SEND_BODY or bool(self._conn.trailing_data[0])
        if reading:
            self._stats.add("cut_requests")
        elif self._conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
            self._stats.add("cut_responses")

    # --- reading

    def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._conn.next_event()
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event
            self._conn.receive_data(self._link.recv())

    def _pieces(self, request: Request) -> Iterator[bytes]:
        """The body as it arrives; ends after its last byte."""
        if self._conn.they_are_waiting_for_100_continue:
            answer = h11.InformationalResponse(status_code=100, headers=[])
            self._link.send(self._conn.send(answer) or b"")
        while True:
            try:
                event = self._event()
            except h11.RemoteProtocolError as exc:
                raise BrokenBody(f"in the body of {request.method} {request.path}: {exc}") from exc
            if not isinstance(event, h11.Data):
                return
            yield event.data

    def _recover(self) -> None:
        """Answer 400, drop input until it is quiet, and start with a new parser."""
        self._link.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        while self._link.recv(QUIET_S):
            pass
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)

    def _next_cycle(self) -> None:
        """HTTP/1.0 and Connection: close have no meaning here: there is nothing to close."""
        if self._conn.our_state is h11.DONE and self._conn.their_state is h11.DONE:
            self._conn.start_next_cycle()
            return
        surplus, _ = self._conn.trailing_data
        self._conn = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        if surplus:
            self._conn.receive_data(surplus)

    # --- one exchange

    def _exchange(self) -> None:
        head = self._event()
        if not isinstance(head, h11.Request):
            return
        self._face.busy = True
        self._stats.add("requests")
        request = self._request(head)
        if not request.has_body:
            list(request.body())  # at once, so that what a reset cuts is the answer
        response = self._answer(request)
        self._send(request, response)
        self._stats.add("responses")
        self._rest(request, response)

    def _request(self, head: h11.Request) -> Request:
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in head.headers.raw_items()]
        request = Request(
            head.method.decode("ascii"),
            head.target.decode("latin-1"),
            headers,
            device=self._device,
            face=self._face,
            pieces=lambda: self._pieces(request),
            pause=self._link.session.pause,
        )
        return request

    def _answer(self, request: Request) -> Response:
        personalities = self._device.personalities
        response = personalities.answer(request)
        if response is None:
            try:
                response = self._handler(request)
            except IppUsbError as exc:
                response = plain(exc.http_status, f"{exc}\n")
        return personalities.amend(request, response)

    def _rest(self, request: Request, response: Response) -> None:
        """Whatever of the request nobody wanted is read and thrown away."""
        if response.rest_after_fetch:
            while len(self._face.ipp.into):
                self._link.session.pause(FETCH_POLL_S)
        for _ in request.body():
            pass
        if response.stuck:
            self._link.session.pause(FOR_EVER_S)
        self._zlps(response.zlps_s)

    def _zlps(self, seconds: float) -> None:
        """Zero-length packets until the host speaks again."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self._face.ipp.into.pending_transfers:
                self._link.send(b"")
            if data := self._link.recv(ZLP_EVERY_S):
                self._conn.receive_data(data)
                return

    # --- writing

    def _send(self, request: Request, response: Response) -> None:
        writer = Writer(self._link, response)
        if response.prefix:
            writer.put(response.prefix)
        writer.put(self._conn.send(self._head(response)) or b"")
        bodyless = request.method == "HEAD" or response.status in (204, 304)
        for piece in () if bodyless else _pieces_of(response):
            if len(piece):
                self._put(writer, h11.Data(data=piece))  # type: ignore[arg-type] # passed through
            else:
                writer.flush()
        self._put(writer, h11.EndOfMessage())
        writer.flush() if response.stuck else writer.finish()

    def _put(self, writer: Writer, event: h11.Event) -> None:
        for data in self._conn.send_with_data_passthrough(event) or ():
            writer.put(data)

    def _head(self, response: Response) -> h11.Response:
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


def _pieces_of(response: Response) -> Iterable[Buffer]:
    body = response.body
    if isinstance(body, bytes | bytearray | memoryview):
        return (body,) if len(body) else ()
    return body


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
