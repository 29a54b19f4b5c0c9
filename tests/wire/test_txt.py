"""The records are those of the table, whatever a printer said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captured import captured
from support.facts_strategies import probes

from ippusbd.model import (
    BusAddress,
    DeviceFacts,
    PrinterFacts,
    ProbeResult,
    ScannerFacts,
    ServiceSet,
    UsbId,
)
from ippusbd.wire import escl, ipp, ipp_facts, txt

PORT = 60001
UUID = "00112233-4455-6677-8899-aabbccddeeff"
DEVICE = DeviceFacts(
    UsbId(0x04F9, 0x0501),
    BusAddress(1, 9, "1-2.10"),
    "Brother",
    "MFC-L8390CDW series",
    "E82414G4N583607",
)
PRINTER = PrinterFacts(dns_sd_name="Office", make_and_model="Example MFP 4711", uuid=UUID)
SCANNER = ScannerFacts(sources=("platen",))


def table(services: ServiceSet) -> list[tuple[str, str, int, tuple[str, ...]]]:
    records = (*services.records, *services.fixed)
    return [(r.name, r.type, r.port, r.subtypes) for r in records]


def txt_of(probe: ProbeResult, service: str) -> dict[str, str]:
    services = txt.services(probe, port=PORT)
    [found] = [dict(r.txt) for r in services.records if r.type == service]
    return found


def ipp_txt(printer: PrinterFacts, *, device: DeviceFacts = DEVICE, **more) -> dict[str, str]:
    return txt_of(ProbeResult(device, printer, more.pop("scanner", None), **more), "_ipp._tcp")


def scan_txt(scanner: ScannerFacts, printer: PrinterFacts | None = None) -> dict[str, str]:
    return txt_of(ProbeResult(DEVICE, printer, scanner), "_uscan._tcp")


# --- which records


def test_a_multifunction_printer_has_the_records_of_the_table():
    probe = ProbeResult(DEVICE, PRINTER, SCANNER)
    assert table(txt.services(probe, port=PORT)) == [
        ("Office (USB)", "_ipp._tcp", PORT, ("_universal", "_print")),
        ("Office (USB)", "_uscan._tcp", PORT, ()),
        ("Office (USB)", "_http._tcp", PORT, ()),
        ("010A", "_ipp-usb._tcp", PORT, ()),
    ]


@pytest.mark.parametrize("host", ["localhost", "[::1]", "127.0.0.2"])
def test_urls_lead_to_the_host_that_is_served(host: str):
    probe = ProbeResult(DEVICE, PRINTER, SCANNER)
    for record in txt.services(probe, port=PORT, host=host).records:
        urls = [value for _, value in record.txt if value.startswith("http")]
        assert all(url.startswith(f"http://{host}:{PORT}/") for url in urls)
        assert urls or record.type == "_http._tcp"


def test_a_scanner_alone_has_no_record_of_a_printer():
    records = txt.services(ProbeResult(DEVICE, None, SCANNER), port=PORT).records
    assert [r.type for r in records] == ["_uscan._tcp", "_http._tcp"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (BusAddress(3, 7, "3-1"), "0301"),
        (BusAddress(17, 7, "17-1.2.11"), "110B"),
        (BusAddress(1, 42), "012A"),  # no port known: the address tells devices apart
    ],
)
def test_legacy_drivers_look_for_bus_and_port(address, name):
    device = replace(DEVICE, address=address)
    [fixed] = txt.services(ProbeResult(device, PRINTER, None), port=PORT).fixed
    assert (fixed.name, fixed.type, fixed.txt) == (name, "_ipp-usb._tcp", ())


# --- TXT of a real story


def test_the_record_of_a_known_printer_is_what_its_peer_announces():
    # The values are those of OpenPrinting/ipp-usb issue 109, from the model's own answer.
    answer = captured("brother-mfc-l8390cdw", "Get-Printer-Attributes.hex")
    facts = ipp_facts.facts(ipp.decode(answer, tolerant=True)[0])
    assert ipp_txt(facts, fax=True, scanner=SCANNER) == {
        "txtvers": "1",
        "qtotal": "1",
        "priority": "50",
        "rp": "ipp/print",
        "air": "none",
        "ty": "Brother MFC-L8390CDW series",
        "product": "(Brother MFC-L8390CDW series)",
        "note": "Second floor",
        "pdl": "application/octet-stream,image/urf,image/jpeg,image/pwg-raster,application/pdf",
        "URF": "SRGB24,W8,CP1",
        "UUID": txt.derived_uuid(DEVICE),
        "Color": "T",
        "Duplex": "T",
        "Scan": "T",
        "Fax": "T",
        "rfo": "ipp/faxout",
        "PaperMax": "legal-A4",
        "adminurl": "http://localhost:60001/net/net/airprint.html",
        "usb_MFG": "Brother",
        "usb_MDL": "MFC-L8390CDW series",
        "usb_CMD": "PJL,PCL,PCLXL,URF",
        "usb_SER": "E82414G4N583607",
        "usb_HWID": "04f9&0501",
    }


def test_the_record_of_a_scanner_names_everything_a_client_chooses_by():
    facts = escl.capabilities(captured("duplex-by-option", "ScannerCapabilities.xml"))
    assert scan_txt(facts, PRINTER) == {
        "txtvers": "1",
        "vers": "2.63",
        "rs": "eSCL",
        "ty": "Example MFP 4711",
        "pdl": "image/jpeg,application/pdf,image/png",
        "cs": "color,grayscale,binary",
        "is": "platen,adf",
        "duplex": "T",
        "UUID": UUID,
        "adminurl": "http://localhost:60001/#scan",
        "representation": "http://localhost:60001/icons/scanner.png",
        "usb_SER": "E82414G4N583607",
        "usb_HWID": "04f9&0501",
    }


# --- single keys


def test_what_a_printer_does_not_say_is_left_out():
    assert ipp_txt(PrinterFacts(), device=replace(DEVICE, manufacturer="", product="")) == {
        "txtvers": "1",
        "qtotal": "1",
        "priority": "50",
        "rp": "ipp/print",
        "air": "none",
        "note": "",
        "UUID": txt.derived_uuid(DEVICE),
        "Scan": "F",
        "Fax": "F",
        "adminurl": "http://localhost:60001/",
        "usb_SER": "E82414G4N583607",
        "usb_HWID": "04f9&0501",
    }


def test_a_scanner_that_says_little_gets_the_oldest_version_and_its_printers_names():
    little = scan_txt(SCANNER, PRINTER)
    assert little["vers"] == "2.0"
    assert little["ty"] == "Example MFP 4711"
    assert little["UUID"] == UUID
    assert "representation" not in little
    assert scan_txt(SCANNER)["ty"] == "Brother MFC-L8390CDW series"


def test_a_single_colour_printer_says_so():
    said = ipp_txt(
        PrinterFacts(color=False, duplex=False, mopria="2.1", kind=("document", "label"))
    )
    assert (said["Color"], said["Duplex"]) == ("F", "F")
    assert (said["mopria-certified"], said["kind"]) == ("2.1", "document,label")


def test_the_device_id_of_usb_stands_in_for_the_one_of_ipp():
    device = replace(DEVICE, device_id="MANUFACTURER:HP;MODEL:LJ;COMMAND SET:PCL;")
    said = ipp_txt(PRINTER, device=device)
    assert (said["usb_MFG"], said["usb_MDL"], said["usb_CMD"]) == ("HP", "LJ", "PCL")
    said = ipp_txt(replace(PRINTER, device_id="MFG:Canon;"), device=device)
    assert said["usb_MFG"] == "Canon"
    assert "usb_MDL" not in said


@pytest.mark.parametrize(
    ("scanner", "printed", "usb", "model"),
    [
        ("Example 4711 series", "Example 4711", "Example Jet", "Example 4711 series"),
        ("xxxx", "Example 4711", "Example Jet", "Example 4711"),
        ("pst_p04f", "", "Example Jet", "Example Jet"),
        ("p04f_jet", "", "Example Jet", "p04f_jet"),
        ("", "", "Example Jet", "Example Jet"),
        ("xxxx", "", "", "xxxx"),  # there is nothing better
    ],
)
def test_a_scanner_is_not_called_by_a_code_name_of_its_firmware(
    scanner: str, printed: str, usb: str, model: str
):
    probe = ProbeResult(
        replace(DEVICE, manufacturer="", product=usb),
        PrinterFacts(make_and_model=printed),
        replace(SCANNER, make_and_model=scanner),
    )
    assert txt_of(probe, "_uscan._tcp")["ty"] == model


def test_a_scanner_without_links_has_those_of_the_printer():
    printer = PrinterFacts(more_info="http://192.0.2.7/hp/", icon="http://192.0.2.7/icon.png")
    mute = replace(SCANNER, admin_uri="", icon_uri="")
    said = scan_txt(mute, printer)
    assert said["adminurl"] == "http://localhost:60001/hp/"
    assert said["representation"] == "http://localhost:60001/icon.png"
    said = scan_txt(replace(mute, admin_uri="/scan", icon_uri="/scan.png"), printer)
    assert said["adminurl"] == "http://localhost:60001/scan"
    assert said["representation"] == "http://localhost:60001/scan.png"
    assert "representation" not in scan_txt(mute)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://192.0.2.7:8080/a/b?c=d#e", "http://localhost:60001/a/b?c=d#e"),
        ("https://EPSON123.local./PRESENTATION", "http://localhost:60001/PRESENTATION"),
        ("http://h//evil.example/", "http://localhost:60001/evil.example/"),
        ("http://h/with blank/ü", "http://localhost:60001/with%20blank/%C3%BC"),
        ("http://h/100%25", "http://localhost:60001/100%25"),
        ("ftp://h/x", "http://localhost:60001/"),
        ("javascript:alert(1)", "http://localhost:60001/"),
        ("http://[::1", "http://localhost:60001/"),
        ("http://h/" + "x" * 300, "http://localhost:60001/"),
        ("none", "http://localhost:60001/"),
        ("", "http://localhost:60001/"),
        ("/icons/../a.png", "http://localhost:60001/a.png"),
        ("../info", "http://localhost:60001/info"),  # below /eSCL/ScannerCapabilities
        ("//192.0.2.7/a", "http://localhost:60001/a"),
        ("http://[fe80::1]/a", "http://localhost:60001/a"),
        ("icons/a.png", "http://localhost:60001/eSCL/icons/a.png"),
        ("http://printer.office.example.org/a", "http://localhost:60001/a"),
        ("http://brother.local/a", "http://localhost:60001/a"),
        ("http://brother.office.example.org/a", "http://localhost:60001/a"),
        ("http://brother.com/a", "http://localhost:60001/"),
        ("http://www.example.com/support", "http://localhost:60001/"),  # the maker's site
        ("//www.example.com/support", "http://localhost:60001/"),
        ("https://support.brother.co.jp/a", "http://localhost:60001/"),
    ],
)
def test_urls_name_localhost_and_our_port(url, local):
    assert ipp_txt(PrinterFacts(more_info=url))["adminurl"] == local
    assert scan_txt(replace(SCANNER, icon_uri=url)).get("representation", f"{local[:22]}/") == local


# --- 2 KB of formats (HP M478f)

LONG = tuple(f"application/vnd.example-{n:03}" for n in range(70))


def test_an_over_long_pdl_keeps_its_first_entries():
    kept = ipp_txt(PrinterFacts(pdl=("application/pdf", *LONG)))["pdl"].split(",")
    assert kept == ["application/pdf", *LONG[: len(kept) - 1]]
    assert 255 - len("pdl=,") - len(LONG[0]) < len(",".join(kept)) <= 251


def test_formats_that_cups_looks_for_are_not_cut_off():
    pdl = (*LONG, "image/urf", "image/PWG-raster", "application/pdf")
    kept = ipp_txt(PrinterFacts(pdl=pdl))["pdl"].split(",")
    assert kept[:3] == ["image/urf", "image/PWG-raster", "application/pdf"]
    assert kept[3:] == list(LONG[: len(kept) - 3])


def test_formats_that_fit_stay_in_the_printers_order():
    pdl = ("application/octet-stream", "image/jpeg", "image/urf")
    assert ipp_txt(PrinterFacts(pdl=pdl))["pdl"] == ",".join(pdl)


def test_several_formats_in_one_value_are_several():
    pdl = ("application/pdf, image/urf", "image/urf", "x" * 252)
    assert ipp_txt(PrinterFacts(pdl=pdl))["pdl"] == "application/pdf,image/urf"


# --- identity for ever


def test_a_derived_uuid_never_changes():
    # Clients know printers by these: a change of this test breaks their queues.
    assert txt.derived_uuid(DEVICE) == "6c36dd9c-a63c-58a9-be0f-5f2ac7b69fa1"
    moved = replace(DEVICE, address=BusAddress(2, 1, "2-1"), product="renamed")
    assert txt.derived_uuid(moved) == txt.derived_uuid(DEVICE)


def test_without_a_serial_the_uuid_is_that_of_the_plug():
    first = replace(DEVICE, serial="")
    replugged = replace(first, address=BusAddress(1, 77, "1-2.10"))
    beside = replace(first, address=BusAddress(1, 78, "1-2.11"))
    unknown = replace(first, address=BusAddress(1, 9))
    assert (
        txt.derived_uuid(first)
        == txt.derived_uuid(replugged)
        == "3babf5bc-8617-507a-89cb-bab573408eca"
    )
    assert len({txt.derived_uuid(d) for d in (first, beside, unknown)}) == 3


# --- for all


@given(probes, st.integers(1, 65535))
@settings(max_examples=200)
def test_any_facts_make_records_within_the_limits(probe, port):
    services = txt.services(probe, port=port)
    assert services == txt.services(probe, port=port)
    for record in (*services.records, *services.fixed):
        assert 1 <= len(record.name.encode()) <= 63
        assert record.name.isprintable()
        assert record.name == record.name.strip()
        keys = [key for key, _ in record.txt]
        assert len({key.lower() for key in keys}) == len(keys)
        assert "printer-type" not in keys
        assert not record.txt or record.txt[0] == ("txtvers", "1")
        for key, value in record.txt:
            assert len(f"{key}={value}".encode()) <= 255
            assert value.isprintable()
            assert (
                not value.startswith("http:")
                or value.startswith(f"http://localhost:{port}/")
                or (key not in ("adminurl", "representation"))
            )
