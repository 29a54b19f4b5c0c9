"""A cancellation that was lost is made up for, and hits nobody else's job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from support.http_client import ipp_request
from support.waiting import until

from ippusbd.errors import DeviceGone, PrinterSilent, ProbeFailed
from ippusbd.exchange.interrupted_job import InterruptedJob
from ippusbd.exchange.pending_cancels import TRIES, PendingCancels
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Tag

NAME = ipp.attribute("job-name", ipp.name("letter"))
Job = tuple[int, str, int | None]  # number, name, kilobytes


def cut_job(*attributes: ipp.Attribute, document: bytes = b"", code: int = Operation.PRINT_JOB):
    job = InterruptedJob("/ipp/print", ())
    job.sent(ipp_request(code, *attributes) + document)
    return job


def job_group(number: int, name: str, kilobytes: int | None) -> ipp.Group:
    size = () if kilobytes is None else (ipp.attribute("job-k-octets", ipp.integer(kilobytes)),)
    named = ipp.attribute("job-name", ipp.name(name))
    return ipp.Group(Tag.JOB, (ipp.attribute("job-id", ipp.integer(number)), named, *size))


class Printer:
    """Answers Get-Jobs with `jobs`; fails with `failures` first."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = jobs
        self.failures: list[Exception] = []
        self.cancelled: list[int | None] = []
        self.asked = 0

    async def ask(self, target: str, data: bytes) -> bytes:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        request, _ = ipp.decode(data)
        assert target == "/ipp/print"
        assert request.first_text(Tag.OPERATION, "requesting-user-name") == "tester"
        if request.code == Operation.CANCEL_JOB:
            self.cancelled.append(request.first_integer(Tag.OPERATION, "job-id"))
            return ipp.encode(ipp.Message(0, 1))
        assert request.code == Operation.GET_JOBS
        assert request.first_text(Tag.OPERATION, "which-jobs") == "not-completed"
        return ipp.encode(ipp.Message(0, 1, tuple(job_group(*job) for job in self.jobs)))


@asynccontextmanager
async def delivering(
    pending_cancels: PendingCancels, printer: Printer
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(pending_cancels.deliver(printer.ask))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def paid(printer: Printer, job: InterruptedJob, answer: bytes = b"") -> Printer:
    pending_cancels = PendingCancels(pause_s=0.0)
    async with delivering(pending_cancels, printer):
        pending_cancels.add(job, answer)
        await until_paid(pending_cancels)
    return printer


async def until_paid(pending_cancels: PendingCancels) -> None:
    await until(lambda: not pending_cancels)


async def test_a_job_whose_number_the_answer_told_is_cancelled():
    answer = ipp.encode(ipp.Message(0, 1, (job_group(7, "letter", 1),)))
    assert (await paid(Printer(), cut_job(NAME), answer)).cancelled == [7]


async def test_a_document_that_was_sent_to_a_job_needs_no_answer():
    job = cut_job(ipp.attribute("job-id", ipp.integer(5)), code=Operation.SEND_DOCUMENT)
    assert (await paid(Printer(), job)).cancelled == [5]


async def test_a_job_that_no_answer_named_is_found_by_user_name_and_size():
    others = ((3, "letter", 90), (4, "photo", 2), (5, "letter", 2))
    printer = await paid(Printer(*others), cut_job(NAME, document=bytes(1500)))
    assert printer.cancelled == [5]


@pytest.mark.parametrize(
    "jobs",
    [
        (),
        ((3, "letter", 90),),
        ((3, "letter", None),),
        ((3, "letter", 2), (4, "letter", 2)),
        ((3, "photo", 2),),
    ],
    ids=["over", "its second try", "size untold", "two alike", "another"],
)
async def test_a_job_that_cannot_be_told_from_others_is_left_alone(jobs: tuple[Job, ...]):
    assert (await paid(Printer(*jobs), cut_job(NAME, document=bytes(1500)))).cancelled == []


async def test_a_job_without_a_name_is_not_searched():
    printer = await paid(Printer((3, "", 2)), cut_job(document=bytes(1500)))
    assert printer.asked == 0


async def test_what_was_no_document_leaves_nothing_to_search():
    job = cut_job(NAME, code=Operation.VALIDATE_JOB)
    assert (await paid(Printer((1, "letter", 0)), job)).asked == 0


async def test_a_printer_that_does_not_answer_is_asked_again():
    printer = Printer((3, "letter", 2))
    printer.failures = [PrinterSilent("deaf"), ProbeFailed("503")]
    await paid(printer, cut_job(NAME, document=bytes(1500)))
    assert printer.cancelled == [3]


async def test_nobody_is_asked_for_ever():
    printer = Printer()
    printer.failures = [PrinterSilent("deaf")] * 1000
    await paid(printer, cut_job(NAME))
    assert printer.asked == TRIES


async def test_what_is_owed_outlives_the_plug():
    pending_cancels, away, back = PendingCancels(), Printer(), Printer((3, "letter", 2))
    away.failures = [DeviceGone("unplugged")]
    pending_cancels.add(cut_job(NAME, document=bytes(1500)), b"")
    async with delivering(pending_cancels, away) as ended, asyncio.timeout(10):
        with suppress(asyncio.CancelledError):
            await ended
    assert len(pending_cancels) == 1
    async with delivering(pending_cancels, back):
        await until_paid(pending_cancels)
    assert back.cancelled == [3]
