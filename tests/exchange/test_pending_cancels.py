"""A lost cancellation is delivered later, and hits no other job."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from support.http_client import ipp_request

from ippusbd.errors import DeviceGone, NotAsked, PrinterSilent, ProbeFailed
from ippusbd.exchange.interrupted_job import InterruptedJob
from ippusbd.exchange.pending_cancels import EXPIRES_S, KEPT, TRIES, PendingCancels
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Tag

NAME = ipp.attribute("job-name", ipp.name("letter"))
UP_S = 5000  # what the printer's clock says


@dataclass
class Job:
    """A job as Get-Jobs shows it; `age_s`: its age by the printer's clock."""

    number: int
    name: str
    kilobytes: int | None = None
    user: str = "tester"
    age_s: int | None = 10
    up_s: int = UP_S

    def group(self) -> ipp.Group:
        attributes = [
            ipp.attribute("job-id", ipp.integer(self.number)),
            ipp.attribute("job-name", ipp.name(self.name)),
            ipp.attribute("job-originating-user-name", ipp.name(self.user)),
        ]
        if self.kilobytes is not None:
            attributes.append(ipp.attribute("job-k-octets", ipp.integer(self.kilobytes)))
        if self.age_s is not None:
            attributes += [
                ipp.attribute("time-at-creation", ipp.integer(self.up_s - self.age_s)),
                ipp.attribute("job-printer-up-time", ipp.integer(self.up_s)),
            ]
        return ipp.Group(Tag.JOB, tuple(attributes))


def cut_job(*attributes: ipp.Attribute, document: bytes = b"", code: int = Operation.PRINT_JOB):
    job = InterruptedJob("/ipp/print", ())
    job.sent(ipp_request(code, *attributes) + document)
    return job


def answer_of(number: int) -> bytes:
    return ipp.encode(ipp.Message(0, 1, (Job(number, "letter").group(),)))


class Printer:
    """Answers Get-Jobs with `jobs`; fails with `failures` first."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = jobs
        self.failures: list[Exception] = []
        self.cancelled: list[int | None] = []
        self.refusals: list[int] = []  # IPP status codes of the next Cancel-Jobs
        self.asked = 0
        self.deleted: list[str] = []
        self.statuses: list[int] = []  # HTTP status codes of the next DELETEs; then 200

    async def ask(self, target: str, data: bytes) -> bytes:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        request, _ = ipp.decode(data)
        assert target == "/ipp/print"
        assert request.first_text(Tag.OPERATION, "requesting-user-name") == "tester"
        if request.code == Operation.CANCEL_JOB:
            if self.refusals:
                return ipp.encode(ipp.Message(self.refusals.pop(0), 1))
            self.cancelled.append(request.first_integer(Tag.OPERATION, "job-id"))
            return ipp.encode(ipp.Message(0, 1))
        assert request.code == Operation.GET_JOBS
        assert request.first_text(Tag.OPERATION, "which-jobs") == "not-completed"
        return ipp.encode(ipp.Message(0, 1, tuple(job.group() for job in self.jobs)))

    async def delete(self, path: str) -> int:
        if self.failures:
            raise self.failures.pop(0)
        self.deleted.append(path)
        return self.statuses.pop(0) if self.statuses else 200


@asynccontextmanager
async def delivering(
    pending_cancels: PendingCancels, printer: Printer
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(pending_cancels.deliver(printer.ask, printer.delete))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class Later:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100_000.0

    def __call__(self) -> float:
        return self.now


async def delivered(
    printer: Printer,
    job: InterruptedJob,
    answer: bytes = b"",
    *,
    later_session: bool = False,
    after_s: float = 0.0,
) -> Printer:
    """The cancellation of an upload that began 12 s ago and was cut 8 s ago, delivered."""
    clock = Later()
    pending = PendingCancels(pause_s=0.0, clock=clock)
    if later_session:
        pending.add(job, answer, began_s=12, cut_s=8)
    clock.now += after_s
    async with delivering(pending, printer):
        await asyncio.sleep(0)
        if not later_session:
            pending.add(job, answer, began_s=12, cut_s=8)
        await until_delivered(pending)
    return printer


async def until_delivered(pending_cancels: PendingCancels) -> None:
    async with asyncio.timeout(10):
        while pending_cancels:  # noqa: ASYNC110 -- nobody tells
            await asyncio.sleep(0)


LETTER = {"document": bytes(1500)}  # 2 KB


async def test_a_job_whose_job_id_was_answered_is_cancelled():
    printer = await delivered(Printer(), cut_job(NAME), answer_of(7))
    assert (printer.cancelled, printer.asked) == ([7], 1)


async def test_a_send_document_is_cancelled_without_an_answer():
    job = cut_job(ipp.attribute("job-id", ipp.integer(5)), code=Operation.SEND_DOCUMENT)
    assert (await delivered(Printer(), job)).cancelled == [5]


async def test_a_job_without_an_answer_is_found_by_user_name_size_and_time():
    others = (
        Job(3, "letter", 90),
        Job(4, "photo", 2),
        Job(5, "letter", 2),
        Job(6, "letter", 2, age_s=4),
    )
    printer = await delivered(Printer(*others), cut_job(NAME, **LETTER))
    assert printer.cancelled == [5]


@pytest.mark.parametrize(
    "jobs",
    [
        (),
        (Job(3, "letter", 90),),
        (Job(3, "letter", None),),
        (Job(3, "letter", 2), Job(4, "letter", 2)),
        (Job(3, "photo", 2),),
        (Job(3, "letter", 2, user="another"),),
        (Job(3, "letter", 2, age_s=3),),
        (Job(3, "letter", 2, age_s=600),),
        (Job(3, "letter", 2, age_s=None),),
        (Job(3, "letter", 2, age_s=5, up_s=6),),
    ],
    ids=[
        "over",
        "another size",
        "no size",
        "two alike",
        "another name",
        "another user",
        "its second try",
        "an older one",
        "no times",
        "power-up since",
    ],
)
async def test_a_job_that_cannot_be_identified_is_not_cancelled(jobs: tuple[Job, ...]):
    printer = await delivered(Printer(*jobs), cut_job(NAME, **LETTER))
    assert printer.cancelled == []


@pytest.mark.parametrize(
    ("job", "cancelled"),
    [
        (Job(7, "letter", 2), [7]),
        (Job(7, "letter", None), [7]),
        (Job(7, "letter", 2, age_s=5, up_s=6), []),
        (Job(7, "invoice", 2), []),
        (Job(7, "letter", 90), []),
        (Job(8, "letter", 2), []),
        (Job(7, "letter", 2, age_s=3), []),
    ],
    ids=["still there", "no size", "power-up since", "name", "size", "number", "made later"],
)
async def test_in_a_later_session_a_job_id_alone_cancels_nothing(job: Job, cancelled: list[int]):
    answer = answer_of(7)
    printer = await delivered(Printer(job), cut_job(NAME, **LETTER), answer, later_session=True)
    assert printer.cancelled == cancelled


async def test_a_job_without_a_name_is_not_searched():
    printer = await delivered(Printer(Job(3, "", 2)), cut_job(**LETTER))
    assert printer.asked == 0


async def test_a_request_without_a_document_leaves_no_job_to_search():
    job = cut_job(NAME, code=Operation.VALIDATE_JOB)
    assert (await delivered(Printer(Job(1, "letter", 0)), job)).asked == 0


async def test_a_printer_that_does_not_answer_is_asked_again():
    printer = Printer(Job(3, "letter", 2))
    printer.failures = [PrinterSilent("silent"), ProbeFailed("503")]
    await delivered(printer, cut_job(NAME, **LETTER))
    assert printer.cancelled == [3]


@pytest.mark.parametrize("code", [ipp.Status.BUSY, ipp.Status.INTERNAL_ERROR, 0x0401])
async def test_an_ipp_error_is_a_refusal_and_the_job_is_cancelled_later(code: int):
    printer = Printer()
    printer.refusals = [code]
    await delivered(printer, cut_job(NAME), answer_of(7))
    assert printer.cancelled == [7]


@pytest.mark.parametrize("code", [ipp.Status.NOT_POSSIBLE, ipp.Status.NOT_FOUND])
async def test_a_job_that_is_over_needs_no_cancellation(code: int):
    printer = Printer()
    printer.refusals = [code]
    await delivered(printer, cut_job(NAME), answer_of(7))
    assert (printer.cancelled, printer.asked) == ([], 1)


async def test_a_cancellation_is_tried_a_limited_number_of_times():
    printer = Printer()
    printer.failures = [PrinterSilent("silent")] * 1000
    await delivered(printer, cut_job(NAME))
    assert printer.asked == TRIES


async def test_no_free_interface_does_not_count_as_a_try():
    printer = Printer()
    printer.failures = [NotAsked("all interfaces are in use")] * (3 * TRIES)
    await delivered(printer, cut_job(NAME), answer_of(7))
    assert printer.cancelled == [7]


async def test_a_pending_cancellation_expires():
    printer = Printer(Job(7, "letter", 2))
    await delivered(printer, cut_job(NAME), answer_of(7), later_session=True, after_s=EXPIRES_S)
    assert printer.asked == 0


async def test_too_many_pending_cancellations_drop_the_oldest():
    pending, printer = PendingCancels(pause_s=0.0), Printer()
    printer.failures = [NotAsked("in use")]
    async with delivering(pending, printer):
        await asyncio.sleep(0)
        for number in range(1, KEPT + 4):
            pending.add(cut_job(NAME), answer_of(number))
        await until_delivered(pending)
    assert printer.cancelled == list(range(4, KEPT + 4))


async def test_a_pending_cancellation_outlives_the_plug():
    pending, away, back = PendingCancels(), Printer(), Printer(Job(3, "letter", 2))
    away.failures = [DeviceGone("unplugged")]
    pending.add(cut_job(NAME, **LETTER), b"", began_s=12, cut_s=8)
    async with delivering(pending, away) as ended, asyncio.timeout(10):
        with suppress(asyncio.CancelledError):
            await ended
    assert len(pending) == 1
    async with delivering(pending, back):
        await until_delivered(pending)
    assert back.cancelled == [3]


# --- scan jobs


async def test_a_scan_job_is_deleted_as_soon_as_the_scanner_can_be_asked():
    pending, printer = PendingCancels(pause_s=0.0), Printer()
    printer.failures = [NotAsked("in use"), PrinterSilent("recovering")]
    printer.statuses = [503, 404]
    pending.scan_left("/eSCL/ScanJobs/7")
    pending.scan_left("/eSCL/ScanJobs/7")  # noticed twice
    async with delivering(pending, printer):
        await until_delivered(pending)
    assert printer.deleted == ["/eSCL/ScanJobs/7"] * 2  # 404: it is over


async def test_after_a_new_plug_a_path_may_name_another_scan_job():
    pending, printer = PendingCancels(pause_s=0.0), Printer(Job(3, "letter", 2))
    pending.scan_left("/eSCL/ScanJobs/1")
    pending.add(cut_job(NAME, **LETTER), b"", began_s=12, cut_s=8)
    pending.plugged()
    async with delivering(pending, printer):
        await until_delivered(pending)
    assert (printer.deleted, printer.cancelled) == ([], [3])


async def test_a_request_that_uses_no_scan_job_leaves_none():
    pending = PendingCancels()
    pending.scan_left("")
    assert not pending


async def test_a_cancellation_outlives_the_daemon_without_the_document():
    """An upgrade of the package; the job is looked up by what is kept."""
    clock = Later()
    before = PendingCancels(clock=clock)
    password = ipp.attribute("document-password", ipp.octets(b"secret"))
    before.add(cut_job(NAME, password, document=b"secret" * 250), b"", began_s=12, cut_s=8)
    before.scan_left("/eSCL/ScanJobs/1")
    kept = json.dumps(before.kept())
    assert b"secret" not in base64.b64decode(json.loads(kept)[0]["request"])

    after = PendingCancels(pause_s=0.0, clock=clock)
    after.restore(json.loads(kept))
    printer = Printer(Job(4, "photo", 2), Job(5, "letter", 2))
    async with delivering(after, printer):
        await until_delivered(after)
    assert (printer.cancelled, printer.deleted) == ([5], [])


@pytest.mark.parametrize(
    "kept", [{}, {"target": 1}, {"target": "/", "request": "?", "sent_bytes": "x"}]
)
def test_a_kept_cancellation_that_cannot_be_read_is_dropped(kept: dict[str, object]):
    pending = PendingCancels()
    pending.restore([kept])
    assert not pending
