"""Faults that the daemon once had, put back by one line each: the simulation finds every one.

The weather of each office is what the fault needs, and comes often; without the fault no law is
broken there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from simulation.office import CONFIG
from simulation.queues import Manners
from simulation.run import Plan, simulate

from ippusbd.daemon.printer import announcer, probe
from ippusbd.daemon.printer.announcer import Announcer
from ippusbd.daemon.printer.printer import Printer
from ippusbd.daemon.recovery.evidence import Evidence, EvidenceLog
from ippusbd.errors import IppUsbError, NotAsked, PrinterError, PrinterSilent
from ippusbd.proxy import aiohttp_server
from ippusbd.usbio.pool import InterfacePool
from ippusbd.usbio.pool_types import PoolSlot

PATIENT = Manners(dies_in_the_middle=0.0, dies_at_the_end=0.0, cancels=0.0)
FIRST_COME = Plan(
    2,
    9.0,
    interfaces=1,
    deeds=("late_scanner",),
    per_week=400.0,
    manners=replace(PATIENT, is_slow=0.5, does_not_look=0.9),
    config=replace(CONFIG, passive=True),
)
OUT_OF_PAPER = Plan(1, 7.0, interfaces=2, deeds=("no_paper",), per_week=400.0, manners=PATIENT)
IN_A_HURRY = Plan(
    1,
    4.0,
    deeds=("no_paper", "moody"),
    per_week=200.0,
    manners=replace(PATIENT, dies_at_the_end=0.5),
)
CROWDED = Plan(
    2,
    9.0,
    interfaces=2,
    deeds=("other_program",),
    per_week=1000.0,
    manners=replace(PATIENT, is_slow=0.6),
)
SILENT_PAGES = Plan(
    1,
    12.0,
    interfaces=1,
    deeds=("silent_pages",),
    per_week=400.0,
    manners=replace(PATIENT, dies_at_the_end=0.5),  # and asks nothing while it is printed
)


HALF_READY = Plan(
    1,
    6.0,
    without=("drivers", "at rest", "shuttled", "resets"),  # further consequences
    interfaces=2,
    deeds=("late_scanner",),
    per_week=400.0,
    manners=replace(PATIENT, is_slow=1.0),
)
ONE_UNRESPONSIVE = Plan(
    1,
    24.0,
    interfaces=2,
    deeds=("unresponsive",),
    per_week=80.0,
    manners=replace(PATIENT, is_slow=0.5),
)


def a_question_that_could_not_be_asked_ends_the_session(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Announcer, "_probe_when_possible", Announcer._probe)


def reasons_to_wait_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    look: Callable[..., Evidence] = EvidenceLog.look
    blind = {"report": None, "port": None, "excused_at": -math.inf}
    patch.setattr(EvidenceLog, "look", lambda *a, **k: replace(look(*a, **k), **blind))


def a_whole_document_counts_as_cut_when_its_client_leaves(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(aiohttp_server._PlainRequest, "_cancel", aiohttp_server.web.BaseRequest._cancel)


def one_failed_claim_ends_all_exchanges(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(InterfacePool, "_claim_failed", lambda self, slot, failure: self.abandon(failure))


def a_question_whose_transfer_fails_ends_the_session(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(announcer, "IppUsbError", PrinterSilent)
    patch.setattr(probe, "IppUsbError", (PrinterError, NotAsked))


def one_broken_interface_ends_all_exchanges(patch: pytest.MonkeyPatch) -> None:
    recovered = InterfacePool._revive

    async def revive(self: InterfacePool, slot: PoolSlot, reason: IppUsbError) -> None:
        self.abandon(reason)
        await recovered(self, slot, reason)

    patch.setattr(InterfacePool, "_revive", revive)


def a_printer_that_prints_counts_as_idle(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Printer, "at_work", lambda self: "")


@pytest.mark.parametrize(
    ("put_back", "office", "law"),
    [
        (a_question_that_could_not_be_asked_ends_the_session, FIRST_COME, "ended"),
        (reasons_to_wait_are_not_looked_at, OUT_OF_PAPER, "ended"),
        (a_whole_document_counts_as_cut_when_its_client_leaves, IN_A_HURRY, "cancelled"),
        (one_failed_claim_ends_all_exchanges, CROWDED, "ended"),
        (a_question_whose_transfer_fails_ends_the_session, HALF_READY, "ended"),
        (one_broken_interface_ends_all_exchanges, ONE_UNRESPONSIVE, "ended"),
        (a_printer_that_prints_counts_as_idle, SILENT_PAGES, "undisturbed"),
    ],
)
def test_a_fault_that_is_put_back_breaks_a_law(
    put_back: Callable[[pytest.MonkeyPatch], None],
    office: Plan,
    law: str,
    monkeypatch: pytest.MonkeyPatch,
):
    # A consequence, found sooner than its cause.
    office = replace(office, without=("announced", *office.without))
    assert simulate(office).fault == ""
    put_back(monkeypatch)
    assert simulate(office).fault.startswith(f"LawBroken: {law}: ")
