"""One attempt to serve a printer: open, claim, serve, and release in reverse order.

A `PrinterSession` lasts from plug (or retry) to unplug (or failure); everything
it takes is on one exit stack, whose order is the shutdown's order:
unpublish, refuse, finish, drain, release. Interfaces that fail are recovered
one by one; nothing is done to the device as a whole while work would be lost.

Knows the layers below; how sessions follow each other is the supervisor's.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from ippusbd import kinds
from ippusbd.aio import keep_running, now, run_to_end
from ippusbd.daemon.printer.announcer import Announcer
from ippusbd.daemon.printer.claiming import Claimer
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.printer.states import Event
from ippusbd.daemon.printer.status_poll import poll_status
from ippusbd.daemon.recovery.backoff import Backoff
from ippusbd.daemon.recovery.history import RecoveryHistory
from ippusbd.daemon.recovery.ladder import Ladder
from ippusbd.daemon.recovery.learning import WriteSizeTrial
from ippusbd.daemon.recovery.stall_detector import StallDetector
from ippusbd.daemon.recovery.verdict import Patience
from ippusbd.errors import IppUsbError, NoInterface, PrinterError, StartsAfresh, UsbError
from ippusbd.exchange.query import Query
from ippusbd.exchange.request import Request
from ippusbd.log import escaped, set_context
from ippusbd.proxy.settings import Wiring
from ippusbd.quirks.model import Effective
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pool_types import Purpose
from ippusbd.usbio.protocols import Channel, UsbDevice
from ippusbd.wire import links
from ippusbd.wire.ipp_codes import Operation

log = logging.getLogger("ippusbd.daemon")

LABEL_CHARS = 80  # of a printer's name in log lines
DOCUMENTS_S = 60.0  # beyond the grace time, for documents that go on
LOOK_S = 0.1  # at least, between two looks at how far documents are
FAILED_GRACE_S = 1.0  # for exchanges in flight when the printer turned out not to be usable
UPLOADS = (Purpose.DOCUMENT, Purpose.OTHER)
LOOKS = 4  # of the stall detector in the time after which a stall is looked at


class PrinterSession:
    """Serves one plugged-in printer until it is gone or has failed."""

    def __init__(
        self,
        services: Services,
        printer: Printer,
        quirks: Effective,
        history: RecoveryHistory,
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._services = services
        self._config = config = services.config
        self._printer = printer
        self._quirks = quirks
        self._history = history
        self._on_change = on_change
        self._query = Query(
            host=quirks.host_header or f"localhost:{printer.site.port}",
            connection=quirks.connection,
            headers=quirks.headers,
            traffic=printer.site.traffic,
            pause_s=quirks.cut_response_s or config.check_s,
            note=printer.evidence.asked,
            overhear=self._overhear,
        )
        self._hosts = links.PrinterHosts()
        self._announcer = Announcer(
            services,
            printer,
            history,
            self._query,
            quirks=lambda: self._quirks,
            adopt=self._adopt,
            at_work=printer.at_work,
            pause=self._pause,
            on_ready=on_ready,
            on_change=on_change,
        )
        loop = asyncio.get_running_loop()
        self._write_size = WriteSizeTrial(quirks.write_bytes, history.learn, clock=loop.time)
        self._claimer: Claimer | None = None
        self._again = asyncio.Event()
        self._retrying: asyncio.Task[None] | None = None
        self._waits = False  # for the first client
        self._grace_s, self._documents_s = config.grace_s, DOCUMENTS_S

    async def run(self, device: UsbDevice) -> None:
        """Serve `device`, which is open; it is closed at the end.

        Always ends in an exception: what went wrong, DeviceGone, or a cancellation.
        """
        self._printer.site.label = label = escaped(self._printer.label, LABEL_CHARS)
        set_context(label)
        self._printer.evidence.new_session()
        stack = AsyncExitStack()
        stack.push_async_callback(device.close)
        try:
            await self._delay_start()
            pool = await self._take(device, stack)
            await self._serve(device, pool)

        except (UsbError, PrinterError):  # the printer's; other failures leave it usable
            self._grace_s, self._documents_s = min(self._grace_s, FAILED_GRACE_S), 0.0
            raise
        finally:
            # The printer may be unplugged during this teardown after a failure.
            await run_to_end(stack.aclose())

    def retry(self) -> None:
        """Try what does not work again now; an administrator asked for it."""
        self._again.set()
        pool, claimer = self._printer.pool, self._claimer
        if pool is not None and claimer is not None and claimer.lost and pool.idle:
            pool.abandon(StartsAfresh())

    # --- taking

    async def _delay_start(self) -> None:
        """A pause after the plug that a quirk asks for."""
        delay_s = self._quirks.start_delay_s
        if delay_s and not self._history.failures:
            self._printer.reason = kinds.Kind.WARMING_UP.of(
                f"a quirk gives it {delay_s:g} s to start"
            )
            await asyncio.sleep(delay_s)

    async def _take(self, device: UsbDevice, stack: AsyncExitStack) -> InterfacePool:
        """Set up what serving needs, on the stack in the order of the shutdown."""
        config, printer, quirks = self._config, self._printer, self._quirks
        claimer = self._claimer = self._new_claimer(device)
        self._waits = (quirks.passive or config.passive) and not self._history.in_recovery
        channels = [] if self._waits else await claimer.claim_all()
        if self._history.in_recovery:
            channels = await claimer.checked(channels, self._check)
        ladder = self._ladder(device)
        printer.pool = self._query.pool = pool = InterfacePool(
            channels,
            claims=claimer,
            released=claimer.numbers if self._waits else list(claimer.held),
            idle_release_s=config.idle_release_s if quirks.idle_release else 0.0,
            may_release=lambda: not printer.is_printing(),
            drain_s=config.drain_s,
            pause_s=quirks.request_pause_s,
            recover=ladder.recover,
            on_broken=self._broken,
            excused=lambda work: printer.detector is not None and printer.detector.excuses(work),
        )
        pool.held(claimer.held)
        pool.explain = printer.waits_for
        printer.detector = self._stall_detector(device, pool)
        stack.push_async_callback(self._stop_retrying)
        stack.push_async_callback(pool.close)
        stack.push_async_callback(self._finish, pool)
        self._connect(pool)
        stack.callback(printer.site.disconnect, kinds.Kind.UNPLUGGED.of())
        printer.to(Event.OPENED, kinds.Kind.PROBING.of())
        self._on_change()
        stack.push_async_callback(self._announcer.withdraw)
        return pool

    def _new_claimer(self, device: UsbDevice) -> Claimer:
        printer, quirks = self._printer, self._quirks
        if printer.at_work():  # a document of an earlier session may still be printed
            quirks = replace(quirks, soft_reset_at_start=False)
        return Claimer(
            device,
            quirks,
            self._history,
            printer.label,
            printer.transfers,
            printer.evidence.touched,
        )

    async def _check(self, channel: Channel) -> None:
        await self._query.check(channel, self._config.check_s)

    def _connect(self, pool: InterfacePool) -> None:
        quirks = self._quirks
        self._printer.site.connect(
            Wiring(
                pool,
                connection=quirks.connection,
                host=quirks.host_header,
                headers=quirks.headers,
                cut_response_s=quirks.cut_response_s,
                rewriter=self._rewriter,
                pending_cancels=self._printer.pending_cancels,
                overhear=self._printer.overhear,
            )
        )

    def _rewriter(
        self, content_type: str, url: str, password: bool, operation: int | None
    ) -> links.Rewriter | None:
        return links.rewriter(
            content_type,
            url,
            self._hosts,
            repair=self._quirks.sanitize_ipp,
            password=password,
            good_data=operation == Operation.GET_PRINTER_ATTRIBUTES,
        )

    def _overhear(self, target: str, body: bytes) -> None:
        """An answer to a question of ours."""
        self._hosts.learn(body)
        self._printer.overhear(target, body)

    def _adopt(self, setting: str, value: object) -> None:
        """A quirk changes in the middle of the session."""
        self._quirks = replace(self._quirks, **{setting: value})  # type: ignore[arg-type]
        self._query.connection = self._quirks.connection
        if self._claimer is not None:
            self._claimer.adopt(self._quirks)
        if self._printer.pool is not None:
            self._connect(self._printer.pool)

    # --- serving

    async def _serve(self, device: UsbDevice, pool: InterfacePool) -> None:
        """Announce, and watch the printer until the session ends."""
        detector, config = self._printer.detector, self._config
        assert detector is not None
        tasks = [
            asyncio.create_task(self._announce(device, pool), name="announce"),
            asyncio.create_task(detector.run(config.busy_check_s / LOOKS), name="stalls"),
            asyncio.create_task(self._deliver_cancels(), name="pending cancels"),
            asyncio.create_task(self._poll_status(pool), name="status poll"),
        ]
        try:
            raise await self._until_gone(pool, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # one is raised above

    async def _announce(self, device: UsbDevice, pool: InterfacePool) -> None:
        if self._waits:
            self._printer.reason = kinds.Kind.PASSIVE.of()
            await pool.asked()
        await self._announcer.run(device.interfaces[0].capabilities)

    async def _deliver_cancels(self) -> None:
        async def ask(target: str, message: bytes) -> bytes:
            return await self._query.ipp_bytes(target, message, answer_s=self._config.check_s)

        async def delete(path: str) -> int:
            request = Request("DELETE", path, ())  # answered when the scanner has stopped
            return (await self._query.ask(request, answer_s=self._config.drain_s))[0].status

        await self._printer.pending_cancels.deliver(ask, delete)

    async def _poll_status(self, pool: InterfacePool) -> None:
        """Until the printer is gone, or has no status to report."""
        await self._announcer.answered.wait()
        if self._config.supplies_s and self._quirks.print:
            printer, every_s = self._printer, self._config.supplies_s
            await poll_status(
                printer.status_poll,
                pool,
                self._query,
                printer.site.port,
                every_s=every_s,
                is_printing=printer.is_printing,
            )

    async def _until_gone(
        self, pool: InterfacePool, tasks: list[asyncio.Task[None]]
    ) -> IppUsbError:
        """Why this session is over; raises what any of `tasks` raised."""
        gone = asyncio.create_task(pool.gone(), name="pool-gone")
        try:
            at_work = set(tasks)
            while not gone.done():
                await asyncio.wait([gone, *at_work], return_when=asyncio.FIRST_COMPLETED)
                for one in [one for one in at_work if one.done() and not gone.done()]:
                    at_work.remove(one)
                    one.result()
            return await gone
        finally:
            gone.cancel()

    # --- recovery

    def _stall_detector(self, device: UsbDevice, pool: InterfacePool) -> StallDetector:
        config = self._config

        async def ask() -> None:
            await self._query.state(answer_s=config.check_s)

        return StallDetector(
            pool,
            self._printer.evidence,
            ask,
            device.port_status,
            patience=Patience(config.busy_check_s, config.idle_stall_s, config.stall_s),
            on_stalled_upload=self._upload_stalled,
        )

    def _ladder(self, device: UsbDevice) -> Ladder:
        return Ladder(
            device,
            self._history,
            self._query,
            answer_s=self._config.check_s,
            how=self._quirks.soft_reset,
            device_may=self._device_may,
            at_work=self._printer.at_work,
            touched=self._printer.evidence.touched,
        )

    def _upload_stalled(self) -> None:
        """Smaller transfers are used as soon as an interface is claimed again."""
        if self._write_size.stalled(self._printer.evidence.excused_at):
            self._adopt("write_bytes", self._write_size.write_bytes)
            if self._printer.pool is not None:
                self._printer.pool.renew()

    def _device_may(self) -> bool:
        """A rung of the whole device could be taken now without ending any client's work."""
        pool = self._printer.pool
        if pool is None or self._history.exhausted or self._printer.at_work():
            return False
        now = pool.status()
        return not now.in_use and not now.waiting and now.draining <= 1

    def _broken(self, _: Channel, failure: IppUsbError) -> None:
        pool = self._printer.pool
        if pool is None or pool.is_gone:
            return
        if _all_broken(pool) and not self._printer.at_work():
            pool.abandon(NoInterface(f"no interface works any more: {failure}", kind=failure.kind))
        elif self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(
                keep_running("recover broken interfaces", lambda: self._retry_broken(pool))
            )

    async def _retry_broken(self, pool: InterfacePool) -> None:
        """Try broken interfaces again, with growing pauses, until all work.

        When that does not help and no work would be lost, the whole device is recovered.
        """
        pauses = Backoff(self._config.retry_min_s, self._config.retry_max_s)
        while pool.status().broken:
            await self._pause(pauses.next())
            await pool.retry_broken()
            may = _all_broken(pool) or (pool.idle and not self._history.exhausted)
            if pool.status().broken and may and not self._printer.at_work():
                pool.abandon(NoInterface("an interface stays unresponsive", kind=kinds.Kind.SILENT))

    async def _pause(self, pause_s: float) -> None:
        """Wait, at most until an administrator's `retry`."""
        self._again.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s if pause_s < math.inf else None):
                await self._again.wait()

    # --- ending

    async def _stop_retrying(self) -> None:
        if self._retrying is not None:
            self._retrying.cancel()
            await asyncio.wait([self._retrying])

    async def _finish(self, pool: InterfacePool) -> None:
        """Let exchanges in flight finish; at once when the device is gone.

        A document whose bytes move has longer, and so has one that the printer has taken whole:
        many answer when it is printed, and a client that is told nothing sends it again. The
        package may be upgraded in the middle of it.
        """
        began_at = now()
        goes_on = True
        while goes_on and not pool.is_gone and not pool.idle:
            before = _documents(pool)
            await pool.join(max(self._grace_s, LOOK_S))
            in_time = now() < began_at + self._documents_s
            goes_on = in_time and (
                _is_taken(pool) or bool(_documents(pool).items() - before.items())
            )
        if not pool.is_gone and not pool.idle:
            log.warning("exchanges cut off: not finished after %.0f s", now() - began_at)
        self._printer.pool = self._printer.detector = self._query.pool = None


def _all_broken(pool: InterfacePool) -> bool:
    return pool.status().broken == pool.status().total


def _documents(pool: InterfacePool) -> dict[int, int]:
    """How far documents, and other uploads, are, by interface."""
    works = [(slot.number, slot.work) for slot in pool.slots]
    return {n: work.progress for n, work in works if work and work.purpose in UPLOADS}


def _is_taken(pool: InterfacePool) -> bool:
    """The printer has a whole document, and answers later."""
    works = [slot.work for slot in pool.slots if slot.work is not None]
    return any(work.purpose is Purpose.DOCUMENT and work.taken for work in works)
