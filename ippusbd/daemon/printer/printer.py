"""A printer as the daemon knows it, plugged in or not, and what every session needs.

A `Printer` lasts as long as the daemon: its port keeps listening while it is
unplugged, and answers 503. Its sessions (`session`) change its state.

Knows the layers below only as types.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ippusbd.config import Config
from ippusbd.daemon.observe.status import (
    ExchangeStatus,
    InterfaceCounts,
    PrinterStatus,
    TransferStatus,
)
from ippusbd.daemon.printer.missing import MissingFunction
from ippusbd.daemon.printer.states import Event, State, step
from ippusbd.daemon.printer.status_poll import StatusPoll
from ippusbd.daemon.recovery import verdict
from ippusbd.daemon.recovery.evidence import Evidence, EvidenceLog
from ippusbd.daemon.recovery.stall_detector import StallDetector
from ippusbd.dnssd.protocols import Publication, Publisher
from ippusbd.exchange.pending_cancels import PendingCancels, boottime
from ippusbd.exchange.query import PRINT_PATH
from ippusbd.kinds import Diagnosis
from ippusbd.model import Awaits, DeviceFacts
from ippusbd.proxy.server import PrinterSite, SiteSettings
from ippusbd.quirks.load import QuirkTable
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pool_types import About, PoolSlot, PoolStatus, SlotState
from ippusbd.usbio.protocols import TransferCounts, UsbHost
from ippusbd.wire.overheard import printer_state

if TYPE_CHECKING:
    from ippusbd.daemon.share.sharing import Sharing

log = logging.getLogger("ippusbd.daemon")

ANSWERING = (State.READY, State.PARTIAL)


@dataclass(frozen=True, slots=True)
class Services:
    """What every printer's session needs from the daemon."""

    config: Config
    host: UsbHost
    publisher: Publisher
    quirks: QuirkTable
    sharing: Sharing | None = None  # None: printers are not shared with the network
    boottime: Callable[[], float] = boottime


class Printer:
    """A printer by its key (`DeviceFacts.key`), plugged in or not."""

    def __init__(
        self,
        key: str,
        settings: SiteSettings,
        *,
        host: str = "localhost",
        boottime: Callable[[], float] = boottime,
    ) -> None:
        """`host`: where clients of this machine reach it."""
        self.key = key
        self._host = host
        self.site = PrinterSite(settings)
        self.facts: DeviceFacts | None = None
        self.name = ""  # of its services, kept over replugs
        self.name_taken_over = False  # it is the name that ipp-usb gave it
        self.state = State.AWAY
        self.reason: Diagnosis | None = None
        self.pool: InterfacePool | None = None
        self.publication: Publication | None = None
        self.transfers = TransferCounts()
        clock = asyncio.get_running_loop().time
        self.status_poll = StatusPoll(clock=clock)
        self.evidence = EvidenceLog(clock, self.site.traffic)
        self.detector: StallDetector | None = None  # while it is served
        self.missing: tuple[MissingFunction, ...] = ()  # what it claims and does not show
        self.answers = False  # it was probed; announcing may still take a moment
        self.pending_cancels = PendingCancels(clock=boottime)  # kept until it can be asked again
        self.lock = asyncio.Lock()  # a replug waits until the last session has released everything

    def to(self, event: Event, reason: Diagnosis | None = None) -> None:
        """Step the state table, and log it."""
        self.state = step(self.state, event)
        self.reason = reason
        self.answers = self.state in ANSWERING
        if not self.answers:
            self.missing = ()
        comma = ", " if reason is not None else ""
        log.info("%s: %s%s%s", self.label, self.state.value, comma, reason or "")

    def overhear(self, path: str, body: bytes) -> None:
        """An IPP answer, to us or to a client: evidence that costs no request.

        The state of another queue, such as the fax, tells nothing of what is printed.
        """
        heard = printer_state(body) if path == PRINT_PATH else None
        if heard is not None:
            self.evidence.state_report(*heard)
            self.status_poll.overhear(*heard)

    def at_work(self) -> str:
        """Why nothing may be done to the device as a whole; empty: no work would be lost."""
        return verdict.at_work(self._look(), asyncio.get_running_loop().time())

    def serves(self) -> str:
        """Why its session may not end; empty: no work of this session would be lost."""
        return verdict.serves(self._look(), asyncio.get_running_loop().time())

    def is_printing(self) -> bool:
        """A job is being printed; its interfaces stay claimed."""
        return verdict.is_printing(self._look(), asyncio.get_running_loop().time())

    def has_printed(self) -> bool:
        """Its own reports tell that it is done with all that it was sent."""
        return not self._look().is_unsettled and not self.at_work()

    def waits_for(self) -> str:
        """What its exchanges wait for; empty: none stalls."""
        return self.detector.waits if self.detector is not None else ""

    def _look(self) -> Evidence:
        slots = self.pool.slots if self.pool is not None else ()
        return self.evidence.look(slots)

    @property
    def label(self) -> str:
        return (self.facts.model if self.facts else "") or self.key

    def _troubles(self) -> tuple[Diagnosis, ...]:
        """What does not work while it is served, each once."""
        found = [*(self.pool.troubles if self.pool is not None else ()), self.site.trouble]
        return tuple({str(one): one for one in found if one is not None}.values())

    def status(self, learned: Mapping[str, object] | None = None) -> PrinterStatus:
        facts, pool, traffic = self.facts, self.pool, self.site.traffic
        return PrinterStatus(
            id=str(facts.usb_id) if facts else self.key[:9],
            serial=facts.serial if facts else "",
            address=str(facts.address) if facts and self.state is not State.AWAY else "",
            model=facts.model if facts else "",
            virtual=facts.virtual if facts else False,
            state=self.state,
            reason=self.reason,
            port=self.site.port,
            name=self.publication.name if self.publication else self.name,
            announced=self.publication.state if self.publication else "no",
            url=f"http://{self._host}:{self.site.port}/" if self.site.port else "",
            interfaces=_counts(pool.status()) if pool else InterfaceCounts(),
            missing=tuple(one.status() for one in self.missing),
            troubles=self._troubles(),
            exchanges=tuple(_exchanges(pool.slots, self.site.queued())) if pool else (),
            waits_for=self.waits_for(),
            waits_s=round(self.detector.waits_s, 1) if self.detector else 0.0,
            ended=self.detector.status() if self.detector else (),
            condition=self.status_poll.status(),
            requests=traffic.requests,
            bytes_in=traffic.bytes_in,
            bytes_out=traffic.bytes_out,
            transfers=TransferStatus(**asdict(self.transfers)),
            learned=dict(learned or {}),
        )


def _counts(pool: PoolStatus) -> InterfaceCounts:
    return InterfaceCounts(
        total=pool.total,
        in_use=pool.in_use + pool.draining,
        broken=pool.broken,
        waiting=pool.waiting,
        released=pool.released,
    )


def _exchanges(slots: Iterable[PoolSlot], queued: Iterable[About]) -> Iterator[ExchangeStatus]:
    """Those on interfaces, then those that wait for one."""
    now = asyncio.get_running_loop().time()
    for slot in slots:
        work = slot.work
        if work is not None:
            is_left = slot.state is not SlotState.LEASED
            yield _exchange(work.about, slot.number, work.awaits, now, is_left=is_left)
    for about in queued:
        yield _exchange(about, None, Awaits.INTERFACE, now)


def _exchange(
    about: About, interface: int | None, waits_for: Awaits, now: float, *, is_left: bool = False
) -> ExchangeStatus:
    return ExchangeStatus(
        interface=interface,
        client=about.client,
        request=about.request,
        kind=about.purpose.value,
        size=about.size,
        bytes_out=about.bytes_out,
        bytes_in=about.bytes_in,
        for_s=round(max(now - about.began_at, 0.0), 1),
        still_s=round(max(now - (about.moved_at or about.began_at), 0.0), 1),
        waits_for=waits_for,
        is_left=is_left,
    )
