"""The probe: good answers, missing ones, none at all, and badly encoded ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from support.fake_channel import FakeChannel
from support.scripted_printer import Heard, ScriptedPrinter, answer

from ippusbd.daemon.printer import probe
from ippusbd.daemon.printer.probe import Questions, gather
from ippusbd.errors import DeviceGone, PrinterError, PrinterSilent, ProbeFailed
from ippusbd.exchange.query import Query
from ippusbd.exchange.request import Request
from ippusbd.model import BusAddress, Capability, DeviceFacts, UsbId
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire import ipp

DEVICE = DeviceFacts(UsbId(1, 2), BusAddress(1, 2), "Maker", "Model", "1")
CAPABILITIES = b"""<?xml version="1.0"?>
<scan:ScannerCapabilities xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03"
 xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm">
<pwg:Version>2.63</pwg:Version><pwg:MakeAndModel>Maker Model</pwg:MakeAndModel>
<scan:Platen/></scan:ScannerCapabilities>"""
XML = (("Content-Type", "text/xml"),)


def attributes(*named: ipp.Attribute, code: int = 0) -> bytes:
    groups = (ipp.Group(ipp.Tag.PRINTER, named),) if named else ()
    return answer(ipp.encode(ipp.Message(code, 1, groups)))


GOOD = attributes(
    ipp.attribute("printer-make-and-model", ipp.text("Maker Model")),
    ipp.attribute("document-format-supported", ipp.mime("application/pdf")),
)
CLIENTS = "what clients ask for"
NOT_FOUND = answer(b"no", status="404 Not Found")
STARTING = answer(b"starting", status="503 Service Unavailable")


@dataclass
class Firmware:
    """Answers by path, to the question of clients under a name of its own; None: never."""

    answers: dict[str, bytes | None]
    interfaces: int = 3
    heard: list[Heard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._printer = ScriptedPrinter([], self.interfaces)
        self.channels = self._printer.channels
        self._printer._say = self._say  # type: ignore[method-assign]
        self.heard = self._printer.heard

    def _say(self, channel: FakeChannel) -> None:
        last = self.heard[-1]
        for_clients = CLIENTS if b"media-col-database" in last.body else last.target
        said = self.answers.get(for_clients, self.answers.get(last.target, NOT_FOUND))
        if said is not None:
            channel.say(said)


@asynccontextmanager
async def asked(
    firmware: Firmware, **options: str
) -> AsyncIterator[Callable[..., asyncio.Future[probe.Probed]]]:
    """`await ask(**questions)`: the result of `gather` for the firmware."""
    pool = InterfacePool(firmware.channels, drain_s=0.1)
    query = Query(pool, host="localhost:60000", **options)

    def ask(**questions: object) -> asyncio.Future[probe.Probed]:
        wanted = Questions(**{"answer_s": 2.0, "fax_answer_s": 0.1, **questions})  # type: ignore[arg-type]
        return asyncio.ensure_future(gather(query, DEVICE, wanted, port=60000))

    try:
        yield ask
        async with asyncio.timeout(5):
            await pool.join(5)
    finally:
        await pool.close()


async def probed(answers: dict[str, bytes | None], **questions: object) -> probe.Probed:
    async with asked(Firmware(answers)) as ask:
        return await ask(**questions)


async def test_a_multifunction_printer_is_probed_completely():
    found = await probed(
        {
            "/ipp/print": GOOD,
            "/ipp/faxout": attributes(),
            "/eSCL/ScannerCapabilities": answer(CAPABILITIES, headers=XML),
        }
    )
    assert found.missing is None
    assert found.result.printer is not None
    assert found.result.printer.make_and_model == "Maker Model"
    assert found.result.scanner is not None
    assert found.result.scanner.version == "2.63"
    assert found.result.fax


async def test_a_printer_of_ipp_1_1_is_asked_in_it_from_then_on():
    class Old(Firmware):
        def _say(self, channel: FakeChannel) -> None:
            version = self.heard[-1].body[:2]
            refusal = attributes(code=ipp.Status.VERSION_NOT_SUPPORTED)
            channel.say(GOOD if version == b"\x01\x01" else refusal)

    firmware = Old({}, interfaces=1)
    async with asked(firmware) as ask:
        found = await ask(scans=False)
        assert found.result.printer is not None
        assert found.result.printer.make_and_model == "Maker Model"
        first, *later = [heard.body[:2] for heard in firmware.heard]
        assert first == b"\x02\x00"
        assert set(later) == {b"\x01\x01"}


async def test_a_printer_that_refuses_every_version_is_asked_twice_and_no_more():
    firmware = Firmware({"/ipp/print": attributes(code=ipp.Status.VERSION_NOT_SUPPORTED)})
    async with asked(firmware) as ask:
        with pytest.raises(PrinterError):
            await ask(scans=False, faxes=False)
    assert len(firmware.heard) == 2


async def test_a_printer_without_a_scanner_misses_nothing():
    found = await probed({"/ipp/print": GOOD})
    assert (found.result.scanner, found.result.fax, found.missing) == (None, False, None)


async def test_a_scanner_alone_is_asked_no_more_and_its_missing_printer_is_named():
    found = await probed({"/eSCL/ScannerCapabilities": answer(CAPABILITIES, headers=XML)})
    assert found.result.printer is None
    assert found.missing is None
    assert lost(found) == {
        "print": ("its USB interface class", "/ipp/print answered 404 Not Found")
    }


async def test_a_scanner_that_claims_no_printer_lacks_none():
    scanner = {"/eSCL/ScannerCapabilities": answer(CAPABILITIES, headers=XML)}
    found = await probed(scanner, capabilities=Capability.SCAN)
    assert (found.missing, found.lost) == (None, ())


async def test_functions_of_the_class_descriptor_are_named_when_they_are_refused():
    to_https = answer(
        b"", status="301 Moved Permanently", headers=(("Location", "https://192.0.2.1/eSCL/"),)
    )
    found = await probed(
        {"/ipp/print": GOOD, "/eSCL/ScannerCapabilities": to_https, "/ipp/faxout": None},
        capabilities=Capability.PRINT | Capability.SCAN | Capability.FAX,
    )
    assert found.missing is None
    assert lost(found) == {
        "scan": ("its USB descriptor", "/eSCL/ScannerCapabilities answered 301 to https"),
        "fax": ("its USB descriptor", "no response to /ipp/faxout in 0.1 s"),
    }
    assert [one.silent for one in found.lost] == [False, True]


async def test_without_a_claim_a_refused_function_is_not_missing():
    found = await probed({"/ipp/print": GOOD})
    assert found.lost == ()


async def test_what_ipp_says_it_does_is_asked_whatever_the_descriptor_says():
    features = ipp.attribute("ipp-features-supported", ipp.keyword("scan"))
    formats = ipp.attribute("document-format-supported", ipp.mime("application/pdf"))
    answers = {"/ipp/print": attributes(features, formats)}
    found = await probed(answers, capabilities=Capability.PRINT)
    assert lost(found) == {
        "scan": ("its IPP answer", "/eSCL/ScannerCapabilities answered 404 Not Found")
    }
    answers["/eSCL/ScannerCapabilities"] = answer(CAPABILITIES, headers=XML)
    found = await probed(answers, capabilities=Capability.PRINT)
    assert found.result.scanner is not None
    assert found.lost == ()


def lost(found: probe.Probed) -> dict[str, tuple[str, str]]:
    return {one.function: (one.claimed_by, one.reason.text) for one in found.lost}


@pytest.mark.parametrize(
    ("path", "what"), [("/ipp/print", "print"), ("/eSCL/ScannerCapabilities", "scan")]
)
async def test_a_part_that_is_still_starting_is_missing(path: str, what: str):
    answers: dict[str, bytes | None] = {
        "/ipp/print": GOOD,
        "/eSCL/ScannerCapabilities": answer(CAPABILITIES, headers=XML),
    }
    found = await probed({**answers, path: STARTING})
    assert found.missing is not None
    assert found.missing.text.startswith(f"{what}: ")
    assert found.missing.kind == "warming-up"


@pytest.mark.parametrize("said", [NOT_FOUND, STARTING])
async def test_a_device_without_any_facts_fails_the_probe(said: bytes):
    with pytest.raises(ProbeFailed, match="/ipp/print answered"):
        await probed({"/ipp/print": said, "/eSCL/ScannerCapabilities": said})


async def test_a_fax_queue_that_never_answers_delays_nothing():
    start = asyncio.get_running_loop().time()
    found = await probed({"/ipp/print": GOOD, "/ipp/faxout": None})
    assert asyncio.get_running_loop().time() - start < 1.5
    assert not found.result.fax


async def test_a_part_that_never_answers_is_missing_and_its_interface_freed():
    firmware = Firmware({"/ipp/print": None, "/eSCL/ScannerCapabilities": answer(CAPABILITIES)})
    pool = InterfacePool(firmware.channels, drain_s=0.05)
    query = Query(pool, host="localhost")
    found = await gather(query, DEVICE, Questions(answer_s=0.1, faxes=False), port=60000)
    assert "no response" in str(found.missing)
    await pool.join(5)
    assert pool.status().broken == 0
    await pool.close()


async def test_one_interface_is_enough():
    async with asked(
        Firmware(
            {"/ipp/print": GOOD, "/eSCL/ScannerCapabilities": answer(CAPABILITIES)}, interfaces=1
        )
    ) as ask:
        found = await ask()
    assert found.missing is None


async def test_an_error_status_with_good_data_is_accepted():
    """Canon SELPHY CP1500."""
    good = attributes(
        ipp.attribute("document-format-supported", ipp.mime("application/pdf")), code=0x0500
    )
    found = await probed({"/ipp/print": good})
    assert found.result.printer is not None
    assert found.result.printer.pdl == ("application/pdf",)


async def test_an_error_status_without_data_is_not_accepted():
    with pytest.raises(ProbeFailed, match="status 0x0500"):
        await probed({"/ipp/print": attributes(code=0x0500)})


async def test_an_error_status_with_too_few_attributes_needs_a_quirk():
    named = ipp.attribute("printer-make-and-model", ipp.text("Maker Model"))
    said = attributes(named, code=0x0500)
    with pytest.raises(ProbeFailed, match="status 0x0500"):
        await probed({"/ipp/print": said})
    found = await probed({"/ipp/print": said}, ignore_ipp_status=True)
    assert found.result.printer is not None
    assert found.result.printer.make_and_model == "Maker Model"


@pytest.mark.parametrize(
    "said", [answer(b"\x02\x00"), answer(b"<html>"), answer(b"x" * ((1 << 20) + 1))]
)
async def test_invalid_answers_of_the_printer_do_not_affect_the_scanner(said: bytes):
    found = await probed({"/ipp/print": said, "/eSCL/ScannerCapabilities": answer(CAPABILITIES)})
    assert found.result.scanner is not None
    assert [one.function for one in found.lost] == ["print"]


async def test_invalid_answers_of_the_scanner_do_not_affect_the_printer():
    found = await probed({"/ipp/print": GOOD, "/eSCL/ScannerCapabilities": answer(b"<a>")})
    assert found.result.printer is not None
    assert found.result.scanner is None


async def test_an_unplug_ends_the_probe():
    firmware = Firmware({"/ipp/print": None, "/eSCL/ScannerCapabilities": None})
    async with asked(firmware) as ask:
        asking = ask()
        await asyncio.sleep(0.01)
        for channel in firmware.channels:
            channel.fail(DeviceGone("unplugged"))
        with pytest.raises(DeviceGone):
            await asking


@pytest.mark.parametrize(
    ("capabilities", "paths"),
    [
        (Capability.PRINT, {"/ipp/print"}),
        (Capability.PRINT | Capability.SCAN, {"/ipp/print", "/eSCL/ScannerCapabilities"}),
        (Capability.PRINT | Capability.FAX, {"/ipp/print", "/ipp/faxout"}),
        (None, {"/ipp/print", "/ipp/faxout", "/eSCL/ScannerCapabilities"}),
        (Capability(0), {"/ipp/print", "/ipp/faxout", "/eSCL/ScannerCapabilities"}),
    ],
)
async def test_only_functions_that_the_device_declares_are_asked_for(
    capabilities: Capability | None, paths: set[str]
):
    firmware = Firmware({"/ipp/print": GOOD})
    pool = InterfacePool(firmware.channels, drain_s=0.1)
    questions = Questions(answer_s=1.0, capabilities=capabilities)
    await gather(Query(pool, host="localhost"), DEVICE, questions, port=60000)
    assert {one.target for one in firmware.heard} == paths
    await pool.close()


async def test_questions_have_the_configured_host_and_connection_headers():
    firmware = Firmware({"/ipp/print": GOOD})
    async with asked(firmware, connection="keep-alive") as ask:
        await ask(scans=False, faxes=False)
    assert len(firmware.heard) == 2
    for one in firmware.heard:
        assert one.values("host") == ["localhost:60000"]
        assert one.values("connection") == ["keep-alive"]


async def test_any_answer_proves_that_the_printer_responds():
    firmware = Firmware({"/ipp/print": STARTING})
    pool = InterfacePool(firmware.channels, drain_s=0.05)
    query = Query(pool, host="localhost")
    await query.state(answer_s=1.0)
    firmware.answers["/ipp/print"] = None
    with pytest.raises(PrinterSilent):
        await query.state(answer_s=0.05)
    await pool.join(5)
    await pool.close()


async def test_a_small_question_accepts_no_large_answer():
    firmware = Firmware({"/big": answer(b"x" * 2_000_000)})
    pool = InterfacePool(firmware.channels, drain_s=0.5)
    with pytest.raises(PrinterError, match="more than"):
        await Query(pool, host="localhost").ask(Request("GET", "/big", ()), answer_s=1.0)
    await pool.join(5)
    assert pool.recovered == 0
    await pool.close()


@pytest.mark.parametrize("late", [True, False])
async def test_a_missing_part_may_appear_later_if_a_quirk_says_so(late: bool):
    firmware = Firmware({"/ipp/print": GOOD})
    async with asked(firmware) as ask:
        probed = await ask(faxes=False, parts_come_late=late)
    assert str(probed.missing).startswith("scan: ") is late


UNCLOSED = answer(
    ipp.encode(ipp.Message(0, 1, (ipp.Group(ipp.Tag.PRINTER),)))[:-1]
    + b"\x34\x00\x01m\x00\x00\x4a\x00\x00\x00\x01x\x44\x00\x00\x00\x01y\x03"
)


async def test_what_only_clients_ask_for_is_judged_too():
    found = await probed({"/ipp/print": GOOD, CLIENTS: UNCLOSED}, faxes=False)
    assert found.learned == (("sanitize_ipp", True),)
    assert not (await probed({"/ipp/print": GOOD}, faxes=False)).learned


@pytest.mark.parametrize("said", [None, NOT_FOUND, STARTING, answer(b"x" * 2_000_000)])
async def test_a_printer_that_does_not_answer_what_clients_ask_for_is_announced(said: bytes | None):
    firmware = Firmware({"/ipp/print": GOOD, CLIENTS: said}, interfaces=1)
    async with asked(firmware) as ask:
        found = await ask(scans=False, faxes=False, answer_s=0.2)
    assert found.result.printer
    assert not found.missing


PAGE = answer(b"<!DOCTYPE html><html>Log in</html>", headers=[("Content-Type", "text/html")])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(status="401 No"), "answered 401: the printer asks for a password"),
        (answer(status="403 No"), "answered 403: the printer does not allow it"),
        (answer(status="426 No"), "answered 426: the printer insists on TLS"),
        (PAGE, "cannot be read: an HTML page, not XML"),
    ],
)
async def test_a_scanner_that_is_kept_from_us_is_missing_with_the_reason(said: bytes, words: str):
    answers = {"/ipp/print": GOOD, probe.SCAN_PATH: said}
    found = await probed(answers, capabilities=Capability.PRINT | Capability.SCAN)
    assert lost(found) == {"scan": ("its USB descriptor", f"{probe.SCAN_PATH} {words}")}


async def test_a_printer_that_asks_for_a_password_is_refused_with_that_reason():
    with pytest.raises(ProbeFailed, match="/ipp/print answered 401: the printer asks for a pass"):
        await probed({"/ipp/print": answer(status="401 No")}, scans=False, faxes=False)
