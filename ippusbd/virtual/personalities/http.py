"""Printers that misbehave in HTTP; the first line of each class says which model does what."""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import urlsplit

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.usb.device import DeviceEvent, VirtualDevice, VirtualInterface
from ippusbd.wire.ipp import Message, Operation

THREE_KB: Final = 3072
FOR_MINUTES_S: Final = 300.0
FOREIGN: Final = "http://192.0.2.53:8080"  # reserved for documentation: never reached


def _silence() -> HttpResponse:
    """The request is read and never answered."""
    return HttpResponse(cut_at=0, stuck=True)


def _is_small(request: HttpRequest) -> bool:
    length = request.header("Content-Length") or "0"
    chunked = bool(request.header("Transfer-Encoding"))
    return not chunked and length.isdigit() and int(length) < 16 * 1024


class _WarmingUp(Personality):
    """Something is wrong for `lasts_s` after power-up."""

    lasts_s: float = FOR_MINUTES_S

    def __init__(self) -> None:
        self._since_s: float | None = None

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        if event is DeviceEvent.PLUGGED:
            self._since_s = device.clock()

    def warming(self, request: HttpRequest) -> bool:
        now = request.interface.device.clock()
        if self._since_s is None:  # switched on while it runs
            self._since_s = now
        return now - self._since_s < self.lasts_s


class NotFoundEverywhere(Personality):
    """HP Laser 107a: 404 to everything, though it has IPP over USB interfaces."""

    name = "404-everything"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return plain(404, "Not Found\n")


class Truncated503(_WarmingUp):
    """HP M578: for minutes after power-up a 503 with a truncated body, then zero-length packets."""

    name = "truncated-503-then-zlp"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if not self.warming(request):
            return None
        response = plain(503, "the printer is starting up\n" * 20)
        response.cut_at = 180
        response.zlps_s = FOR_MINUTES_S
        return response


class ScannerFirst(_WarmingUp):
    """The scanner is ready before the printer: IPP gives 503, eSCL works."""

    name = "scanner-before-printer"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        late = self.warming(request) and request.path.startswith("/ipp")
        return plain(503, "starting\n") if late else None


class PrinterFirst(_WarmingUp):
    """The printer is ready before the scanner: eSCL gives 503, IPP works."""

    name = "printer-before-scanner"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        late = self.warming(request) and request.path.startswith("/eSCL")
        return plain(503, "starting\n") if late else None


class FaxProbeSilent(Personality):
    """HP ENVY 5530: a request to the fax queue is never answered."""

    name = "fax-probe-silent"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return _silence() if request.path.startswith("/ipp/faxout") else None


class StopsAfter3K(Personality):
    """HP LaserJet M28: a response stops after 3 KB."""

    name = "stops-after-3k"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        return _stopped_after_3k(response)


def _stopped_after_3k(response: HttpResponse) -> HttpResponse:
    body = response.body
    length = len(body) if isinstance(body, bytes | bytearray | memoryview) else response.length
    if length is None or length > THREE_KB:
        response.cut_at, response.stuck = THREE_KB, True
    return response


class NeedsKeepAlive(Personality):
    """HP LaserJet MFP M28-M31: responses stop after 3 KB without `Connection: keep-alive`."""

    name = "needs-keep-alive"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.header("Connection").lower() == "keep-alive":
            return response
        return _stopped_after_3k(response)


class NeedsClose(Personality):
    """HP OfficeJet Pro 8730: answers nothing without `Connection: close`."""

    name = "needs-close"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return None if request.header("Connection").lower() == "close" else _silence()


class LocalhostOnly(Personality):
    """Canon TR4500, OKI: refuses a Host other than localhost or localhost:PORT."""

    name = "host-localhost-only"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        host = request.header("Host").partition(":")[0]
        return None if host == "localhost" else plain(400, "Bad Request (Invalid Hostname)\n")


class HostNeedsPort(Personality):
    """Epson: refuses a Host without a port."""

    name = "host-needs-port"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        port = request.header("Host").rpartition(":")[2]
        return None if port.isdigit() else plain(400, "Bad Request (Invalid Hostname)\n")


class JunkBeforeStatus(Personality):
    """Canon iR2625: junk bytes before the status line."""

    name = "junk-before-status"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.prefix = b"\x00\x00\x1b%-12345X\r\n"
        return response


class ForeignLocation(Personality):
    """HP Deskjet 3520: Location names a host that is not the printer."""

    name = "foreign-location"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if location := response.header("Location"):
            return response.with_header("Location", FOREIGN + urlsplit(location).path)
        return response


class NextDocumentTooSoon(Personality):
    """Brother MFC-L2710DW: NextDocument within a second of the job's creation gives 404."""

    name = "next-document-too-soon"
    too_soon_s = 1.0

    def __init__(self) -> None:
        self._created_at = -math.inf

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        too_soon = request.interface.device.clock() - self._created_at < self.too_soon_s
        return plain(404) if too_soon and request.path.endswith("/NextDocument") else None

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if response.status == 201:
            self._created_at = request.interface.device.clock()
        return response


class AnswersEarly(Personality):
    """Answers 503 to every other long request, and reads no more of it until the 503 is read."""

    name = "answers-early-stops-reading"

    def __init__(self) -> None:
        self._long = 0

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if _is_small(request):
            return None
        self._long += 1
        if self._long % 2 == 0:
            return None
        response = plain(503, "busy\n").with_header("Retry-After", "1")
        response.rest_after_fetch = True
        return response


class Slow(Personality):
    """An old printer: 100 ms before each response, which is sent at 80 KB/s."""

    name = "slow"

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.delay_s, response.piece, response.pause_s = 0.1, 4096, 0.05
        return response


class PaperOut(Personality):
    """No paper: a job is accepted, and while this is on no more of it is read."""

    name = "paper-out"

    def reasons(self) -> tuple[str, ...]:
        return ("media-empty-error",)


class Silent(Personality):
    """Reads every request and answers none."""

    name = "silent"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return _silence()


class SilentWhilePrinting(Personality):
    """A small printer: it answers nothing while it prints what it has just accepted.

    `spoiled` counts resets meanwhile, each of which would have cost a document.
    """

    name = "silent-while-printing"
    lasts_s: float = 25.0

    def __init__(self) -> None:
        self._accepts = False
        self._until_s = -math.inf
        self.spoiled = 0

    def prints(self, device: VirtualDevice) -> bool:
        return device.clock() < self._until_s

    def ipp(self, request: Message, answer: Message) -> Message:
        self._accepts = request.code in (Operation.PRINT_JOB, Operation.SEND_DOCUMENT)
        return answer

    def amend(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        now = request.interface.device.clock()
        if self._accepts:
            self._accepts, self._until_s = False, now + self.lasts_s
        elif now < self._until_s:
            response.delay_s = self._until_s - now
        return response

    def happened(
        self, device: VirtualDevice, event: DeviceEvent, interface: VirtualInterface | None
    ) -> None:
        resets = event in (DeviceEvent.SOFT_RESET, DeviceEvent.BUS_RESET)
        self.spoiled += resets and self.prints(device)
        if event is DeviceEvent.PLUGGED:
            self._until_s = -math.inf
