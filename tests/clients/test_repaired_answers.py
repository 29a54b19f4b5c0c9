"""What printers encode badly is read by CUPS' own reader after the repair."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.daemon import run_daemon

from ippusbd.virtual.printer import VirtualPrinter

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

QUESTION = """{
  NAME "as CUPS asks"
  OPERATION Get-Printer-Attributes
  GROUP operation-attributes-tag
  ATTR charset attributes-charset utf-8
  ATTR naturalLanguage attributes-natural-language en
  ATTR uri printer-uri $uri
  ATTR keyword requested-attributes all,media-col-database
  STATUS successful-ok
}
"""
PERSONALITIES = (
    "unclosed-collections",
    "members-outside-collections",
    "bad-collections",
    "ipp-error-good-data",
)


async def run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def read(uri: str, tmp_path: Path) -> tuple[int, dict[str, str]]:
    """ipptool's status, and what it says of each attribute."""
    question = tmp_path / "question.test"
    question.write_text(QUESTION)
    status, out = await run("ipptool", "-tv", uri, str(question))
    lines = (line.strip().partition(" = ") for line in out.splitlines())
    return status, {name.partition(" (")[0]: value for name, _, value in lines}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What ipptool reads of a printer that encodes well."""

    async def ask() -> dict[str, str]:
        printer, folder = VirtualPrinter(), tmp_path_factory.mktemp("sound")
        try:
            async with run_daemon(printer, state_path=folder / "state.json") as daemon:
                status, said = await read(f"ipp://localhost:{daemon.port()}/ipp/print", folder)
        finally:
            printer.close()
        assert status == 0
        return said

    return asyncio.run(ask())


@pytest.mark.parametrize("personality", PERSONALITIES)
async def test_cups_reads_the_media_of_printers_that_encode_them_badly(
    make_printer, tmp_path: Path, sound: dict[str, str], personality: str
):
    printer = make_printer(personality)
    async with run_daemon(printer, state_path=tmp_path / "state.json") as daemon:
        uri = f"ipp://localhost:{daemon.port()}/ipp/print"
        status, said = await read(uri, tmp_path)
        assert status == 0
        for name in ("media-col-default", "media-col-ready", "media-col-database"):
            assert said[name] == sound[name], name
        assert said["media-col-ready"].count("media-type=") == 2

        status, ppd = await run("driverless", "cat", f"driverless:{uri}")
        assert status == 0
        assert "*PageSize A4/" in ppd
