"""One printer's life: open, claim, serve, announce, and let go in reverse order.

A `Life` is one attempt to serve a printer from plug (or retry) to unplug (or
failure); everything it takes stands on one exit stack, whose order is the
shutdown's order: unpublish, refuse, finish, drain, release.

Knows the layers below; how lives follow each other is the supervisor's.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import islice

from ippusbd.aio import run_to_end
from ippusbd.daemon.printer.claiming import Claimer
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.printer.probe import (
    PRINT_PATH,
    Asker,
    Probed,
    Questions,
    gather,
    whole_attributes,
)
from ippusbd.daemon.printer.rewriting import sanitized
from ippusbd.daemon.printer.states import Event
from ippusbd.daemon.printer.status_poll import ask_condition, poll_status
from ippusbd.daemon.recovery.backoff import Backoff
from ippusbd.daemon.recovery.history import RecoveryHistory
from ippusbd.daemon.recovery.interface_check import others_answer
from ippusbd.daemon.recovery.ladder import Deadlines, Examiner, Ladder
from ippusbd.daemon.recovery.learning import WriteSizeTrial
from ippusbd.daemon.recovery.stall_detector import StallDetector, detect_stalls, needs_attention
from ippusbd.errors import (
    HalfAnswered,
    IppUsbError,
    NoInterface,
    PrinterError,
    PrinterSilent,
    ProbeFailed,
    StartsAfresh,
    UsbError,
)
from ippusbd.exchange.exchange import Traffic
from ippusbd.log import about, escaped
from ippusbd.proxy.server import Wiring
from ippusbd.quirks.model import Effective
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.protocols import UsbDevice
from ippusbd.wire import links, txt

log = logging.getLogger("ippusbd.daemon")

LABEL_CHARS = 80  # of a printer's name in log lines
FIRST_PROBE_S = 6.0
FAILED_GRACE_S = 1.0  # for exchanges in flight when the printer turned out not to be usable
NAMES_KEPT = 32  # "NAME", "NAME (USB)" ... "NAME (USB 31)": one of these was chosen in a collision


class PrinterSession:
    """Serves one plugged-in printer until it is gone or has failed."""

    def __init__(
        self,
        services: Services,
        printer: Printer,
        quirks: Effective,
        history: RecoveryHistory,
        *,
        on_ready: Callable[[], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._services = services
        self._config = services.config
        self._printer = printer
        self._quirks = quirks
        self._history = history
        self._examiner = Examiner(
            host=quirks.host_header or f"localhost:{printer.site.port}",
            connection=quirks.connection,
            traffic=printer.site.traffic,
            answer_s=services.config.check_s,
        )
        self._on_ready = on_ready or (lambda: None)
        self._on_change = on_change or (lambda: None)
        self._write_size = WriteSizeTrial(quirks.write_bytes, history.learn)
        self._claimer: Claimer | None = None
        self._again = asyncio.Event()
        self._mending: asyncio.Task[None] | None = None
        self._waits = False  # for the first client
        self._grace_s = services.config.grace_s

    async def run(self, device: UsbDevice) -> None:
        """Serve `device`, which is open; it is closed at the end.

        Always ends in an exception: what went wrong, DeviceGone, or a cancellation.
        """
        self._printer.site.label = label = escaped(self._printer.label, LABEL_CHARS)
        about(label)
        stack = AsyncExitStack()
        stack.push_async_callback(device.close)
        try:
            await self._let_it_start()
            pool = await self._take(device, stack)
            await self._serve(device, pool)
        except (UsbError, PrinterError):  # of the printer's; others leave it as able as it was
            self._grace_s = min(self._grace_s, FAILED_GRACE_S)
            raise
        finally:
            # A plug may be pulled while all this is being let go after a failure.
            await run_to_end(stack.aclose())

    async def _let_it_start(self) -> None:
        """A pause after the plug that a quirk asks for."""
        delay_s = self._quirks.start_delay_s
        if delay_s and not self._history.failures:
            self._printer.reason = f"a quirk gives it {delay_s:g} s to start"
            await asyncio.sleep(delay_s)

    async def _take(self, device: UsbDevice, stack: AsyncExitStack) -> InterfacePool:
        """All that serving needs, on the stack in the order of the shutdown."""
        printer = self._printer
        claimer = self._claimer = Claimer(device, self._quirks, self._history, printer.label)
        passive = self._quirks.passive or self._config.passive
        self._waits = passive and not self._history.under_treatment
        channels = [] if self._waits else await claimer.claim_all()
        if self._history.under_treatment:
            channels = await claimer.examined(channels, self._examiner.examine)
        printer.pool = pool = InterfacePool(
            channels,
            claims=claimer,
            released=claimer.numbers if self._waits else list(claimer.held),
            idle_release_s=self._config.idle_release_s if self._quirks.idle_release else 0.0,
            drain_s=self._config.drain_s,
            pause_s=self._quirks.request_pause_s,
            recover=lambda channel, reason: ladder.recover(channel, reason),
            on_broken=lambda channel, failure: self._broken(pool, failure),
        )
        pool.trouble = "; ".join(claimer.held.values())
        ladder = self._ladder(device, pool)
        stack.push_async_callback(self._stop_mending)
        stack.push_async_callback(pool.close)
        stack.push_async_callback(self._finish, pool)
        self._connect(pool)
        stack.callback(printer.site.disconnect, "it is not plugged in")
        printer.to(Event.OPENED)
        self._on_change()
        stack.push_async_callback(self._withdraw)
        return pool

    async def _serve(self, device: UsbDevice, pool: InterfacePool) -> None:
        """Announce, and watch over the printer until its end."""
        detector = self._stall_detector(device, pool)
        detecting = asyncio.create_task(detect_stalls(detector, self._config.busy_check_s / 4))
        announcing = asyncio.create_task(self._announce(device, pool), name="announce")
        ask = partial(self._asker(pool).ipp_bytes, answer_s=self._config.check_s)
        delivering = asyncio.create_task(
            self._printer.pending_cancels.deliver(ask), name="cancel cut jobs"
        )
        tasks = [announcing, detecting, delivering]
        try:
            raise await self._until_gone(pool, announcing, detecting)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # looked at: one is told above

    # --- recovery

    def _ladder(self, device: UsbDevice, pool: InterfacePool) -> Ladder:
        return Ladder(
            device,
            self._history,
            self._examiner.examine,
            soft_reset=self._quirks.soft_reset,
            deadlines=Deadlines(),
            device_may=self._device_may,
            others_answer=lambda: others_answer(pool, self._asker(pool), self._config.check_s),
        )

    def _choked(self) -> None:
        """Smaller transfers are used as soon as an interface is claimed again."""
        if self._write_size.stood_still():
            self._quirks = replace(self._quirks, write_bytes=self._write_size.write_bytes)
            if self._claimer is not None:
                self._claimer.gentler(self._quirks)

    def _device_may(self) -> bool:
        """A rung of the whole device could be taken now without cutting anybody's exchange."""
        pool = self._printer.pool
        if pool is None or self._history.exhausted:
            return False
        now = pool.status()
        return not now.in_use and not now.waiting and now.draining <= 1

    def _connect(self, pool: InterfacePool) -> None:
        quirks, site = self._quirks, self._printer.site
        site.connect(
            Wiring(
                pool,
                connection=quirks.connection,
                host=quirks.host_header,
                cut_response_s=quirks.cut_response_s,
                rewrite=sanitized if quirks.sanitize_ipp else links.rewritten,
                pending_cancels=self._printer.pending_cancels,
            )
        )

    # --- broken interfaces

    def _broken(self, pool: InterfacePool, failure: IppUsbError) -> None:
        if not pool.is_gone and (self._mending is None or self._mending.done()):
            self._mending = asyncio.create_task(self._mend(pool), name="mend")

    async def _mend(self, pool: InterfacePool) -> None:
        """Try broken interfaces again, with growing pauses, until all work.

        When that does not help and nobody uses the others, the device is treated as a whole.
        """
        pauses = Backoff(self._config.retry_min_s, self._config.retry_max_s)
        while pool.status().broken:
            await self._pause(pauses.next())
            await pool.mend()
            if pool.status().broken and pool.idle and not self._history.exhausted:
                pool.abandon(NoInterface("an interface stays deaf"))

    def retry(self) -> None:
        """An administrator's word: what does not work is tried again now."""
        self._again.set()
        pool, claimer = self._printer.pool, self._claimer
        if pool is not None and claimer is not None and claimer.lost and pool.idle:
            pool.abandon(StartsAfresh("it is tried again with all its interfaces"))

    async def _pause(self, pause_s: float) -> None:
        """Wait, unless somebody says `retry`."""
        self._again.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s if pause_s < math.inf else None):
                await self._again.wait()

    async def _stop_mending(self) -> None:
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait([self._mending])

    # --- announcing

    async def _announce(self, device: UsbDevice, pool: InterfacePool) -> None:
        """Probe and publish; again, with growing pauses, while a part does not answer yet."""
        if self._waits:
            self._printer.reason = "passive: nothing is asked before the first client does"
            await pool.asked()
        pause_s, asked_s = self._config.retry_min_s, 0.0
        while True:
            probed = await self._probe_or_deaf(device, pool)
            await self._find_out(probed, pool)
            self._printer.answers = True
            self._on_change()
            await self._publish(probed)
            if not probed.missing:
                self._printer.to(Event.FACTS)
                self._on_ready()
                await self._keep_informed(pool)
                return
            self._printer.to(Event.SOME_FACTS, "; ".join(probed.missing))
            self._on_ready()
            if probed.halved and asked_s > self._config.warm_up_s:
                log.warning("%s: it is not asked for that again", self._printer.label)
                pause_s = math.inf
            await self._pause(pause_s)
            asked_s += pause_s
            pause_s = min(2 * pause_s, self._config.retry_max_s)

    async def _find_out(self, probed: Probed, pool: InterfacePool) -> None:
        """Learn from the answers; raises HalfAnswered when another setting may bring them whole."""
        history = self._history
        if probed.halved is None:
            await self._judge_trial(pool)
        elif not self._printer.name and history.connection_trial.may_go_on(self._quirks):
            raise probed.halved
        for setting, value in probed.found_out:
            if getattr(self._quirks, setting) != value:
                log.info("%s: learned: %s = %s", self._printer.label, setting, value)
                history.learn(setting, value)
                self._quirks = replace(self._quirks, **{setting: value})  # type: ignore[arg-type]
                self._connect(pool)

    async def _judge_trial(self, pool: InterfacePool) -> None:
        """It may have woken up in the middle of the trial: does it answer without, too?"""
        connection_trial, printer = self._history.connection_trial, self._printer
        if connection_trial.current and printer.facts is not None:
            tried, usual = self._quirks, self._services.quirks.effective(printer.facts)
            self._quirks = replace(tried, connection=usual.connection)
            uri = f"ipp://localhost:{printer.site.port}{PRINT_PATH}"
            try:
                await whole_attributes(self._asker(pool), uri, answer_s=self._config.check_s)
                connection_trial.stop()
                self._connect(pool)
            except HalfAnswered as exc:
                log.info("%s: not without it: %s", printer.label, exc)
                self._quirks = tried
        connection_trial.worked()

    async def _probe_or_deaf(self, device: UsbDevice, pool: InterfacePool) -> Probed:
        """As `_probe`; a printer that says nothing at all is deaf, one that refuses warms up."""
        traffic = self._printer.site.traffic
        heard = traffic.bytes_in
        try:
            return await self._probe(device, pool)
        except ProbeFailed as exc:
            if traffic.bytes_in == heard:
                raise PrinterSilent(str(exc)) from exc
            raise

    def _stall_detector(self, device: UsbDevice, pool: InterfacePool) -> StallDetector:
        config, asker = self._config, self._asker(pool)
        return StallDetector(
            pool,
            lambda: asker.state(answer_s=config.check_s),
            lambda: needs_attention(device),
            known=lambda: self._printer.status_poll.condition,
            busy_check_s=config.busy_check_s,
            single_wait_s=config.single_wait_s,
            on_choked=self._choked,
        )

    async def _keep_informed(self, pool: InterfacePool) -> None:
        """Until the printer is gone, or cannot tell how it is."""
        asker, every_s = self._asker(pool, Traffic()), self._config.supplies_s
        port, status_poll = self._printer.site.port, self._printer.status_poll
        if every_s and self._quirks.print:
            ask = partial(ask_condition, asker, port)
            await poll_status(status_poll, pool, ask, every_s=every_s)

    def _asker(self, pool: InterfacePool, traffic: Traffic | None = None) -> Asker:
        quirks, site = self._quirks, self._printer.site
        return Asker(
            pool,
            host=quirks.host_header or f"localhost:{site.port}",
            connection=quirks.connection,
            traffic=traffic or site.traffic,
            pause_s=quirks.cut_response_s or self._config.check_s,
        )

    async def _probe(self, device: UsbDevice, pool: InterfacePool) -> Probed:
        config, quirks, site = self._config, self._quirks, self._printer.site
        questions = Questions(
            prints=quirks.print,
            scans=quirks.scan,
            faxes=quirks.fax,
            answer_s=quirks.start_timeout_s or self._patience_s(),
            fax_answer_s=config.fax_probe_s,
            ignore_ipp_status=quirks.ignore_ipp_status,
            parts_come_late=quirks.retry_partial_start,
        ).limited_to(device.interfaces[0].capabilities)
        facts = self._printer.facts or device.facts
        return await gather(self._asker(pool), facts, questions, port=site.port)

    def _patience_s(self) -> float:
        """Short at first: another driver may be waiting for a printer that will not answer."""
        if self._history.connection_trial.under_way:
            return self._config.check_s
        return min(self._config.probe_s, FIRST_PROBE_S * (1 << min(self._history.failures, 8)))

    async def _publish(self, probed: Probed) -> None:
        printer = self._printer
        services = txt.services(probed.result, port=printer.site.port)
        if printer.name in islice(txt.names(services.name), NAMES_KEPT):  # else it was renamed
            services = services.renamed(printer.name)
        await self._withdraw()
        printer.publication = await self._services.publisher.publish(services)
        printer.name = printer.publication.name

    # --- ending

    async def _until_gone(self, pool: InterfacePool, *helpers: asyncio.Task[None]) -> IppUsbError:
        """Why this life is over; raises what any of `helpers` raised."""
        gone = asyncio.create_task(pool.gone(), name="pool-gone")
        try:
            at_work = set(helpers)
            while not gone.done():
                await asyncio.wait([gone, *at_work], return_when=asyncio.FIRST_COMPLETED)
                for one in [one for one in at_work if one.done() and not gone.done()]:
                    at_work.remove(one)
                    one.result()
            return await gone
        finally:
            gone.cancel()

    async def _withdraw(self) -> None:
        publication, self._printer.publication = self._printer.publication, None
        if publication is not None:
            await publication.withdraw()

    async def _finish(self, pool: InterfacePool) -> None:
        """Let exchanges in flight finish; at once when the device is gone."""
        if not pool.is_gone:
            await pool.join(self._grace_s)
        self._printer.pool = None
