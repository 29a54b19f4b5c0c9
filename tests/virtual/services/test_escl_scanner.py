"""The scanner returns the pictures that were requested."""

from __future__ import annotations

import io
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.usb_client import Answer, UsbClient

from ippusbd.virtual.printer import VirtualPrinter

SCAN = "{http://schemas.hp.com/imaging/escl/2011/05/03}"
PWG = "{http://www.pwg.org/schemas/2010/12/sm}"


def settings(**texts: object) -> bytes:
    fields = "".join(f"<scan:{name}>{value}</scan:{name}>" for name, value in texts.items())
    return (
        '<?xml version="1.0"?><scan:ScanSettings '
        'xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" '
        f'xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm">{fields}</scan:ScanSettings>'
    ).encode()


def start(client: UsbClient, **texts: object) -> Answer:
    return client.ask("POST", "/eSCL/ScanJobs", settings(**texts))


def job_path(answer: Answer) -> str:
    assert answer.status == 201
    location = answer.headers["location"]
    assert location.startswith("http://localhost:60000/eSCL/ScanJobs/")
    return location.removeprefix("http://localhost:60000")


def scan(client: UsbClient, **texts: object) -> Image.Image:
    path = job_path(start(client, **texts))
    page = client.ask(path=f"{path}/NextDocument")
    assert page.status == 200
    return Image.open(io.BytesIO(page.body))


def test_capabilities_are_xml_with_platen_and_feeder(client: UsbClient) -> None:
    answer = client.ask(path="/eSCL/ScannerCapabilities")
    root = ElementTree.fromstring(answer.body)

    assert answer.headers["content-type"] == "text/xml"
    assert root.findtext(f"{PWG}MakeAndModel") == "Example VirtualJet 900"
    assert root.find(f"{SCAN}Platen/{SCAN}PlatenInputCaps") is not None
    assert root.find(f"{SCAN}Adf/{SCAN}AdfDuplexInputCaps") is not None
    assert root.findtext(f"{SCAN}AdminURI") == "http://localhost:60000/"


@pytest.mark.parametrize(
    ("mode", "media", "form", "kind"),
    [
        ("RGB24", "image/jpeg", "JPEG", "RGB"),
        ("Grayscale8", "image/jpeg", "JPEG", "L"),
        ("BlackAndWhite1", "image/jpeg", "JPEG", "L"),
        ("RGB24", "image/png", "PNG", "RGB"),
        ("Grayscale8", "image/png", "PNG", "L"),
        ("BlackAndWhite1", "image/png", "PNG", "1"),
    ],
)
def test_pictures_have_the_requested_format_mode_and_size(
    client: UsbClient, mode: str, media: str, form: str, kind: str
) -> None:
    image = scan(
        client,
        ColorMode=mode,
        DocumentFormatExt=media,
        XResolution=150,
        YResolution=150,
        Width=600,
        Height=300,
    )
    image.load()

    assert (image.format, image.mode, image.size) == (form, kind, (300, 150))


def test_a_region_is_the_requested_part_of_the_sheet(client: UsbClient) -> None:
    corners = {}
    for name, x, y in (("red", 0, 0), ("lime", 2400, 0), ("blue", 0, 3360)):
        image = scan(
            client,
            DocumentFormatExt="image/png",
            XResolution=75,
            YResolution=75,
            XOffset=x,
            YOffset=y,
            Width=100,
            Height=100,
        )
        corners[name] = image.getpixel((12, 12))

    assert corners == {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}


def test_a_pdf_is_a_pdf(client: UsbClient) -> None:
    path = job_path(start(client, DocumentFormatExt="application/pdf", XResolution=75))
    page = client.ask(path=f"{path}/NextDocument")

    assert page.headers["content-type"] == "application/pdf"
    assert page.body.startswith(b"%PDF-")


def test_the_platen_has_one_page(client: UsbClient) -> None:
    path = job_path(start(client, InputSource="Platen", XResolution=75))

    statuses = [client.ask(path=f"{path}/NextDocument").status for _ in range(2)]
    assert statuses == [200, 404]


@pytest.mark.parametrize(("duplex", "pages"), [("false", 3), ("true", 6)])
def test_the_feeder_has_several_pages_that_differ(
    client: UsbClient, printer: VirtualPrinter, duplex: str, pages: int
) -> None:
    printer.scanner.adf_pages = 3
    path = job_path(start(client, InputSource="Feeder", Duplex=duplex, XResolution=75))
    seen = set()
    while (page := client.ask(path=f"{path}/NextDocument")).status == 200:
        seen.add(page.body)

    assert page.status == 404
    assert len(seen) == pages


def test_an_empty_feeder_starts_no_job(client: UsbClient, printer: VirtualPrinter) -> None:
    printer.scanner.adf_pages = 0

    assert start(client, InputSource="Feeder").status == 409
    status = client.ask(path="/eSCL/ScannerStatus")
    assert b"ScannerAdfEmpty" in status.body


def test_status_lists_the_jobs(client: UsbClient) -> None:
    path = job_path(start(client, InputSource="Feeder", XResolution=75))
    client.ask(path=f"{path}/NextDocument")
    root = ElementTree.fromstring(client.ask(path="/eSCL/ScannerStatus").body)

    assert root.findtext(f"{PWG}State") == "Processing"
    job = root.find(f"{SCAN}Jobs/{SCAN}JobInfo")
    assert job is not None
    assert job.findtext(f"{PWG}JobUri") == path
    assert job.findtext(f"{PWG}ImagesCompleted") == "1"
    assert job.findtext(f"{PWG}JobState") == "Processing"


def test_the_glass_is_busy_until_a_scan_is_deleted(client: UsbClient) -> None:
    path = job_path(start(client, InputSource="Feeder", XResolution=75))
    busy = start(client)
    assert busy.status == 503
    assert busy.headers["retry-after"] == "1"

    assert client.ask("DELETE", path).status == 200
    assert client.ask(path=f"{path}/NextDocument").status == 404
    assert start(client).status == 201


def test_an_abandoned_scan_times_out_and_frees_the_glass(
    make_printer: Callable[..., VirtualPrinter], connect: Callable[..., UsbClient]
) -> None:
    now = [0.0]
    client = connect(make_printer(clock=lambda: now[0]))
    job_path(start(client))
    now[0] = 11.0

    assert start(client).status == 201
    assert b"Aborted" in client.ask(path="/eSCL/ScannerStatus").body


def test_image_info_has_the_size_of_the_last_page(client: UsbClient) -> None:
    path = job_path(start(client, XResolution=75, YResolution=75, Width=400, Height=200))
    assert client.ask(path=f"{path}/ScanImageInfo").status == 404
    client.ask(path=f"{path}/NextDocument")
    root = ElementTree.fromstring(client.ask(path=f"{path}/ScanImageInfo").body)

    assert root.findtext(f"{SCAN}ActualWidth") == "100"
    assert root.findtext(f"{SCAN}ActualBytesPerLine") == "300"


@pytest.mark.parametrize(
    "body",
    [
        b"no xml",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        settings(XResolution=1234),
        settings(ColorMode="RGB48"),
        settings(DocumentFormatExt="image/tiff"),
        settings(Width="-5"),
        settings(Height="9" * 30),
    ],
)
def test_unsupported_settings_are_refused(client: UsbClient, body: bytes) -> None:
    assert client.ask("POST", "/eSCL/ScanJobs", body).status == 400


def test_unknown_resources_are_404_and_wrong_methods_405(client: UsbClient) -> None:
    path = job_path(start(client))

    assert client.ask(path="/eSCL/Nothing").status == 404
    assert client.ask(path="/eSCL/ScanJobs/unknown/NextDocument").status == 404
    assert client.ask("POST", f"{path}/NextDocument", b"x").status == 405
