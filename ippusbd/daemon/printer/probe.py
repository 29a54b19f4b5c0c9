"""What a printer says of itself when it is plugged in.

Three questions, side by side where interfaces allow: Get-Printer-Attributes,
ScannerCapabilities, and, only where the device claims to fax, the fax queue.
A question that is never answered (fax on HP ENVY 5530) costs its own time-out
and nothing else.

Knows leases, exchanges and wire; never DNS-SD.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from ippusbd.errors import (
    BadIpp,
    BadResponse,
    CutAnswer,
    HalfAnswered,
    IppUsbError,
    NotAPrinter,
    PrinterError,
    PrinterSilent,
    ProbeFailed,
)
from ippusbd.exchange.exchange import Exchange, Request, Traffic
from ippusbd.model import Capability, DeviceFacts, PrinterFacts, ProbeResult, ScannerFacts
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire import escl, ipp, ipp_facts
from ippusbd.wire.http1_response import Head
from ippusbd.wire.ipp_requests import get_printer_attributes

log = logging.getLogger("ippusbd.daemon")
T = TypeVar("T")

MAX_ANSWER = 1 << 20
PRINT_PATH, FAX_PATH = "/ipp/print", "/ipp/faxout"
SCAN_PATH = "/eSCL/ScannerCapabilities"
HURRY_S = 3.0  # nobody waits for the answer to a question we gave up
LATER = (ProbeFailed, PrinterSilent)  # it may answer the next time


@dataclass(frozen=True, slots=True)
class Questions:
    """What may be asked, and how long an answer may take."""

    prints: bool = True
    scans: bool = True
    faxes: bool = True
    answer_s: float = 20.0
    fax_answer_s: float = 3.0
    ignore_ipp_status: bool = False
    parts_come_late: bool = False  # what it "does not have" at start it may have later

    def limited_to(self, capabilities: Capability | None) -> Questions:
        """Without what the class descriptor excludes; printing is always asked for."""
        if not capabilities:
            return self
        return replace(
            self,
            scans=self.scans and Capability.SCAN in capabilities,
            faxes=self.faxes and Capability.FAX in capabilities,
        )


class _Hurried:
    """An answer that nobody wants any more gets little time."""

    awaits_printer = False  # who asked has a time-out
    taken = True
    repeatable = True

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def progress(self) -> int:
        return self._exchange.progress

    def give_up(self) -> None:
        self._exchange.give_up()

    async def finish(self, quiet_s: float) -> None:
        await self._exchange.finish(min(quiet_s, HURRY_S))


class Asker:
    """Asks a printer small questions over its pool.

    `pause_s`: after so long a silence in its middle, an answer will have no end.
    """

    def __init__(
        self,
        pool: InterfacePool,
        *,
        host: str,
        connection: str | None = None,
        traffic: Traffic | None = None,
        pause_s: float | None = None,
    ) -> None:
        self._pool = pool
        self._host = host
        self._connection = connection
        self._traffic = traffic
        self._pause_s = pause_s

    async def ask(self, request: Request, *, answer_s: float) -> tuple[Head, bytes]:
        """Head and body of the answer; raises PrinterSilent, or what the exchange raises."""
        headers = (("Host", self._host), ("User-Agent", "ippusbd"), *request.headers)
        request = replace(request, headers=headers, connection=self._connection)
        answers: list[Exchange] = []
        try:
            async with asyncio.timeout(answer_s), self._pool.lease(wait_s=answer_s) as lease:
                exchange = Exchange(
                    lease.channel, request, self._traffic, cut_response_s=self._pause_s
                )
                answers.append(exchange)
                lease.unfinished = _Hurried(exchange)
                try:
                    head = await exchange.answer()
                    body = await _whole(exchange)
                    await exchange.sent()
                finally:
                    if exchange.complete:
                        lease.unfinished = None
                return head, body
        except (TimeoutError, BadResponse) as exc:
            raise _no_end(answers, request.target, answer_s, exc) from None

    async def state(self, *, answer_s: float) -> ipp.PrinterState | None:
        """The printer's state, None if it answers something else; raises PrinterSilent, ..."""
        body = get_printer_attributes(f"ipp://localhost{PRINT_PATH}", ("printer-state",))
        request = Request("POST", PRINT_PATH, (("Content-Type", "application/ipp"),), body)
        _, answer = await self.ask(request, answer_s=answer_s)
        try:
            message, _ = ipp.decode(answer, tolerant=True)
            return ipp.PrinterState(message.first_integer(ipp.Tag.PRINTER, "printer-state") or 0)
        except (BadIpp, ValueError):
            return None

    async def get(self, target: str, *, answer_s: float) -> bytes:
        head, body = await self.ask(Request("GET", target, ()), answer_s=answer_s)
        _expect_ok(head, target)
        return body

    async def ipp(self, target: str, message: bytes, *, answer_s: float) -> ipp.Message:
        answer, _ = ipp.decode(
            await self.ipp_bytes(target, message, answer_s=answer_s), tolerant=True
        )
        return answer

    async def ipp_bytes(self, target: str, message: bytes, *, answer_s: float) -> bytes:
        """The answer as the printer encoded it."""
        request = Request("POST", target, (("Content-Type", "application/ipp"),), message)
        head, body = await self.ask(request, answer_s=answer_s)
        _expect_ok(head, target)
        return body


def _no_end(
    answers: list[Exchange], target: str, answer_s: float, reason: Exception
) -> PrinterError:
    """Why a question failed that was not answered to the end."""
    head = answers[0].head if answers else None
    if head is not None and head.status >= 500:
        return ProbeFailed(f"{target} answered {head.status}, cut short")
    if head is not None:
        return CutAnswer(f"the answer to {target} stopped in the middle")
    if isinstance(reason, BadResponse):
        return reason
    if answers and answers[0].taken:
        return HalfAnswered(f"no answer to {target} in {answer_s:g} s")
    return PrinterSilent(f"{target} was not taken in {answer_s:g} s")


def _expect_ok(head: Head, target: str) -> None:
    if head.status != 200:
        failure = ProbeFailed if head.status >= 500 else PrinterError
        raise failure(f"{target} answered {head.status} {head.reason}".strip())


async def _whole(exchange: Exchange) -> bytes:
    body = bytearray()
    async for data in exchange.chunks():
        body += data
        if len(body) > MAX_ANSWER:
            raise PrinterError(f"an answer of more than {MAX_ANSWER} bytes to a small question")
    return bytes(body)


@dataclass(frozen=True, slots=True)
class Probed:
    """What the questions brought. `missing` says in words what did not answer yet.

    `halved`: a part of that was taken and not answered to the end. `found_out`: quirk settings.
    """

    result: ProbeResult
    missing: tuple[str, ...] = ()
    halved: HalfAnswered | None = None
    found_out: tuple[tuple[str, object], ...] = ()


async def gather(asker: Asker, device: DeviceFacts, questions: Questions, *, port: int) -> Probed:
    """Ask everything that may be asked.

    Raises ProbeFailed or HalfAnswered when the device tells neither how it prints nor how it
    scans, and NotAPrinter when it will not do so later either.
    """
    uri = f"ipp://localhost:{port}"
    found_out: dict[str, object] = {}
    printer, scanner, fax = await asyncio.gather(
        _answered(questions.prints, "print", partial(_printer, asker, uri, questions, found_out)),
        _answered(
            questions.scans, "scan", partial(_scanner, asker, questions), questions.parts_come_late
        ),
        _answered(questions.faxes, "fax", partial(_fax, asker, uri, questions)),
    )
    missing = tuple(
        f"{what}: {answer}"
        for what, answer in (("print", printer), ("scan", scanner))
        if isinstance(answer, IppUsbError)
    )
    facts = printer if isinstance(printer, PrinterFacts) else None
    pictures = scanner if isinstance(scanner, ScannerFacts) else None
    halved = next((one for one in (printer, scanner) if isinstance(one, HalfAnswered)), None)
    if facts is None and pictures is None:
        words = "; ".join(missing) or "it neither prints nor scans"
        if halved is not None:
            raise type(halved)(words)
        later = any(isinstance(one, LATER) for one in (printer, scanner))
        raise ProbeFailed(words) if later else NotAPrinter(words)
    if halved is not None and facts is not None:
        await whole_attributes(asker, uri + PRINT_PATH, answer_s=questions.answer_s)
    result = ProbeResult(device, facts, pictures, fax=fax is True)
    return Probed(result, missing, halved, tuple(found_out.items()))


async def _answered(
    wanted: bool, what: str, question: Callable[[], Awaitable[T]], comes_late: bool = False
) -> T | IppUsbError | None:
    """The answer; None when it was not asked or the device plainly has no such thing."""
    if not wanted:
        return None
    try:
        return await question()
    except LATER as exc:
        log.info("probe, %s: %s", what, exc)
        return exc
    except PrinterError as exc:  # 404 and its like: it cannot do that
        log.info("probe, %s: %s", what, exc)
        return exc if what == "print" or comes_late else None


async def _printer(
    asker: Asker, uri: str, questions: Questions, found_out: dict[str, object]
) -> PrinterFacts:
    message = ipp_facts.question(uri + PRINT_PATH)
    body = await asker.ipp_bytes(PRINT_PATH, message, answer_s=questions.answer_s)
    answer, _ = ipp.decode(body, tolerant=True)
    if _is_badly_encoded(body):
        found_out["sanitize_ipp"] = True
    facts = ipp_facts.facts(answer)
    # Canon SELPHY CP1500 reports an internal error beside good data.
    if not answer.ok and not (questions.ignore_ipp_status or facts.pdl):
        raise ProbeFailed(f"Get-Printer-Attributes answered status {answer.code:#06x}")
    return facts


async def whole_attributes(asker: Asker, uri: str, *, answer_s: float) -> None:
    """What CUPS asks for is longer than what we do. Raises HalfAnswered where that is cut too."""
    message = get_printer_attributes(uri, ("all",))
    await asker.ipp_bytes(PRINT_PATH, message, answer_s=answer_s)


def _is_badly_encoded(body: bytes) -> bool:
    """Clients could not read it, and could if it were repaired (Pantum)."""
    try:
        ipp.decode(body)
    except BadIpp:
        pass
    else:
        return False
    try:
        ipp.decode(ipp.sanitize(body))
    except BadIpp:
        return False
    return True


async def _scanner(asker: Asker, questions: Questions) -> ScannerFacts:
    return escl.capabilities(await asker.get(SCAN_PATH, answer_s=questions.answer_s))


async def _fax(asker: Asker, uri: str, questions: Questions) -> bool:
    message = get_printer_attributes(uri + FAX_PATH, ("printer-uri-supported",))
    try:
        answer = await asker.ipp(FAX_PATH, message, answer_s=questions.fax_answer_s)
    except BadIpp as exc:
        log.info("probe, fax: %s", exc)
        return False
    return answer.ok
