"""USB layouts of real devices: each is served, prints and scans, through the interfaces it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from support.daemon import run_daemon
from support.http_client import ask
from support.usb_client import request

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.layouts import LAYOUTS
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Status

MakePrinter = Callable[..., VirtualPrinter]
USABLE = {  # interfaces that speak IPP over USB
    "canon-mf745c": [1, 2],
    "canon-selphy-cp1200": [0, 1],
    "epson-et2826": [1, 3, 4, 5],
    "hp-vendor-class": [1, 2],
    "setting-0-only": [0, 1],
    "one-interface": [0],
    "no-serial": [0, 1, 2],
    "no-strings": [0, 1, 2],
}
SCAN = (
    b'<scan:ScanSettings xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03"'
    b' xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm">'
    b"<scan:XResolution>75</scan:XResolution></scan:ScanSettings>"
)


def test_every_layout_has_an_expectation():
    assert set(USABLE) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
async def test_it_is_served_prints_and_scans(
    make_printer: MakePrinter, state_path: Path, name: str
):
    printer = make_printer(layout=name)
    async with run_daemon(printer, state_path=state_path) as daemon:
        found = daemon.interfaces()
        assert (found["total"], found["broken"]) == (len(USABLE[name]), 0)
        assert [f.number for f in printer.device.spec.interfaces if f.speaks_ipp] == USABLE[name]
        port = daemon.port()

        kind = ipp.attribute("document-format", ipp.mime("application/pdf"))
        job = request(Operation.PRINT_JOB, kind) + b"%PDF-1.4 layout"
        answer = await ask(
            port, "POST", "/ipp/print", job, headers=[("Content-Type", "application/ipp")]
        )
        assert ipp.decode(answer.body)[0].code == Status.OK
        assert [one.completed for one in printer.documents] == [True]

        created = await ask(port, "POST", "/eSCL/ScanJobs", SCAN)
        assert created.status == 201
        job_path = "/" + created.headers["location"].split("/", 3)[3]
        page = await ask(port, "GET", f"{job_path}/NextDocument")
        assert page.body.startswith(b"\xff\xd8"), "not a JPEG file"


async def test_all_usable_interfaces_answer_at_once(make_printer: MakePrinter, state_path: Path):
    printer = make_printer(layout="epson-et2826")
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        answers = await asyncio.gather(*(ask(port, "GET", "/") for _ in range(4)))
        assert [one.status for one in answers] == [200] * 4


async def test_a_device_without_strings_is_served_under_its_usb_id(
    make_printer: MakePrinter, state_path: Path
):
    printer = make_printer(layout="no-strings")
    async with run_daemon(printer, state_path=state_path) as daemon:
        assert daemon.row()["id"] == "1209:0001"


def test_an_unknown_layout_is_refused_with_the_known_names(make_printer: MakePrinter):
    with pytest.raises(KeyError, match="one-interface"):
        make_printer(layout="none")
