"""The daemon's own requests to a printer, and the outcome of each.

A question is a small exchange. Its outcome is a type, because conclusions are drawn from it:
a question that *could not be asked*, because no interface was available, proves nothing about
the printer.

Knows leases, exchanges and wire; its caller decides what follows from an outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Required, TypedDict, Unpack

from ippusbd import kinds
from ippusbd.aio import now
from ippusbd.errors import (
    BadResponse,
    CutAnswer,
    DeviceGone,
    IppUsbError,
    NoInterface,
    NotAsked,
    PrinterError,
    PrinterSilent,
    ProbeFailed,
    Unanswered,
    UsbError,
)
from ippusbd.exchange.exchange import Exchange
from ippusbd.exchange.request import Headers, Request
from ippusbd.exchange.traffic import Traffic
from ippusbd.model import Awaits
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pool_types import Purpose, SlotState
from ippusbd.usbio.protocols import Channel
from ippusbd.wire import http1, ipp
from ippusbd.wire.http1_response import Head
from ippusbd.wire.ipp_codec import HEADER
from ippusbd.wire.ipp_requests import get_printer_attributes
from ippusbd.wire.text import one_line

log = logging.getLogger("ippusbd.http")

PRINT_PATH, FAX_PATH = "/ipp/print", "/ipp/faxout"
MAX_ANSWER: Final = 1 << 20
LEASE_S: Final = 1.0  # added to twice the time for an answer: an interface may be in recovery
HURRY_S: Final = 3.0  # nothing waits for the answer to a question that timed out
LATE_S, LATE_MAX = 1.0, 64 << 20  # silence after, and bytes of, answers to earlier requests
CUT_S: Final = 1.0  # the response head proves that the printer answers
WHAT_CHARS: Final = 200  # of the reason of a status, in our words about it
IPP_TYPE: Final = (("Content-Type", "application/ipp"),)
IPP_1: Final = b"\x01\x01"
VERSION_REFUSED: Final = ipp.Status.VERSION_NOT_SUPPORTED.to_bytes(2, "big")
_WHY: Final = {
    401: "the printer asks for a password",
    403: "the printer does not allow it",
    426: "the printer insists on TLS",
}


class Outcome(Enum):
    """The outcome of a question."""

    ANSWERED = "answered"
    REFUSED = "refused by HTTP or IPP"
    CUT = "begun, cut off"
    UNANSWERED = "taken, not answered"
    NOT_TAKEN = "not taken"
    NOT_ASKED = "could not be asked"
    FAILED = "transfer failed"
    GONE = "device gone"

    @property
    def responds(self) -> bool:
        """The printer answered something."""
        return self in (Outcome.ANSWERED, Outcome.REFUSED, Outcome.CUT)

    @property
    def silent(self) -> bool:
        """The printer was asked, and did not answer."""
        return self in (Outcome.UNANSWERED, Outcome.NOT_TAKEN)


_OUTCOMES: Final[tuple[tuple[type[IppUsbError], Outcome], ...]] = (  # subclasses first
    (NotAsked, Outcome.NOT_ASKED),
    (NoInterface, Outcome.NOT_ASKED),
    (DeviceGone, Outcome.GONE),
    (UsbError, Outcome.FAILED),
    (CutAnswer, Outcome.CUT),
    (Unanswered, Outcome.UNANSWERED),
    (PrinterSilent, Outcome.NOT_TAKEN),
)


def outcome_of(failure: IppUsbError | None) -> Outcome:
    """Of a question that ended in `failure`; None: it was answered."""
    if failure is None:
        return Outcome.ANSWERED
    return next((o for kind, o in _OUTCOMES if isinstance(failure, kind)), Outcome.REFUSED)


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: on which interface (None: it had none), when, and its outcome."""

    interface: int | None
    at: float  # in the loop's time
    outcome: Outcome


class How(TypedDict, total=False):
    """Keyword arguments of `Query.ask`."""

    answer_s: Required[float]
    wait_s: float | None
    counted: bool


class _Hurried(Exchange):
    """A question that nothing waits for any more gets little time to finish.

    A Cancel-Job or DELETE of ours is one, too: it is no work that a recovery would cost.
    """

    def __init__(
        self, channel: Channel, request: Request, traffic: Traffic, *, cut_response_s: float | None
    ) -> None:
        super().__init__(channel, request, traffic, cut_response_s=cut_response_s)
        self.purpose = Purpose.QUESTION

    @property
    def awaits(self) -> Awaits:
        return Awaits.CLIENT_READS  # its caller has a time-out of its own

    async def finish(self, quiet_s: float, excused: Callable[[], bool] = lambda: False) -> None:
        await super().finish(min(quiet_s, HURRY_S), excused)


class Query:
    """Asks one printer small questions, over its pool or on a given interface.

    `pause_s`: a silence this long in its middle cuts an answer off. `connection` is the
    Connection header, which a session may learn; `headers` are set in every request. `note` is
    called with every outcome, `overhear` with the target and the body of every answer.
    """

    def __init__(
        self,
        pool: InterfacePool | None = None,
        *,
        host: str,
        connection: str | None = None,
        headers: Headers = (),
        traffic: Traffic | None = None,
        pause_s: float | None = None,
        note: Callable[[Asked], None] = lambda _: None,
        overhear: Callable[[str, bytes], None] = lambda *_: None,
    ) -> None:
        self.pool = pool  # None: nothing is claimed yet
        self.connection = connection
        self._host = host
        self._headers = headers
        self._traffic = traffic or Traffic()
        self._pause_s = pause_s
        self._note = note
        self._overhear = overhear
        self._asks_ipp_1 = False

    @property
    def could_ask(self) -> bool:
        """An interface is available at once."""
        free = (SlotState.FREE, SlotState.RELEASED)
        return self.pool is not None and any(slot.state in free for slot in self.pool.slots)

    async def ask(
        self,
        request: Request,
        *,
        answer_s: float,
        wait_s: float | None = None,
        counted: bool = True,
    ) -> tuple[Head, bytes]:
        """Head and body of the answer, `answer_s` after the question went out at the latest.

        Raises NotAsked when no interface came free in `wait_s` (None: long enough for one to be
        recovered), PrinterSilent and its kinds, or what the exchange raises. Not `counted`: not in
        the statistics.
        """
        if self.pool is None:
            raise NotAsked("no interface is claimed")
        traffic = self._traffic if counted else Traffic()
        asked_at, number = now(), None
        try:
            patience_s = 2 * answer_s + LEASE_S if wait_s is None else wait_s
            async with self.pool.lease(wait_s=patience_s) as lease:
                asked_at, number = now(), lease.channel.number
                exchange = lease.unfinished = _Hurried(
                    lease.channel, self._own(request), traffic, cut_response_s=self._pause_s
                )
                try:
                    answer = await _answered(exchange, request.target, answer_s)
                finally:
                    # A sign of life counts, also of a question that the statistics leave out.
                    self._traffic.moved_at = max(self._traffic.moved_at, traffic.moved_at)
                    if exchange.complete:
                        lease.unfinished = None
        except NoInterface as exc:
            self._note(Asked(number, asked_at, Outcome.NOT_ASKED))
            raise NotAsked(str(exc), kind=exc.kind) from exc
        except IppUsbError as exc:
            self._note(Asked(number, asked_at, outcome_of(exc)))
            raise
        self._overhear(request.target, answer[1])
        refused = answer[0].status >= 400
        self._note(Asked(number, asked_at, Outcome.REFUSED if refused else Outcome.ANSWERED))
        return answer

    async def check(self, channel: Channel, answer_s: float) -> None:
        """Check that the printer answers on this very interface; any answer will do.

        But to this question: after a recovery the answer to an earlier one may come so late that
        it is taken for this one's, whose own would then be the next client's. It is discarded.
        Raises PrinterSilent, or what the channel raises. Afterwards the interface is free, or it
        raised.
        """
        if not await self._check(channel, answer_s):
            log.info("interface %d: discarding the answer to an earlier request", channel.number)
            await channel.drain(LATE_S, LATE_MAX)
            await self._check(channel, answer_s)  # some firmware never copies the request-id

    async def _check(self, channel: Channel, answer_s: float) -> bool:
        """Whether the answer is this question's, as far as its request-id tells."""
        at = now()
        request_id = int(at * 1000) % (1 << 30) + 2  # no other question's: they have 1
        request = self._own(_state_question(request_id))
        exchange = Exchange(channel, request, self._traffic, cut_response_s=CUT_S)
        try:
            await _begun(exchange, request.target, answer_s)
        except IppUsbError as exc:
            self._note(Asked(channel.number, at, outcome_of(exc)))
            raise
        finally:
            if exchange.head is None:
                await exchange.stop()
        self._note(Asked(channel.number, at, Outcome.ANSWERED))
        start = bytearray()
        try:
            async with asyncio.timeout(answer_s):
                async for data in exchange.chunks():
                    start += data[: HEADER.size - len(start)]
                await exchange.sent()
        except UsbError:
            raise
        except (TimeoutError, IppUsbError) as exc:
            log.info("interface %d answers, but the response is cut short: %s", channel.number, exc)
            await exchange.stop()
            await channel.reset()
        channel.rest()
        return not _is_ipp(exchange.head) or _has_id(start, request_id)

    async def state(self, *, answer_s: float) -> None:
        """Ask for printer-state and reasons, for `overhear`; any answer will do."""
        await self.ask(_state_question(), answer_s=answer_s)

    async def get(self, target: str, *, answer_s: float, wait_s: float | None = None) -> bytes:
        request = Request("GET", target, ())
        head, body = await self.ask(request, answer_s=answer_s, wait_s=wait_s)
        _expect_ok(head, target)
        return body

    async def ipp(self, target: str, message: bytes, **how: Unpack[How]) -> ipp.Message:
        return ipp.decode(await self.ipp_bytes(target, message, **how), tolerant=True)[0]

    async def ipp_bytes(self, target: str, message: bytes, **how: Unpack[How]) -> bytes:
        """The answer as the printer encoded it; `how`: see `ask`.

        A printer that refuses the version of IPP is asked with 1.1 from then on.
        """
        request = Request("POST", target, IPP_TYPE, message)
        head, body = await self.ask(request, **how)
        _expect_ok(head, target)
        if body[2:4] == VERSION_REFUSED and not self._asks_ipp_1:
            self._asks_ipp_1 = True
            return await self.ipp_bytes(target, message, **how)
        return body

    def _own(self, request: Request) -> Request:
        usual = (("Host", self._host), ("User-Agent", "ippusbd"), *request.headers)
        headers = tuple(http1.overridden(usual, self._headers))
        body = request.body
        if self._asks_ipp_1 and request.headers == IPP_TYPE:
            body = min(body[:2], IPP_1) + body[2:]
        return replace(request, headers=headers, body=body, connection=self.connection)


def _state_question(request_id: int = 1) -> Request:
    wanted = ("printer-state", "printer-state-reasons")
    body = get_printer_attributes(f"ipp://localhost{PRINT_PATH}", wanted, request_id)
    return Request("POST", PRINT_PATH, IPP_TYPE, body)


def _is_ipp(head: Head | None) -> bool:
    return head is not None and (head.value("Content-Type") or "").startswith(IPP_TYPE[0][1])


def _has_id(start: bytes | bytearray, request_id: int) -> bool:
    """Of the beginning of an IPP message; what is none does not tell."""
    return len(start) < HEADER.size or HEADER.unpack_from(start)[3] == request_id


async def _answered(exchange: Exchange, target: str, answer_s: float) -> tuple[Head, bytes]:
    try:
        async with asyncio.timeout(answer_s):
            head = await exchange.answer()
            body = await _whole(exchange)
            await exchange.sent()
            return head, body
    except TimeoutError:
        raise _failure(exchange, target, answer_s) from None
    except BadResponse as exc:
        raise _failure(exchange, target, answer_s, exc) from None


async def _begun(exchange: Exchange, target: str, answer_s: float) -> None:
    try:
        async with asyncio.timeout(answer_s):
            await exchange.answer()
    except TimeoutError:
        raise _failure(exchange, target, answer_s) from None


def _failure(
    exchange: Exchange, target: str, answer_s: float, reason: BadResponse | None = None
) -> PrinterError:
    """Why a question was not answered to the end."""
    if exchange.head is not None and exchange.head.status >= 500:
        status = exchange.head.status
        return ProbeFailed(f"{target} answered {status}, cut short", path=target, status=status)
    if exchange.head is not None:
        return CutAnswer(f"the response to {target} stopped in the middle")
    if reason is not None:
        return reason
    if exchange.taken:
        return Unanswered(f"no response to {target} in {answer_s:g} s")
    return PrinterSilent(f"the request for {target} was not accepted in {answer_s:g} s")


def _expect_ok(head: Head, target: str) -> None:
    if head.status != 200:
        failure = ProbeFailed if head.status >= 500 else PrinterError
        what, to_https = one_line(head.reason, WHAT_CHARS), False
        if 300 <= head.status < 400 and (location := head.value("Location")):
            to_https = location.lower().startswith("https:")
            what = "to https" if to_https else one_line(f"to {location}", WHAT_CHARS)
        answered = f"{target} answered {head.status}"
        why = _WHY.get(head.status)
        raise failure(
            f"{answered}: {why}" if why else f"{answered} {what}".strip(),
            kind=kinds.Kind.HTTPS if to_https else kinds.kind_of_status(head.status),
            path=target,
            status=head.status,
        )


async def _whole(exchange: Exchange) -> bytes:
    body = bytearray()
    async for data in exchange.chunks():
        body += data
        if len(body) > MAX_ANSWER:
            raise PrinterError(f"a response of more than {MAX_ANSWER} bytes to a small request")
    return bytes(body)
