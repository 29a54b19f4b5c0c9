"""What a printer says about itself when it is plugged in.

Three questions, side by side where interfaces allow: Get-Printer-Attributes,
ScannerCapabilities, and, only where the device claims to fax, the fax queue.
A question that is never answered (fax on HP ENVY 5530) costs its own time-out
and nothing else. What an earlier probe of the session found is not asked again.

Knows queries and wire; never DNS-SD.
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
    IppUsbError,
    NotAPrinter,
    NotAsked,
    PrinterError,
    PrinterSilent,
    ProbeFailed,
    Unanswered,
)
from ippusbd.exchange.query import FAX_PATH, PRINT_PATH, Query
from ippusbd.model import Capability, DeviceFacts, PrinterFacts, ProbeResult, ScannerFacts
from ippusbd.wire import escl, ipp, ipp_facts
from ippusbd.wire.ipp_requests import get_printer_attributes

log = logging.getLogger("ippusbd.daemon")
T = TypeVar("T")

SCAN_PATH = "/eSCL/ScannerCapabilities"
LATER = (ProbeFailed, PrinterSilent, NotAsked)  # it may answer the next time


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


@dataclass(frozen=True, slots=True)
class Probed:
    """What the questions brought. `missing` says in words what did not answer yet.

    `unanswered`: a part of that was taken and not answered to the end. `found_out`: quirk settings.
    """

    result: ProbeResult
    missing: tuple[str, ...] = ()
    unanswered: Unanswered | None = None
    found_out: tuple[tuple[str, object], ...] = ()


async def gather(
    query: Query,
    device: DeviceFacts,
    questions: Questions,
    *,
    port: int,
    known: ProbeResult | None = None,
) -> Probed:
    """Ask everything that may be asked and is not `known`.

    When nothing is known of how the device prints or scans, raises NotAsked, PrinterSilent (no
    answer at all), Unanswered or ProbeFailed, and NotAPrinter when it will not tell later either.
    """
    uri = f"ipp://localhost:{port}"
    found_out: dict[str, object] = {}
    old = known or ProbeResult(device, None, None)
    printer, scanner, fax = await asyncio.gather(
        _answered(
            questions.prints and old.printer is None,
            "print",
            partial(_printer, query, uri, questions, found_out),
        ),
        _answered(
            questions.scans and old.scanner is None,
            "scan",
            partial(_scanner, query, questions),
            questions.parts_come_late,
        ),
        _answered(questions.faxes and not old.fax, "fax", partial(_fax, query, uri, questions)),
    )
    failures = [one for one in (printer, scanner) if isinstance(one, IppUsbError)]
    missing = tuple(
        f"{what}: {answer}"
        for what, answer in (("print", printer), ("scan", scanner))
        if isinstance(answer, IppUsbError)
    )
    facts = printer if isinstance(printer, PrinterFacts) else old.printer
    pictures = scanner if isinstance(scanner, ScannerFacts) else old.scanner
    unanswered = next((one for one in failures if isinstance(one, Unanswered)), None)
    if facts is None and pictures is None:
        raise _nothing_known(failures, "; ".join(missing) or "it neither prints nor scans")
    if unanswered is not None and facts is not None:
        await whole_attributes(query, uri + PRINT_PATH, answer_s=questions.answer_s)
    result = ProbeResult(device, facts, pictures, fax=fax is True or old.fax)
    return Probed(result, missing, unanswered, tuple(found_out.items()))


def _nothing_known(failures: list[IppUsbError], words: str) -> IppUsbError:
    """What follows for a device that told nothing: refusals first, then silence.

    What was not asked beside it, because one question held the only interface, adds nothing.
    """
    asked = [failure for failure in failures if not isinstance(failure, NotAsked)]
    if failures and not asked:
        return NotAsked(words)
    unanswered = next((failure for failure in asked if isinstance(failure, Unanswered)), None)
    if unanswered is not None:
        return type(unanswered)(words)
    if asked and all(isinstance(failure, PrinterSilent) for failure in asked):
        return PrinterSilent(words)
    later = any(isinstance(failure, LATER) for failure in failures)
    return ProbeFailed(words) if later else NotAPrinter(words)


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
    query: Query, uri: str, questions: Questions, found_out: dict[str, object]
) -> PrinterFacts:
    message, patience_s = ipp_facts.question(uri + PRINT_PATH), questions.answer_s
    body = await query.ipp_bytes(PRINT_PATH, message, answer_s=patience_s, wait_s=patience_s)
    answer, _ = ipp.decode(body, tolerant=True)
    if _is_badly_encoded(body):
        found_out["sanitize_ipp"] = True
    facts = ipp_facts.facts(answer)
    # Canon SELPHY CP1500 reports an internal error beside good data.
    if not answer.ok and not (questions.ignore_ipp_status or facts.pdl):
        raise ProbeFailed(f"Get-Printer-Attributes answered status {answer.code:#06x}")
    return facts


async def whole_attributes(query: Query, uri: str, *, answer_s: float) -> None:
    """What CUPS asks for is longer than what we do. Raises Unanswered where that is cut too."""
    message = get_printer_attributes(uri, ("all",))
    await query.ipp_bytes(PRINT_PATH, message, answer_s=answer_s)


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


async def _scanner(query: Query, questions: Questions) -> ScannerFacts:
    patience_s = questions.answer_s
    body = await query.get(SCAN_PATH, answer_s=patience_s, wait_s=patience_s)
    return escl.capabilities(body)


async def _fax(query: Query, uri: str, questions: Questions) -> bool:
    message = get_printer_attributes(uri + FAX_PATH, ("printer-uri-supported",))
    try:
        answer = await query.ipp(
            FAX_PATH, message, answer_s=questions.fax_answer_s, wait_s=questions.answer_s
        )
    except BadIpp as exc:
        log.info("probe, fax: %s", exc)
        return False
    return answer.ok
