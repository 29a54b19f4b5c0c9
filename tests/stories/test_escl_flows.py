"""What scan clients do, through the real proxy: jobs to their end, refusals, owners that delete.

sane-airscan closes after each request, sane-escl and Apple's keep one connection; all create a job,
fetch pages until 404 and delete the job.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.daemon import QUICK, InProcessDaemon, run_daemon
from support.http_client import Connection, Reply, ask, connected, head, message

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.pictures import picture

XML = ("Content-Type", "text/xml")
SOON_S = 5.0  # the virtual scanner itself waits 10 s for a client that died


def settings(source: str = "Platen", **texts: object) -> bytes:
    fields = "".join(f"<scan:{name}>{value}</scan:{name}>" for name, value in texts.items())
    return (
        '<?xml version="1.0"?><scan:ScanSettings '
        'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
        'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"><scan:XResolution>75</scan:XResolution>'
        f"<scan:YResolution>75</scan:YResolution><pwg:InputSource>{source}</pwg:InputSource>"
        f"{fields}</scan:ScanSettings>"
    ).encode()


class Client:
    """A scan client: `persistent` on one connection, else one for each request."""

    def __init__(self, port: int, connection: Connection | None = None) -> None:
        self.port, self.connection = port, connection

    async def ask(self, method: str, target: str, body: bytes = b"") -> Reply:
        fields = (("Host", f"127.0.0.1:{self.port}"), XML)
        if self.connection is None:
            return await ask(self.port, method, target, body, (*fields, ("Connection", "close")))
        await self.connection.send(message(method, target, body, fields))
        return await self.connection.reply(method)

    async def create(self, wanted: bytes) -> str:
        """The path of a new job; its URL names us."""
        reply = await self.ask("POST", "/eSCL/ScanJobs", wanted)
        assert reply.status == 201, reply
        base = f"http://127.0.0.1:{self.port}"
        assert reply.headers["location"].startswith(f"{base}/eSCL/ScanJobs/")
        return reply.headers["location"].removeprefix(base)

    async def scan(self, wanted: bytes) -> list[bytes]:
        """All pages of a job, which is deleted at the end."""
        job, pages = await self.create(wanted), list[bytes]()
        while (reply := await self.ask("GET", f"{job}/NextDocument")).status == 200:
            assert reply.complete
            pages.append(reply.body)
        assert reply.status == 404
        assert (await self.ask("DELETE", job)).status == 200
        return pages


@pytest.fixture(params=["one connection", "a connection for each request"])
def persistent(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "one connection")


def untouched(daemon: InProcessDaemon) -> bool:
    """No interface had to be recovered, and none is in use."""
    return daemon.pool().recovered == 0 and daemon.pool().idle


@pytest.mark.parametrize("interfaces", [1, 3])
async def test_several_jobs_in_a_row_come_whole(
    make_printer, state_path, persistent: bool, interfaces: int
):
    printer = make_printer(interfaces=interfaces)
    async with (
        run_daemon(printer, state_path=state_path) as daemon,
        connected(daemon.port()) as connection,
    ):
        client = Client(daemon.port(), connection if persistent else None)
        for mode in ("RGB24", "Grayscale8", "RGB24"):
            (page,) = await client.scan(settings(ColorMode=mode))
            assert page == picture(list(printer.scanner.jobs.values())[-1].spec)
        assert [job.state for job in printer.scanner.jobs.values()] == ["Completed"] * 3
        await daemon.until(lambda: untouched(daemon))


async def test_both_sides_of_every_sheet_are_scanned(make_printer, state_path, persistent: bool):
    printer = make_printer()
    printer.scanner.adf_pages = 3
    async with (
        run_daemon(printer, state_path=state_path) as daemon,
        connected(daemon.port()) as connection,
    ):
        client = Client(daemon.port(), connection if persistent else None)
        pages = await client.scan(settings("Feeder", Duplex="true"))
        assert len(pages) == len(set(pages)) == 6


class FeederOnly(Personality):
    """A scanner without a glass."""

    name = "feeder-only"

    def xml(self, path: str, document: str) -> str:
        before, _, rest = document.partition("<scan:Platen>")
        return before + rest.partition("</scan:Platen>")[2] if rest else document


async def test_a_scanner_with_a_feeder_alone_is_announced_so_and_scans(make_printer, state_path):
    printer = make_printer()
    printer.personalities.switch_on(FeederOnly)
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert daemon.publisher.txt("_uscan._tcp")["is"] == "adf"
        client = Client(daemon.port())
        assert len(await client.scan(settings("Feeder"))) == 2
        printer.scanner.adf_pages = 0
        reply = await client.ask("POST", "/eSCL/ScanJobs", settings("Feeder"))
        assert (reply.status, reply.body) == (409, b"the document feeder is empty\n")


class RefusesOnce(Personality):
    """NextDocument is refused once with `status`."""

    name = "refuses-once"
    status = 503

    def __init__(self) -> None:
        self.times = 0

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if self.times or not request.path.endswith("/NextDocument"):
            return None
        self.times = 1
        return plain(self.status, "the scanner's own words\n").with_header("Retry-After", "7")


@pytest.mark.parametrize("status", [404, 409, 410, 503])
async def test_a_refused_page_reaches_the_client_as_it_is_and_the_job_goes_on(
    make_printer, state_path, persistent: bool, status: int
):
    printer = make_printer()
    async with (
        run_daemon(printer, state_path=state_path) as daemon,
        connected(daemon.port()) as connection,
    ):
        client = Client(daemon.port(), connection if persistent else None)
        job = await client.create(settings())
        printer.personalities.switch_on(RefusesOnce).status = status
        reply = await client.ask("GET", f"{job}/NextDocument")
        assert (reply.status, reply.body) == (status, b"the scanner's own words\n")
        assert reply.headers["retry-after"] == "7"
        assert printer.scanner.jobs[job.rpartition("/")[2]].state == "Processing"
        assert (await client.ask("GET", f"{job}/NextDocument")).status == 200
        await daemon.until(lambda: untouched(daemon))


async def test_a_second_client_hears_503_until_the_first_deletes_its_job(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        first, second = Client(daemon.port()), Client(daemon.port())
        job = await first.create(settings("Feeder"))
        reply = await second.ask("POST", "/eSCL/ScanJobs", settings())
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert (await first.ask("DELETE", job)).status == 200
        await second.create(settings())
        assert (await first.ask("GET", f"{job}/NextDocument")).status == 404


async def test_a_job_can_be_deleted_while_its_page_is_sent(make_printer, state_path):
    printer = make_printer("slow")
    async with run_daemon(printer, state_path=state_path) as daemon:
        client = Client(daemon.port())
        job = await client.create(settings("Feeder", ColorMode="RGB24"))
        async with connected(daemon.port()) as connection:
            await connection.send(head("GET", f"{job}/NextDocument"))
            page = asyncio.create_task(connection.reply())
            await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
            assert (await client.ask("DELETE", job)).status == 200
            assert printer.scanner.jobs[job.rpartition("/")[2]].state == "Canceled"
            assert (await page).complete
        await client.create(settings())


async def test_a_client_that_dies_in_the_middle_of_a_page_leaves_the_scanner_free(
    make_printer, state_path
):
    printer = make_printer("slow")
    async with run_daemon(printer, state_path=state_path) as daemon:
        job = await Client(daemon.port()).create(settings("Feeder", ColorMode="RGB24"))
        async with connected(daemon.port()) as connection:
            await connection.send(head("GET", f"{job}/NextDocument"))
            await daemon.until(lambda: daemon.interfaces()["in_use"] == 1)
            connection.kill()
        lost = printer.scanner.jobs[job.rpartition("/")[2]]
        assert await daemon.until(lambda: lost.state == "Canceled") < SOON_S
        await Client(daemon.port()).create(settings())


@pytest.mark.parametrize("interfaces", [1, 3])
async def test_a_201_and_a_page_whose_bodies_never_come_cost_a_retry(
    make_printer, state_path, interfaces: int
):
    printer: VirtualPrinter = make_printer("scan-body-never-comes", interfaces=interfaces)
    config = replace(QUICK, check_s=0.5, drain_s=0.5, busy_check_s=0.5, idle_stall_s=3, stall_s=6)
    async with run_daemon(printer, state_path=state_path, config=config) as daemon:
        client, loop = Client(daemon.port()), asyncio.get_running_loop()
        start = loop.time()
        job = await client.create(settings())
        assert loop.time() - start < SOON_S
        reply = await client.ask("GET", f"{job}/NextDocument")
        assert (reply.status, reply.complete) == (200, False)
        reply = await client.ask("GET", f"{job}/NextDocument")
        (made,) = printer.scanner.jobs.values()  # it was not deleted, and not created twice
        assert (reply.status, made.state) == (200, "Completed")
        assert reply.body == picture(made.spec)
