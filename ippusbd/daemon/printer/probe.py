"""Asks a printer for its capabilities when it is plugged in.

Three questions, side by side where interfaces allow: Get-Printer-Attributes,
ScannerCapabilities, and the fax queue; the last two only where a device may have them.
A question that is never answered (fax on HP ENVY 5530) costs its own time-out
and nothing else. What an earlier probe of the session found is not asked again.

Knows queries and wire; never DNS-SD.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ippusbd.daemon.printer.missing import MissingFunction, claims, why_missing
from ippusbd.errors import (
    BadIpp,
    BadXml,
    DeviceGone,
    IppUsbError,
    NotAPrinter,
    NotAsked,
    PrinterError,
    PrinterSilent,
    ProbeFailed,
    Unanswered,
    UsbError,
)
from ippusbd.exchange.query import FAX_PATH, PRINT_PATH, Query
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.model import Capability, DeviceFacts, PrinterFacts, ProbeResult, ScannerFacts
from ippusbd.wire import escl, ipp, ipp_facts
from ippusbd.wire.ipp_requests import get_printer_attributes

log = logging.getLogger("ippusbd.daemon")
Answer = PrinterFacts | ScannerFacts | bool  # to a question about print, scan and fax

SCAN_PATH = "/eSCL/ScannerCapabilities"
CLIENTS_WAIT_S = 1.0  # for an interface, to ask what clients will ask
LATER = (ProbeFailed, PrinterSilent, UsbError)  # a later try may succeed


@dataclass(frozen=True, slots=True)
class Questions:
    """What may be asked, and how long an answer may take."""

    prints: bool = True
    scans: bool = True
    faxes: bool = True
    capabilities: Capability | None = None  # of the class descriptor
    answer_s: float = 20.0
    fax_answer_s: float = 3.0
    ignore_ipp_status: bool = False
    parts_come_late: bool = False  # what it "does not have" at its start may appear later

    def about(self, known: ProbeResult) -> list[str]:
        """The functions to ask for, the important ones first: a device may have one interface.

        Those that are not known and that the class descriptor does not exclude, or IPP claims.
        """
        open_questions = {
            "print": self.prints and known.printer is None,
            "scan": self.scans and known.scanner is None,
            "fax": self.faxes and not known.fax,
        }
        claimed = {"print", *claims(self.capabilities, known.printer)}
        return [
            function
            for function, is_open in open_questions.items()
            if is_open and (not self.capabilities or function in claimed)
        ]

    def comes_later(self, failure: IppUsbError) -> bool:
        """The device is partly ready until it answers."""
        return self.parts_come_late or isinstance(failure, LATER)


@dataclass(frozen=True, slots=True)
class Probed:
    """The answers. `missing`: what was not answered yet, and why.

    `unanswered`: a part of that was accepted and not answered to the end. `learned`: quirks.
    `lost`: functions that the device claims and did not show.
    """

    result: ProbeResult
    missing: Diagnosis | None = None
    unanswered: Unanswered | None = None
    learned: tuple[tuple[str, object], ...] = ()
    lost: tuple[MissingFunction, ...] = ()


async def gather(
    query: Query,
    device: DeviceFacts,
    questions: Questions,
    *,
    port: int,
    known: ProbeResult | None = None,
) -> Probed:
    """Ask everything that may be asked and is not `known`.

    When neither printing nor scanning is known, raises NotAsked, UsbError, PrinterSilent (no
    answer at all), Unanswered or ProbeFailed, and NotAPrinter when a later answer is not to be
    expected.
    """
    uri = f"ipp://localhost:{port}"
    learned: dict[str, object] = {}
    ask: dict[str, Callable[[], Awaitable[Answer]]] = {
        "print": partial(_printer, query, uri, questions, learned),
        "scan": partial(_scanner, query, questions),
        "fax": partial(_fax, query, uri, questions),
    }
    result, failed = await _ask_all(ask, questions, known or ProbeResult(device, None, None))
    # A scanner that plainly is not there says nothing about the device as a whole.
    failures = {
        function: failure
        for function, failure in failed.items()
        if function == "print" or (function == "scan" and questions.comes_later(failure))
    }
    if result.printer is None and result.scanner is None:
        raise _nothing_known(failures)
    unanswered = next((one for one in failures.values() if isinstance(one, Unanswered)), None)
    if result.printer is not None and (unanswered or known is None or known.printer is None):
        await _judge(query, uri, questions, learned, needed=unanswered is not None)
    later = {fun: one for fun, one in failures.items() if questions.comes_later(one)}
    missing = _together(later).of(_words(later)) if later else None
    lost = tuple(_lost(questions, result, failed))
    return Probed(result, missing, unanswered, tuple(learned.items()), lost)


async def _ask_all(
    ask: Mapping[str, Callable[[], Awaitable[Answer]]], questions: Questions, known: ProbeResult
) -> tuple[ProbeResult, dict[str, IppUsbError]]:
    """What is known then, and the failures by function."""
    failed: dict[str, IppUsbError] = {}
    # What IPP claims is known only after the first round.
    while functions := [each for each in questions.about(known) if each not in failed]:
        answers = await asyncio.gather(*(_answered(each, ask[each]) for each in functions))
        for function, answer in zip(functions, answers, strict=True):
            if isinstance(answer, IppUsbError):
                failed[function] = answer
            else:
                known = _with(known, answer)
    return known, failed


def _lost(
    questions: Questions, result: ProbeResult, failed: Mapping[str, IppUsbError]
) -> Iterator[MissingFunction]:
    for function, claimed_by in claims(questions.capabilities, result.printer).items():
        failure = failed.get(function)
        if failure is not None:
            later, silent = questions.comes_later(failure), isinstance(failure, PrinterSilent)
            why = why_missing(function, failure)
            yield MissingFunction(function, claimed_by, why, later=later, silent=silent)


def _words(failures: Mapping[str, IppUsbError]) -> str:
    return "; ".join(f"{function}: {failure}" for function, failure in failures.items())


def _together(failures: Mapping[str, IppUsbError]) -> Kind:
    """The cause of them all: their first kind in the order of the table."""
    found = {failure.kind for failure in failures.values()}
    return next((kind for kind in Kind if kind in found), Kind.NOT_FOUND)


def _nothing_known(failures: Mapping[str, IppUsbError]) -> IppUsbError:
    """The failure for a device with no facts: of a transfer first, then refusals, then silence.

    Questions that were not asked, because another one held the only interface, do not count.
    """
    words, kind = _words(failures) or "it neither prints nor scans", _together(failures)
    asked = [one for one in failures.values() if not isinstance(one, NotAsked)]
    if failures and not asked:
        return NotAsked(words, kind=kind)
    broken = next((failure for failure in asked if isinstance(failure, UsbError)), None)
    if broken is not None:
        return broken
    unanswered = next((failure for failure in asked if isinstance(failure, Unanswered)), None)
    if unanswered is not None:
        return type(unanswered)(words, kind=kind)
    if asked and all(isinstance(failure, PrinterSilent) for failure in asked):
        return PrinterSilent(words, kind=kind)
    later = any(isinstance(failure, LATER) for failure in failures.values())
    return ProbeFailed(words, kind=kind) if later else NotAPrinter(words, kind=kind)


async def _answered(
    function: str, question: Callable[[], Awaitable[Answer]]
) -> Answer | IppUsbError:
    """The answer, or why there is none; a device that is gone raises."""
    try:
        return await question()
    except DeviceGone:
        raise
    except IppUsbError as exc:
        log.info("probe, %s: %s", function, exc)
        return exc


def _with(known: ProbeResult, answer: Answer) -> ProbeResult:
    if isinstance(answer, PrinterFacts):
        return replace(known, printer=answer)
    if isinstance(answer, ScannerFacts):
        return replace(known, scanner=answer)
    return replace(known, fax=answer)


async def _printer(
    query: Query, uri: str, questions: Questions, learned: dict[str, object]
) -> PrinterFacts:
    message, patience_s = ipp_facts.question(uri + PRINT_PATH), questions.answer_s
    body = await query.ipp_bytes(PRINT_PATH, message, answer_s=patience_s, wait_s=patience_s)
    answer, _ = ipp.decode(body, tolerant=True)
    if _is_badly_encoded(body):
        learned["sanitize_ipp"] = True
    facts = ipp_facts.facts(answer)
    # Canon SELPHY CP1500 reports an internal error beside good data.
    if not answer.ok and not (questions.ignore_ipp_status or facts.pdl):
        raise ProbeFailed(f"Get-Printer-Attributes answered status {answer.code:#06x}")
    return facts


async def _judge(
    query: Query, uri: str, questions: Questions, learned: dict[str, object], *, needed: bool
) -> None:
    """Is the answer that CUPS gets well-formed? `needed`: a failure is the device's, and raises."""
    wait_s = None if needed else CLIENTS_WAIT_S
    try:
        body = await whole_attributes(
            query, uri + PRINT_PATH, answer_s=questions.answer_s, wait_s=wait_s
        )
    except DeviceGone:
        raise
    except IppUsbError as exc:
        log.info("probe, what clients ask for: %s", exc)
        if needed:
            raise
        return
    if _is_badly_encoded(body):
        learned["sanitize_ipp"] = True


async def whole_attributes(
    query: Query, uri: str, *, answer_s: float, wait_s: float | None = None
) -> bytes:
    """What CUPS asks for, which is longer than what we do. Raises Unanswered where that is cut."""
    message = get_printer_attributes(uri, ("all", "media-col-database"))
    return await query.ipp_bytes(PRINT_PATH, message, answer_s=answer_s, wait_s=wait_s)


def _is_badly_encoded(body: bytes) -> bool:
    """Clients cannot read it, but could if it were repaired (Pantum)."""
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


async def _scanner(query: Query, questions: Questions) -> ScannerFacts:
    patience_s = questions.answer_s
    body = await query.get(SCAN_PATH, answer_s=patience_s, wait_s=patience_s)
    try:
        return escl.capabilities(body)
    except BadXml as exc:
        raise BadXml(f"{SCAN_PATH} cannot be read: {exc}") from exc


async def _fax(query: Query, uri: str, questions: Questions) -> bool:
    message = get_printer_attributes(uri + FAX_PATH, ("printer-uri-supported",))
    s = questions.fax_answer_s
    answer = await query.ipp(FAX_PATH, message, answer_s=s, wait_s=questions.answer_s)
    if not answer.ok:
        raise PrinterError(f"{FAX_PATH} answered IPP status {answer.code:#06x}")
    return True
