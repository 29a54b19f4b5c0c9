"""The fixed script that every personality of the virtual printer has to go through.

    plug in -> announced? --no, and given up--> released to the kernel's driver, with a reason
      | yes
    5 prints, a scan, the web console -> unplugged in the middle of an answer
      -> away -> plugged in again -> the same port and name -> a print

Clients retry after 503 and after a connection that ended too early, as CUPS and
sane-airscan do; everything is compared byte for byte. Time-outs of the configuration are
short, so that minutes take seconds here.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path
from unittest.mock import patch

from support.daemon import QUICK, InProcessDaemon, run_daemon
from support.http_client import IPP_TYPE, Reply, ask, connected, head, ipp_request

from ippusbd.daemon.recovery import verdict as recovery
from ippusbd.errors import IppUsbError
from ippusbd.model import UsbId
from ippusbd.virtual.printer import DEFAULT_ID, DEFAULT_MODEL, VirtualPrinter
from ippusbd.virtual.services.console import pseudo_random
from ippusbd.virtual.services.pictures import picture
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation

HASTY = replace(
    QUICK,
    retry_min_s=0.05,
    retry_max_s=0.3,
    probe_s=3.0,
    fax_probe_s=0.5,
    check_s=1.0,
    drain_s=0.8,
    busy_check_s=1.0,
    idle_stall_s=3.0,
    stall_s=6.0,
    idle_release_s=0.5,
    warm_up_s=4.0,
    supplies_s=0.0,
)
PATIENCE_S = 45.0  # of this script with everything; the machine may be busy
WORKS, AFTER, REFUSED = "works", "works after recovery", "refused"
PARTIAL = "prints, and says why it does not scan"
PATIENCE_OF = (REFUSED, AFTER, WORKS, PARTIAL)
RELEASED_S = 10.0
PRINTING_S = 3.0  # pages come out after a document's last byte
RETRY_S = 0.8  # as Retry-After says, in this scale
AT_ONCE = 12  # printers; the machine may have two cores
PRINTS = 5
DOCUMENT = b"".join(pseudo_random(150_000))
SCAN = b"""<?xml version="1.0"?><scan:ScanSettings
 xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03"
 xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"><pwg:Version>2.6</pwg:Version>
 <pwg:ScanRegions><pwg:ScanRegion><pwg:ContentRegionUnits>escl:ThreeHundredthsOfInches
 </pwg:ContentRegionUnits><pwg:XOffset>0</pwg:XOffset><pwg:YOffset>0</pwg:YOffset>
 <pwg:Width>600</pwg:Width><pwg:Height>400</pwg:Height></pwg:ScanRegion></pwg:ScanRegions>
 <scan:XResolution>75</scan:XResolution><scan:YResolution>75</scan:YResolution>
 <scan:ColorMode>RGB24</scan:ColorMode></scan:ScanSettings>"""
PORTS = iter(range(50_000, 59_000, 20))  # each daemon has a range of its own


@dataclass(frozen=True, kw_only=True)
class Case:
    """One line of the table: a personality, what helps it, and the expected outcome."""

    outcome: str
    why: str = ""  # a part of the reason, or of what helped
    model: str = DEFAULT_MODEL  # of a real printer: with the quirks that come with ippusbd
    usb_id: UsbId = DEFAULT_ID
    paper_s: float | None = None  # paper is put in this long after the first print began
    awake_s: float | None = None  # it wakes up this long after the plug
    interfaces: int = 3
    console: int = 200  # the status of the web console
    tuned: Mapping[str, float] = field(default_factory=dict)  # attributes of the personality


@dataclass
class Line:
    """The actual outcome."""

    name: str
    outcome: str = WORKS
    why: str = ""
    released_s: float | None = None  # after the plug, for one that cannot be served
    steps: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        colon = ": " if self.why else ""
        return f"{self.name:42} {self.outcome}{colon}{self.why}"


class Script:
    """Runs against one printer."""

    def __init__(self, name: str, case: Case, daemon: InProcessDaemon, printer: VirtualPrinter):
        self.case = case
        self.daemon = daemon
        self.printer = printer
        self.line = Line(name)
        self.waited = False  # it was not ready at once
        self.started = time.monotonic()

    async def run(self) -> Line:
        """Raises AssertionError with the step that went wrong."""
        loop = asyncio.get_running_loop()
        if self.case.awake_s is not None:
            loop.call_later(self.case.awake_s, self._over)
        if not await self._announced():
            self._given_up()
            return self.line
        port, name = self.daemon.port(), self.daemon.row()["name"]
        self.line.steps.append("announced")
        if self.case.paper_s is not None:
            loop.call_later(self.case.paper_s, self._over)
        for number in range(PRINTS):
            await self._print(number)
        await self._attributes()
        if self.case.outcome != PARTIAL:
            await self._scan()
        await self._console()
        await self._settled()
        await self._unplugged_in_the_middle()
        self.daemon.plug(self.printer)
        assert await self._announced(), f"after the replug: {self.daemon.row()}"
        again = (self.daemon.port(), self.daemon.row()["name"])
        assert again == (port, name), f"{again} after the replug, {(port, name)} before"
        await self._print(PRINTS)
        self._judge()
        return self.line

    # --- the steps

    async def _announced(self) -> bool:
        """Wait until it is served completely, or given up."""
        row: dict[str, object] = {}

        def decided() -> bool:
            row.update(self.daemon.row())
            self.waited |= row["state"] in ("waiting", "partial")
            self._note_release()
            return row["state"] in ("ready", "refused")

        await self.daemon.until(decided, PATIENCE_S)
        return row["state"] == "ready"

    def _note_release(self) -> None:
        row = self.daemon.row()
        free = row["state"] in ("waiting", "refused") and row["reason"] and self._has_drivers()
        if free and self.line.released_s is None:
            self.line.released_s = time.monotonic() - self.started

    def _has_drivers(self) -> bool:
        """The kernel has its own driver on every interface."""
        drivers = self.daemon.backend.port(self.printer.device).drivers
        return set(drivers) >= {face.number for face in self.printer.device.interfaces}

    def _given_up(self) -> None:
        row = self.daemon.row()
        assert self._has_drivers(), "the interfaces were not released"
        assert not self.daemon.publisher.sets, "it is announced still"
        self.line.outcome, self.line.why = REFUSED, row["reason"]["text"]

    async def _print(self, number: int) -> None:
        document = DOCUMENT + bytes([number])
        wanted = hashlib.sha256(document).hexdigest()
        body = ipp_request(Operation.PRINT_JOB, request_id=number + 1) + document

        async def printed() -> bool:
            reply = await self._ask("POST", "/ipp/print", body, IPP_TYPE)
            if reply.status != 200:
                assert reply.status == 503, f"print {number}: {reply}"
                return False
            answer, _ = ipp.decode(reply.body)
            assert answer.ok or answer.code == 0x0500, f"print {number}: {answer}"
            return True

        await self._again(printed, f"print {number}")
        arrived = [one.sha256 for one in self.printer.documents if one.completed]
        assert wanted in arrived, f"print {number} is not at the printer"
        self.line.steps.append(f"print {number}")

    async def _scan(self) -> None:
        page = ""
        picked: list[bytes] = []

        async def begun() -> bool:
            nonlocal page
            fields = (("Content-Type", "text/xml"),)
            reply = await self._ask("POST", "/eSCL/ScanJobs", SCAN, fields)
            assert reply.status in (201, 503), f"scan: {reply}"
            page = "/eSCL" + reply.headers.get("location", "").partition("/eSCL")[2]
            return reply.status == 201

        async def fetched() -> bool:
            reply = await self._ask("GET", f"{page}/NextDocument")
            assert reply.status in (200, 404, 503), f"scan: {reply}"
            picked.append(reply.body)
            return reply.status == 200 and reply.complete

        await self._again(begun, "scan")
        await self._again(fetched, "scan")
        job = self.printer.scanner.jobs[page.rpartition("/")[2]]
        assert job.spec is not None
        assert picked[-1] == picture(job.spec), "the picture is not the one on the glass"
        self.line.steps.append("scan")

    async def _attributes(self) -> None:
        """As CUPS reads them: strictly."""

        async def read() -> bool:
            body = ipp_request(Operation.GET_PRINTER_ATTRIBUTES)
            reply = await self._ask("POST", "/ipp/print", body, IPP_TYPE)
            if reply.status == 200:
                assert ipp.decode(reply.body)[0].ok
            return reply.status == 200

        await self._again(read, "attributes")
        self.line.steps.append("attributes")

    async def _settled(self) -> None:
        """Nothing is being drained or recovered any more."""

        def at_rest() -> bool:
            row = self.daemon.row()
            counts = row["interfaces"]  # all 0 while a session ends
            busy = counts["in_use"] + counts["broken"]
            return row["state"] == "ready" and counts["total"] and not busy

        await self.daemon.until(at_rest, PATIENCE_S)

    async def _console(self) -> None:
        async def shown() -> bool:
            reply = await self._ask("GET", "/")
            whole = reply.status != 200 or b"</html>" in reply.body
            return reply.status == self.case.console and whole

        await self._again(shown, "web console")
        self.line.steps.append("console")

    async def _unplugged_in_the_middle(self) -> None:
        async with connected(self.daemon.port()) as client:
            await client.send(head("GET", "/big?bytes=50000000"))
            with suppress(TimeoutError):  # a slow one
                async with asyncio.timeout(2):
                    await client.reader.read(100)
            self.daemon.unplug(self.printer)
            await self.daemon.until_state("away")
        assert not self.daemon.publisher.sets
        assert (await self._ask("GET", "/")).status == 503
        self.line.steps.append("unplugged")

    def _over(self) -> None:
        self.printer.switch(self.line.name.partition(",")[0], on=False)

    # --- clients that come again

    async def _ask(
        self, method: str, target: str, body: bytes = b"", fields: tuple[tuple[str, str], ...] = ()
    ) -> Reply:
        port = self.daemon.port()
        return await ask(port, method, target, body, fields, timeout_s=PATIENCE_S)

    async def _again(self, once: Callable[[], Awaitable[bool]], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            with suppress(ConnectionError):
                if await once():
                    return
            assert time.monotonic() < end, f"{what}: not in {PATIENCE_S} s; {self.daemon.row()}"
            await asyncio.sleep(RETRY_S)

    def _judge(self) -> None:
        (record,) = self.daemon.state.printers().values()
        helped = [f"learned {key} = {value}" for key, value in record.learned.items()]
        helped += [record.recovery] if record.recovery else []
        helped += ["warm-up"] if self.waited and not helped else []
        helped += ["paper"] if self.case.paper_s is not None else []
        helped += ["waking up"] if self.case.awake_s is not None else []
        helped += [f"quirk of {self.case.model}"] if self.case.model != DEFAULT_MODEL else []
        if self.case.outcome == PARTIAL:
            missing = [
                f"{one['function']}: {one['reason']['text']}"
                for one in self.daemon.row()["missing"]
            ]
            self.line.outcome, self.line.why = PARTIAL, ", ".join(missing)
        elif helped:
            self.line.outcome, self.line.why = AFTER, ", ".join(helped)


async def conform(name: str, case: Case, folder: Path) -> Line:
    """Run the script against a printer with the personality that `name` begins with."""
    first, personality_name = next(PORTS), name.partition(",")[0]
    printer = VirtualPrinter(
        case.model,
        usb_id=case.usb_id,
        interfaces=case.interfaces,
        personalities=(personality_name,),
        print_s=0.0,
    )
    (personality,) = printer.personalities
    for attribute, value in case.tuned.items():
        assert hasattr(personality, attribute)
        setattr(personality, attribute, value)
    config = replace(HASTY, port_min=first, port_max=first + 19)
    try:
        async with run_daemon(
            printer, state_path=folder / name / "state.json", config=config, wait=()
        ) as daemon:
            return await Script(name, case, daemon, printer).run()
    finally:
        printer.close()


async def table(
    cases: Mapping[str, Case], folder: Path, *, told: Callable[[Line], None] = lambda line: None
) -> dict[str, Line]:
    """Run the script for all of them, some at a time; `told` is called with each line at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def line(name: str, case: Case) -> Line:
        async with room:
            try:
                async with asyncio.timeout(2 * PATIENCE_S):
                    done = await conform(name, case, folder)
            except (AssertionError, TimeoutError, IppUsbError, OSError) as exc:
                done = Line(name, "failed", f"{type(exc).__name__} {exc}")
        told(done)
        return done

    longest_first = sorted(cases.items(), key=lambda item: PATIENCE_OF.index(item[1].outcome))
    with patch.object(recovery, "PRINTING_S", PRINTING_S):
        return {one.name: one for one in await asyncio.gather(*starmap(line, longest_first))}


def verdict(line: Line, case: Case) -> str:
    """What is wrong with it; empty: nothing.

    On a busy machine an interface that was only slow may be recovered: that is accepted.
    """
    helped = line.outcome == AFTER and case.outcome == WORKS and "learned" not in line.why
    if (line.outcome != case.outcome and not helped) or case.why not in line.why:
        return f"{line}; expected: {case.outcome} {case.why}"
    if line.outcome == REFUSED and (line.released_s is None or line.released_s > RELEASED_S):
        return f"{line}; it was released only after {line.released_s} s"
    return ""
