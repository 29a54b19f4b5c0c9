"""Scan programs: a page from the glass, or the feeder's pages; some die at any byte.

What arrives whole must be the picture on the glass, and a scanner whose program died must be
free for the next one soon.
"""

from __future__ import annotations

import asyncio
from typing import Final

from simulation.laws import Laws
from simulation.talk import Caller
from support.http_client import Reply

from ippusbd.virtual.services.pictures import picture

SETTINGS: Final = (
    '<?xml version="1.0"?><scan:ScanSettings '
    'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
    'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"><pwg:InputSource>{source}'
    "</pwg:InputSource><scan:XResolution>75</scan:XResolution><pwg:Width>600</pwg:Width>"
    "<pwg:Height>400</pwg:Height></scan:ScanSettings>"
)
XML: Final = (("Content-Type", "text/xml"),)
TRIES: Final = 30
RETRY_S: Final = 1.0
DIES: Final = 0.08


class ScanProgram:
    """As sane-airscan scans."""

    def __init__(self, caller: Caller, laws: Laws) -> None:
        self._caller = caller
        self._laws = laws

    async def scans(self) -> None:
        chance = self._caller.chance
        await self._caller.ask("GET", "/eSCL/ScannerCapabilities")
        source = chance.choice(("Platen", "Feeder"))
        body = SETTINGS.format(source=source).encode()
        created = await self._again("POST", "/eSCL/ScanJobs", body)
        if created is None or created.status != 201:
            return
        job = "/eSCL" + created.headers["location"].partition("/eSCL")[2]
        while True:
            if chance.random() < DIES:
                return  # between two requests: the scanner's own time-out is for that
            patience_s = chance.uniform(0, 0.01) if chance.random() < DIES else None
            sent = self._sent(job)
            page = await self._again("GET", f"{job}/NextDocument", dies_after_s=patience_s)
            if page is None or page.status != 200 or not page.complete:
                if page is None and not self._has_answered(job, sent):
                    self._laws.scan_left(self._caller.printer, job)
                return
            self._check(job, page)
            if source == "Platen":
                return
            await asyncio.sleep(chance.expovariate(1.0))

    async def _again(
        self, method: str, target: str, body: bytes = b"", dies_after_s: float | None = None
    ) -> Reply | None:
        """Again while it is told 503."""
        reply = None
        for _ in range(TRIES):
            reply = await self._caller.ask(method, target, body, XML, dies_after_s=dies_after_s)
            if reply is None or reply.status != 503:
                break
            await asyncio.sleep(RETRY_S)
        return reply

    def _sent(self, job: str) -> int:
        """Pages that the scanner sent."""
        scan = self._caller.printer.scanner.jobs.get(job.rpartition("/")[2])
        return scan.sent if scan is not None else 0

    def _has_answered(self, job: str, sent: int) -> bool:
        """One more page is on its way from the daemon to the program, whose death nobody sees."""
        served = self._caller.office.served(self._caller.printer)
        pool = served.pool if served is not None else None
        return pool is not None and pool.idle and self._sent(job) > sent

    def _check(self, job: str, page: Reply) -> None:
        scan = self._caller.printer.scanner.jobs.get(job.rpartition("/")[2])
        if scan is not None and scan.spec is not None and page.body != picture(scan.spec):
            self._laws.broken("scanned", f"{self._caller.serial}: not the picture on the glass")
