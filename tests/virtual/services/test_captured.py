"""A virtual printer with a captured device's answers: it answers the same, and still works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.captured import captured
from support.usb_client import UsbClient, request

from ippusbd.errors import ConfigError
from ippusbd.model import Capability
from ippusbd.virtual.model_file import DeviceAnswers
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.captured import CapturedDevice
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, PrinterState, Status, Tag

Maker = Callable[..., VirtualPrinter]
Connect = Callable[..., UsbClient]
EVE = captured("cups-ippeveprinter-2.4.2", "Get-Printer-Attributes.ipp")
UNCLEAN = captured("pantum-m7300fdw", "Get-Printer-Attributes.hex")  # breaks the encoding rules
SCANNER = captured("duplex-by-option", "ScannerCapabilities.xml")
RESOLUTION = (
    b"<scan:SupportedResolutions><scan:DiscreteResolutions><scan:DiscreteResolution>"
    b"<scan:XResolution>240</scan:XResolution></scan:DiscreteResolution>"
    b"</scan:DiscreteResolutions></scan:SupportedResolutions>"
)
MOMENTARY = {
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "queued-job-count",
    "printer-up-time",
}
SETTINGS = """<scan:ScanSettings xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03"
 xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm"><pwg:InputSource>Platen</pwg:InputSource>
<scan:DocumentFormatExt>{kind}</scan:DocumentFormatExt><scan:XResolution>{dpi}</scan:XResolution>
</scan:ScanSettings>"""


FAX = captured("fax-mfp-relative-uris", "Get-Printer-Attributes.hex")


def wants(*names: str) -> ipp.Attribute:
    return ipp.attribute("requested-attributes", *(ipp.keyword(one) for one in names))


@pytest.fixture
def client(make_printer: Maker, connect: Connect) -> UsbClient:
    return connect(make_printer(answers=DeviceAnswers(EVE, SCANNER)))


def test_the_attributes_are_those_captured_in_their_order(client: UsbClient):
    original = ipp.decode(EVE)[0]

    message, _ = client.ipp(Operation.GET_PRINTER_ATTRIBUTES, wants("all", "media-col-database"))

    assert (message.code, message.version) == (original.code, original.version)
    theirs = original.group(Tag.PRINTER).attributes
    ours = message.group(Tag.PRINTER).attributes
    assert [one.name for one in ours] == [one.name for one in theirs]
    differ = {a.name for a, b in zip(ours, theirs, strict=True) if a != b}
    assert differ <= MOMENTARY


def test_requested_attributes_select_from_them(client: UsbClient):
    message, _ = client.ipp(
        Operation.GET_PRINTER_ATTRIBUTES, wants("printer-make-and-model", "printer-kind")
    )
    names = [one.name for one in message.group(Tag.PRINTER).attributes]
    assert set(names) <= {"printer-make-and-model", "printer-kind"}
    assert "printer-make-and-model" in names


def test_an_answer_that_breaks_the_rules_is_sent_as_it_was_captured(
    make_printer: Maker, connect: Connect
):
    client = connect(make_printer(answers=DeviceAnswers(UNCLEAN)))
    body = request(Operation.GET_PRINTER_ATTRIBUTES, wants("printer-state"))
    answer = client.ask("POST", "/ipp/print", body, headers=(("Content-Type", "application/ipp"),))
    assert answer.body[8:] == UNCLEAN[8:]
    assert answer.body[4:8] == body[4:8], "the request-id is the client's"


def test_a_job_prints_in_a_format_that_the_device_claims(make_printer: Maker, connect: Connect):
    printer = make_printer(answers=DeviceAnswers(EVE))
    client = connect(printer)
    kind = ipp.attribute("document-format", ipp.mime("image/pwg-raster"))
    message, _ = client.ipp(Operation.PRINT_JOB, kind, document=b"RaS2" * 5000)
    assert message.code == Status.OK
    assert [one.format for one in printer.documents] == ["image/pwg-raster"]

    kind = ipp.attribute("document-format", ipp.mime("application/x-unclaimed"))
    message, _ = client.ipp(Operation.PRINT_JOB, kind, document=b"x")
    assert message.code == Status.DOCUMENT_FORMAT_NOT_SUPPORTED


def test_the_present_state_replaces_the_captured_one(make_printer: Maker, connect: Connect):
    printer = make_printer("paper-out", answers=DeviceAnswers(EVE))
    message, _ = connect(printer).ipp(Operation.GET_PRINTER_ATTRIBUTES)
    assert message.first_integer(Tag.PRINTER, "printer-state") == PrinterState.STOPPED


def test_the_capabilities_are_those_captured_byte_for_byte(client: UsbClient):
    assert client.ask("GET", "/eSCL/ScannerCapabilities").body == SCANNER


def test_capabilities_that_are_not_utf_8_stay_as_they_are(make_printer: Maker, connect: Connect):
    odd = SCANNER.replace(b"Example MFP", b"Ex\xe4mple MFP")
    client = connect(make_printer(answers=DeviceAnswers(xml=odd)))
    assert client.ask("GET", "/eSCL/ScannerCapabilities").body == odd


@pytest.mark.parametrize(
    ("kind", "dpi", "status"),
    [("image/jpeg", 240, 201), ("image/jpeg", 300, 400), ("image/tiff", 240, 400)],
)
def test_a_scan_takes_the_settings_that_the_device_claims(
    make_printer: Maker, connect: Connect, kind: str, dpi: int, status: int
):
    at_240 = SCANNER.replace(b"</scan:ColorModes>", b"</scan:ColorModes>" + RESOLUTION, 1)
    client = connect(make_printer(answers=DeviceAnswers(xml=at_240)))
    answer = client.ask("POST", "/eSCL/ScanJobs", SETTINGS.format(kind=kind, dpi=dpi).encode())
    assert answer.status == status
    if status == 201:
        path = "/" + answer.headers["location"].split("/", 3)[3]
        page = client.ask("GET", f"{path}/NextDocument", deadline_s=20)
        assert page.body.startswith(b"\xff\xd8"), "not a JPEG file"


def test_a_model_without_an_ipp_answer_is_a_scanner(make_printer: Maker, connect: Connect):
    printer = make_printer(answers=DeviceAnswers(xml=SCANNER))
    client = connect(printer)
    assert client.ask("POST", "/ipp/print", b"x").status == 404
    assert client.ask("GET", "/eSCL/ScannerStatus").status == 200
    extra = printer.device.spec.interfaces[0].alternates[1].extra
    assert Capability(extra[6]) == Capability.SCAN | Capability.HTTP


def test_a_model_without_capabilities_is_a_printer(make_printer: Maker, connect: Connect):
    client = connect(make_printer(answers=DeviceAnswers(EVE)))
    assert client.ask("GET", "/eSCL/ScannerCapabilities").status == 404


def test_the_usb_strings_have_the_captured_make_and_model(make_printer: Maker):
    spec = make_printer(answers=DeviceAnswers(xml=SCANNER)).device.spec
    assert (spec.manufacturer, spec.product) == ("Example", "MFP 4711")


def test_a_resolution_of_five_thousand_digits_is_none(make_printer: Maker, connect: Connect):
    absurd = SCANNER.replace(
        b"</scan:ColorModes>", b"</scan:ColorModes>" + RESOLUTION.replace(b"240", b"9" * 5000), 1
    )
    client = connect(make_printer(answers=DeviceAnswers(xml=absurd)))
    assert client.ask("GET", "/eSCL/ScannerStatus").status == 200


def test_what_is_not_an_ipp_answer_is_refused(make_printer: Maker):
    with pytest.raises(ConfigError, match="cannot be decoded"):
        make_printer(answers=DeviceAnswers(ipp=b"HTTP/1.1 404"))


def test_a_printer_that_claims_to_fax_has_a_fax_queue():
    assert Capability.FAX in CapturedDevice(DeviceAnswers(ipp=FAX)).capabilities
    assert Capability.FAX not in CapturedDevice(DeviceAnswers(ipp=EVE)).capabilities
