"""`ippusb://` queues on a CUPS without patches: the backend, the broker and a real cupsd."""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.cups import PrintDesk, print_desk
from support.debian import require
from support.fake_broker import NOT_FOUND, WEB_PAGE, fake_broker, ipp_answer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

URI = "ippusb://1209_0001/ipp/print"
BACKEND = "/usr/lib/cups/backend/ippusb"
DRIVER = "/usr/lib/cups/driver/ippusb"


@pytest.fixture(scope="module")
def cups() -> Iterator[PrintDesk]:
    with print_desk() as desk:
        yield desk


@pytest.fixture
def desk(cups: PrintDesk) -> Iterator[PrintDesk]:
    """With the daemon and one virtual printer."""
    cups.start_daemon()
    yield cups
    cups.desktop.run(["cancel", "-a", "-x"])
    if cups.is_serving:
        cups.stop_daemon()


@pytest.fixture
def raw(desk: PrintDesk) -> str:
    """A queue that changes nothing, so that what arrives can be compared."""
    desk.run("lpadmin", "-p", "raw", "-E", "-v", URI, "-m", "raw")
    return "raw"


def page(folder: Path, text: str) -> tuple[Path, str]:
    """A file and its sha256."""
    path = folder / f"{text}.txt"
    path.write_text(f"{text}\n" * 20)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


# --- finding


def test_lpinfo_lists_the_connected_printers(desk: PrintDesk):
    lines = desk.run("lpinfo", "-l", "-v", "--include-schemes", "ippusb").stdout
    assert f"uri = {URI}?serial=VIRTUAL1" in lines
    assert "class = direct" in lines
    assert "make-and-model = Example VirtualJet 900\n" in lines
    assert "info = Example VirtualJet 900 (USB)" in lines
    assert "MFG:Example;MDL:VirtualJet 900;" in lines


def test_a_device_line_is_what_cups_documents(desk: PrintDesk):
    desk.wait(lambda: desk.desktop.run([BACKEND]).stdout, "a printer in the list")
    (line,) = desk.run(BACKEND).stdout.splitlines()
    assert re.fullmatch(
        r'direct ippusb://1209_0001/ipp/print\?serial=VIRTUAL1 "Example VirtualJet 900"'
        r' "Example VirtualJet 900 \(USB\)" "MFG:Example;[^"]*" ""',
        line,
    )


def test_without_a_broker_the_list_is_empty_and_no_error(cups: PrintDesk):
    done = cups.desktop.run([BACKEND])
    assert (done.returncode, done.stdout) == (0, "")


def test_listing_devices_is_fast(desk: PrintDesk):
    desk.wait(lambda: desk.desktop.run([BACKEND]).stdout, "a printer in the list")
    start = time.monotonic()
    assert "VIRTUAL1" in desk.run(BACKEND).stdout
    assert time.monotonic() - start < 2


def test_a_device_without_a_name_or_without_ipp_spoils_no_list(cups: PrintDesk):
    folder = cups.root / "run/ippusb"
    folder.mkdir(exist_ok=True)
    printers = {
        "1111_0001": ipp_answer(printer_make_and_model=" ", printer_device_id=""),
        "1111_0002": NOT_FOUND,
        "1111_0003": WEB_PAGE,
        "1111_0004": b"",
        "1111_0005": ipp_answer(printer_make_and_model=" Example Good 1 "),
    }
    with fake_broker(folder, printers):
        devices = cups.run("lpinfo", "--include-schemes", "ippusb", "-l", "-v").stdout
        models = cups.run("lpinfo", "--include-schemes", "ippusb", "-m").stdout
    assert re.findall("uri = ippusb://(.{9})", devices) == ["1111_0001", "1111_0005"]
    assert models.splitlines() == [
        "ippusb:1111_0005 Example Good 1, driverless over USB, ippusbd",
        "ippusb:1111_0001 USB printer 1111_0001, driverless over USB, ippusbd",
    ]


# --- printing


def test_a_job_arrives_byte_for_byte(desk: PrintDesk, raw: str):
    path, sha256 = page(desk.folder, "bytes")
    desk.run("lp", "-d", raw, "-o", "raw", str(path))
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")
    desk.wait(lambda: not desk.pending(), "the job's end")


def test_a_queue_with_a_ppd_from_the_driver_prints(desk: PrintDesk):
    models = desk.run("lpinfo", "--include-schemes", "ippusb", "-m").stdout
    assert "ippusb:1209_0001_VIRTUAL1 Example VirtualJet 900, driverless" in models
    desk.run("lpadmin", "-p", "ppd", "-E", "-v", URI, "-m", "ippusb:1209_0001")
    ppd = (desk.root / "run/cups/etc/ppd/ppd.ppd").read_text()
    assert '*cupsFilter2: "application/vnd.cups-pdf application/pdf' in ppd
    path, _ = page(desk.folder, "hello")
    desk.run("lp", "-d", "ppd", "-o", "sides=two-sided-long-edge", str(path))
    desk.wait(desk.printed, "the document")
    (document,) = desk.printed()
    assert document["format"] in ("application/pdf", "image/urf", "image/pwg-raster")


def test_an_everywhere_queue_without_a_ppd_prints(desk: PrintDesk):
    """`-m everywhere`: CUPS cannot resolve the scheme and leaves the queue without a PPD."""
    desk.run("lpadmin", "-p", "every", "-E", "-v", URI, "-m", "everywhere")
    path, sha256 = page(desk.folder, "everywhere")
    desk.run("lp", "-d", "every", str(path))
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")


def test_everywhere_works_with_the_sockets_own_uri(desk: PrintDesk):
    uri = "ipp://%2Frun%2Fippusb%2F1209_0001.sock/ipp/print"
    desk.wait(lambda: (desk.root / "run/ippusb/1209_0001.sock").exists(), "the socket")
    desk.add_everywhere("direct", uri)
    path, _ = page(desk.folder, "direct")
    desk.run("lp", "-d", "direct", str(path))
    desk.wait(desk.printed, "the document")


def test_one_of_two_identical_printers_is_chosen_by_serial(cups: PrintDesk):
    cups.start_daemon("--virtual", "2")
    try:
        uri = f"{URI}?serial=VIRTUAL2"
        cups.run("lpadmin", "-p", "second", "-E", "-v", uri, "-m", "raw")
        path, sha256 = page(cups.folder, "second")
        cups.run("lp", "-d", "second", "-o", "raw", str(path))
        cups.wait(lambda: sha256 in cups.printed_hashes("VIRTUAL2"), "the document")
        assert sha256 not in cups.printed_hashes("VIRTUAL1")
    finally:
        cups.stop_daemon()


def test_options_in_the_uri_reach_cups_ipp_backend(desk: PrintDesk):
    desk.run("lpadmin", "-p", "opts", "-E", "-v", f"{URI}?waitjob=false&serial=VIRTUAL1")
    path, sha256 = page(desk.folder, "options")
    desk.run("lp", "-d", "opts", "-o", "raw", str(path))
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")
    assert "ipp://%2Frun%2Fippusb%2F" in desk.log()
    assert "ipp/print?waitjob=false" in desk.log()


# --- a printer that is away


def test_a_job_for_a_disconnected_printer_waits_and_prints_later(desk: PrintDesk, raw: str):
    desk.unplug()
    path, sha256 = page(desk.folder, "away")
    desk.run("lp", "-d", raw, "-o", "raw", str(path))
    desk.wait(lambda: "Waiting for the printer" in desk.queue_state(raw), "the reason in lpstat")
    assert "offline-report" in desk.run("lpstat", "-l", "-p", raw).stdout
    assert desk.pending()
    desk.ask_virtual("plug")
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")
    desk.wait(lambda: not desk.pending(), "the job's end")
    assert "idle" in desk.queue_state(raw)


def test_a_job_waits_for_a_daemon_that_is_not_running(desk: PrintDesk, raw: str):
    desk.stop_daemon()
    path, sha256 = page(desk.folder, "nodaemon")
    desk.run("lp", "-d", raw, "-o", "raw", str(path))
    desk.wait(lambda: "Waiting for the printer" in desk.queue_state(raw), "the reason in lpstat")
    desk.start_daemon()
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")


def test_a_printer_unplugged_during_a_job_prints_it_after_the_replug(desk: PrintDesk, raw: str):
    path = desk.folder / "big.bin"
    path.write_bytes(bytes(range(256)) * 4096 * 20)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    desk.ask_virtual("personality", name="slow")
    desk.run("lp", "-d", raw, "-o", "raw", str(path))
    desk.wait(lambda: desk.ask_virtual("jobs")["jobs"], "the job at the printer")
    desk.ask_virtual("unplug")
    desk.ask_virtual("personality", name="slow", on=False)
    desk.ask_virtual("plug")
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")
    desk.wait(lambda: not desk.pending(), "the job's end")


def test_a_waiting_job_can_be_cancelled(desk: PrintDesk, raw: str):
    desk.unplug()
    path, _ = page(desk.folder, "cancelled")
    desk.run("lp", "-d", raw, "-o", "raw", str(path))
    desk.wait(lambda: "Waiting for the printer" in desk.queue_state(raw), "the backend waiting")
    desk.run("cancel", "-a", raw)
    desk.wait(lambda: not desk.pending(), "the job's end")
    desk.wait(lambda: "idle" in desk.queue_state(raw), "an idle queue")
    assert "offline" not in desk.run("lpstat", "-l", "-p", raw).stdout


def test_a_class_whose_printers_are_away_waits_and_prints_later(desk: PrintDesk):
    for name in ("here", "there"):
        desk.run("lpadmin", "-p", name, "-E", "-v", URI, "-m", "raw")
        desk.run("lpadmin", "-p", name, "-c", "both")
    desk.run("cupsenable", "both")
    desk.run("cupsaccept", "both")
    desk.unplug()
    path, sha256 = page(desk.folder, "class")
    begun, before = time.monotonic(), backends_started(desk)
    desk.run("lp", "-d", "both", "-o", "raw", str(path))
    desk.wait(lambda: backends_started(desk) >= before + 3, "each printer of the class tried")
    assert time.monotonic() - begun > 8  # five seconds each, as with CUPS' own backends
    desk.ask_virtual("plug")
    desk.wait(lambda: sha256 in desk.printed_hashes(), "the document")
    desk.wait(lambda: not desk.pending(), "the job's end")
    for name in ("here", "there"):
        assert "offline" not in desk.run("lpstat", "-l", "-p", name).stdout


def backends_started(desk: PrintDesk) -> int:
    return desk.log().count(f"Started backend {BACKEND} ")


def test_in_a_class_another_printer_gets_the_job(desk: PrintDesk):
    done = desk.desktop.run(
        [BACKEND, "1", "me", "title", "1", "", "/dev/null"],
        environ={"CLASS": "both", "DEVICE_URI": "ippusb://dead_beef/ipp/print"},
    )
    assert done.returncode == 1  # CUPS_BACKEND_FAILED: try the next one
    assert done.stderr.splitlines()[-2:] == [
        "STATE: -offline-report",
        "INFO: The printer is not available; the class uses another one.",
    ]


@pytest.mark.parametrize("uri", ["ippusb://", "ippusb://xyz/ipp/print", "ipp://1209_0001/"])
def test_a_wrong_uri_stops_the_queue_with_a_reason(desk: PrintDesk, uri: str):
    done = desk.desktop.run(
        [BACKEND, "1", "me", "title", "1", "", "/dev/null"], environ={"DEVICE_URI": uri}
    )
    assert done.returncode == 4  # CUPS_BACKEND_STOP
    assert done.stderr.startswith("ERROR: ")


# --- the backend alone


def test_without_a_list_from_the_broker_the_bus_is_searched(desk: PrintDesk):
    """ChromeOS's own broker knows no list: sysfs says what to ask it for."""
    device = desk.folder / "sysfs" / "1-1"
    device.mkdir(parents=True)
    alternate = bytes([9, 4, 0, 1, 2, 7, 1, 4, 0])
    (device / "descriptors").write_bytes(bytes([18, 1]) + bytes(16) + bytes([9, 2]) + bytes(7))
    for name, text in (("idVendor", "1209"), ("idProduct", "0001")):
        (device / name).write_text(f"{text}\n")
    code = "import runpy,sys;m=runpy.run_path(sys.argv[1]);print(sorted(m['on_the_bus']()))"
    argv = ["env", f"IPPUSB_SYSFS={desk.folder}/sysfs", "python3", "-c", code, BACKEND]
    assert desk.run(*argv).stdout == "[]\n"
    with (device / "descriptors").open("ab") as file:
        file.write(alternate)
    assert desk.run(*argv).stdout == "['1209_0001']\n"


# --- scanning through the socket


def scan(desk: PrintDesk, name: str) -> subprocess.CompletedProcess[str]:
    require("scanimage")
    folder = desk.folder / f"sane-{name}"
    folder.mkdir(exist_ok=True)
    (folder / "dll.conf").write_text("airscan\n")
    (folder / "airscan.conf").write_text(
        f'[devices]\n"usb" = unix://{name}/eSCL, eSCL\n'
        "[options]\ndiscovery = disable\nsocket_dir = /run/ippusb\n"
    )
    output = desk.folder / "page.png"
    output.unlink(missing_ok=True)
    return desk.desktop.run(
        [
            "scanimage",
            *["-d", "airscan:e0:usb", "--format=png", "--resolution=75", "-o"],
            str(output),
        ],
        environ={"SANE_CONFIG_DIR": str(folder)},
    )


def test_scanimage_scans_through_the_printers_unix_socket(desk: PrintDesk):
    desk.wait(lambda: (desk.root / "run/ippusb/1209_0001.sock").exists(), "the socket")
    # sane-airscan 0.99.27 takes no underscore in a URL; the socket has a second name.
    done = scan(desk, "1209-0001.sock")
    assert done.returncode == 0, done.stderr
    picture = (desk.folder / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 1000
