"""Probes a printer, learns from its answers, and announces it.

Runs beside the session that serves the printer: requests are served before anything is
announced. A failed probe is repeated with growing pauses; known facts are kept. A function that
the printer declares and refuses delays nothing: the printer is ready for what works, and is asked
for the rest from time to time. A printer that does not answer at all, or whose transfers fail,
ends the session, unless work would be lost by that: a question that could not be asked, or that
failed while the printer works, proves nothing.

Knows queries, TXT records and the publisher; interfaces are the session's.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from ippusbd.aio import cancel_and_wait
from ippusbd.daemon.printer.missing import MissingFunction
from ippusbd.daemon.printer.printer import Printer, Services
from ippusbd.daemon.printer.probe import Probed, Questions, gather, whole_attributes
from ippusbd.daemon.printer.states import Event
from ippusbd.daemon.recovery.backoff import Backoff
from ippusbd.daemon.recovery.history import RecoveryHistory
from ippusbd.errors import DeviceGone, IppUsbError, NotAsked, Unanswered
from ippusbd.exchange.query import PRINT_PATH, Query
from ippusbd.kinds import Kind
from ippusbd.model import Capability, ProbeResult
from ippusbd.quirks.model import Effective
from ippusbd.wire import txt

log = logging.getLogger("ippusbd.daemon")

FIRST_PROBE_S = 6.0


class Announcer:
    """Probes and publishes one printer in one session.

    `quirks` are those in effect, `adopt` changes one of them for the session; `at_work`: why a
    silent printer must not be given up now; `pause` waits, at most until an administrator retries.
    """

    def __init__(
        self,
        services: Services,
        printer: Printer,
        history: RecoveryHistory,
        query: Query,
        *,
        quirks: Callable[[], Effective],
        adopt: Callable[[str, object], None],
        at_work: Callable[[], str],
        pause: Callable[[float], Coroutine[Any, Any, None]],
        on_ready: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._services = services
        self._config = services.config
        self._printer = printer
        self._history = history
        self._query = query
        self._quirks = quirks
        self._adopt = adopt
        self._at_work = at_work
        self._pause = pause
        self._on_ready = on_ready
        self._on_change = on_change
        self._known: ProbeResult | None = None
        self.answered = asyncio.Event()  # the printer was probed

    async def run(self, capabilities: Capability | None) -> None:
        """Announce what it can do, as it is found out. Raises what ends the session.

        After the warm-up a part that is not ready is asked so seldom that other drivers have the
        interfaces in between.
        """
        config = self._config
        seldom_s = max(config.retry_max_s, config.warm_up_s)
        pause_s, asked_s = config.retry_min_s, 0.0
        while True:
            probed = await self._probe_when_possible(capabilities)
            await self._use(probed)
            self.answered.set()
            if probed.missing is None:
                break
            self._printer.to(Event.SOME_FACTS, probed.missing)
            self._note_missing(tuple(one for one in probed.lost if not one.later))
            self._on_ready()
            if probed.unanswered and asked_s > config.warm_up_s:
                log.warning("%s: giving up probing for the missing part", self._printer.label)
                pause_s = math.inf
            await self._pause(pause_s)
            asked_s += pause_s
            warm = asked_s > config.warm_up_s
            pause_s = min(2 * pause_s, seldom_s if warm else config.retry_max_s)
        self._printer.to(Event.FACTS)
        self._note_missing(probed.lost)
        self._on_ready()
        await self._ask_for_missing(capabilities)

    async def _ask_for_missing(self, capabilities: Capability | None) -> None:
        """Ask a printer that is ready for functions that it claims to have, until all are found.

        After the warm-up it is asked only when somebody uses it: it may sleep, or belong to
        another driver. A question that it does not answer at all blocks an interface each time,
        and is asked again only when there is no other, by `retry`.
        """
        pauses, asked_s = Backoff(self._config.retry_min_s, self._config.retry_max_s), 0.0
        while missing := self._printer.missing:
            silent = tuple(one for one in missing if one.silent)
            if len(silent) == len(missing):
                await self._pause(math.inf)
                silent = ()
            else:
                pause_s = pauses.next()
                await self._pause(pause_s)
                asked_s += pause_s
                if asked_s > self._config.warm_up_s:
                    await self._until_used()
            try:
                probed = await self._probe(capabilities, {one.function for one in silent})
            except DeviceGone:
                raise
            except IppUsbError as exc:
                log.info("%s: asked again later: %s", self._printer.label, exc)
                continue
            await self._use(probed)
            self._note_missing(silent + probed.lost)
            self._on_change()

    def _note_missing(self, missing: tuple[MissingFunction, ...]) -> None:
        for one in missing:
            if one not in self._printer.missing:
                what = (self._printer.label, one.claimed_by, one.function, one.reason)
                log.warning("%s: %s says that it can %s, but: %s", *what)
        self._printer.missing = missing

    async def _until_used(self) -> None:
        """Until an interface is claimed for somebody, or an administrator says `retry`."""
        pool = self._query.pool
        assert pool is not None
        waits = [
            asyncio.create_task(pool.used(beyond=pool.uses), name="until used"),
            asyncio.create_task(self._pause(math.inf), name="until retried"),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                await cancel_and_wait(task)

    async def _use(self, probed: Probed) -> None:
        """Announce what is new in the answers."""
        self._printer.answers = True
        self._on_change()
        if probed.result != self._known:
            await self._publish(probed.result)
        self._known = probed.result

    async def withdraw(self) -> None:
        """End the announcement. Idempotent."""
        publication = self._printer.publication
        if publication is not None:
            await publication.withdraw()
            self._printer.publication = None  # not before: it may be cancelled, and done again

    # --- asking

    async def _probe_when_possible(self, capabilities: Capability | None) -> Probed:
        """One probe, as soon as it can be made; raises what ends the session."""
        pause_s = self._config.retry_min_s
        while True:
            try:
                return await self._probe(capabilities)
            except NotAsked as exc:
                self._printer.reason = Kind.BUSY.of(f"probed when an interface is free: {exc}")
            except IppUsbError as exc:
                work = self._printer.serves() if self._tries_on(exc) else self._at_work()
                if isinstance(exc, DeviceGone) or not work:
                    raise
                self._printer.reason = Kind.BUSY.of(f"{exc}; probed again, because {work}")
            self._on_change()
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, self._config.retry_max_s)

    async def _probe(
        self, capabilities: Capability | None, skipped: Collection[str] = ()
    ) -> Probed:
        """Ask, and learn from the answers."""
        config, quirks, printer = self._config, self._quirks(), self._printer
        assert printer.facts is not None
        questions = Questions(
            prints=quirks.print and "print" not in skipped,
            scans=quirks.scan and "scan" not in skipped,
            faxes=quirks.fax and "fax" not in skipped,
            capabilities=capabilities,
            answer_s=quirks.start_timeout_s or self._patience_s(),
            fax_answer_s=config.fax_probe_s,
            ignore_ipp_status=quirks.ignore_ipp_status,
            parts_come_late=quirks.retry_partial_start,
        )
        port = printer.site.port
        probed = await gather(self._query, printer.facts, questions, port=port, known=self._known)
        await self._learn(probed)
        return probed

    def _patience_s(self) -> float:
        """Short at first: another driver may wait for a printer that does not answer."""
        if self._history.connection_trial.under_way:
            return self._config.check_s
        return min(self._config.probe_s, FIRST_PROBE_S * (1 << min(self._history.failures, 8)))

    # --- learning

    async def _learn(self, probed: Probed) -> None:
        """Learn from the answers; raises Unanswered when another setting may bring them whole."""
        if probed.unanswered is None:
            await self._judge_trial()
        elif self._tries_on(probed.unanswered):
            raise probed.unanswered
        for setting, value in probed.learned:
            if getattr(self._quirks(), setting) != value:
                log.info("%s: learned: %s = %s", self._printer.label, setting, value)
                self._history.learn(setting, value)
                self._adopt(setting, value)

    def _tries_on(self, failure: IppUsbError) -> bool:
        """The next session tries another setting."""
        trial = self._history.connection_trial
        return trial.answers(failure, self._printer.name, self._quirks())

    async def _judge_trial(self) -> None:
        """It may have woken up meanwhile: does it answer without the setting, too?"""
        trial, printer = self._history.connection_trial, self._printer
        if trial.current and printer.facts is not None:
            tried = self._quirks().connection
            usual = self._services.quirks.effective(printer.facts).connection
            self._adopt("connection", usual)
            uri = f"ipp://localhost:{printer.site.port}{PRINT_PATH}"
            try:
                await whole_attributes(self._query, uri, answer_s=self._config.check_s)
                trial.stop()
            except IppUsbError as exc:
                self._adopt("connection", tried)
                if not isinstance(exc, Unanswered):  # could not be asked, say
                    raise
                log.info("%s: it needs that Connection header: %s", printer.label, exc)
        trial.worked()

    # --- announcing

    async def _publish(self, result: ProbeResult) -> None:
        printer, suffix = self._printer, self._config.dnssd_suffix
        services = txt.services(
            result, port=printer.site.port, suffix=suffix, host=self._config.listen_host
        )
        if txt.may_keep(printer.name, result, suffix, taken_over=printer.name_taken_over):
            services = services.renamed(printer.name)
        await self.withdraw()
        printer.publication = await self._services.publisher.publish(services)
        if printer.name != printer.publication.name:
            printer.name, printer.name_taken_over = printer.publication.name, False
