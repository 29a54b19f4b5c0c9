"""After a suspend every transfer fails; the printer returns, maybe at another address."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from support.daemon import InProcessDaemon, run_daemon
from support.http_client import IPP_TYPE, ask, ipp_request

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp import Operation

HASTY = {"drain_s": 0.3, "check_s": 0.5, "retry_max_s": 0.2, "supplies_s": 0.0}
DOCUMENT = bytes(range(251)) * 8000  # 2 MB


async def sleeps(daemon: InProcessDaemon, printer: VirtualPrinter, *, address: str) -> None:
    """Suspend and resume; what the kernel does with the device is in `address`."""
    printer.switch("suspended", on=True)
    await asyncio.sleep(0.1)  # transfers under way fail at once
    if address == "another":
        printer.unplug()
    printer.switch("suspended", on=False)
    if address == "another":
        daemon.backend.plug(printer.device)
    daemon.supervisor.wake()


async def prints(daemon: InProcessDaemon, printer: VirtualPrinter) -> None:
    """As CUPS does: again after 503."""
    body = ipp_request(Operation.PRINT_JOB) + DOCUMENT
    for _ in range(100):
        if (await ask(daemon.port(), "POST", "/ipp/print", body, IPP_TYPE)).status == 200:
            break
        await asyncio.sleep(0.1)
    stored = printer.documents[-1]
    assert (stored.completed, stored.sha256) == (True, hashlib.sha256(DOCUMENT).hexdigest())


@pytest.mark.parametrize("address", ["the same", "another"])
@pytest.mark.parametrize("doing", ["nothing", "printing", "released"])
async def test_after_a_suspend_the_printer_is_served_as_before(
    make_printer, state_path, caplog, address: str, doing: str
):
    printer = make_printer()
    release = {"idle_release_s": 0.1} if doing == "released" else {}
    async with run_daemon(printer, state_path=state_path, **HASTY, **release) as daemon:
        before = (daemon.port(), daemon.row()["name"])
        if doing == "released":
            await daemon.until(lambda: daemon.interfaces()["released"] == 3)
        job = None
        if doing == "printing":
            printer.switch("paper-out", on=True)
            body = ipp_request(Operation.PRINT_JOB) + DOCUMENT
            job = asyncio.create_task(ask(daemon.port(), "POST", "/ipp/print", body, IPP_TYPE))
            await daemon.until(lambda: printer.documents)
        await sleeps(daemon, printer, address=address)
        if job is not None:
            assert (await job).status == 503, "the client hears of it, and comes again"
            printer.switch("paper-out", on=False)
        await prints(daemon, printer)
        await daemon.until_state("ready")
        await daemon.until(lambda: daemon.interfaces()["total"] == 3)
        await daemon.until(lambda: daemon.interfaces()["broken"] == 0)
        assert (daemon.port(), daemon.row()["name"]) == before
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


async def test_after_a_long_suspend_the_printer_works_without_further_delay(
    make_printer, state_path
):
    """Nothing works for longer than all recovery steps last; then the device works again."""
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path, **HASTY) as daemon:
        printer.switch("suspended", on=True)
        assert (await ask(daemon.port())).status == 503
        await daemon.until(lambda: daemon.row()["state"] in ("waiting", "refused"))
        await sleeps(daemon, printer, address="another")
        await daemon.until_state("ready")
        await prints(daemon, printer)
