"""The programs a desktop prints and scans with, each as a user would run it."""

from __future__ import annotations

import re
import shutil
from functools import lru_cache
from pathlib import Path

from checks_plug import Plugged, plugged
from documents import FOLDER, arrived, jpeg, must_be, pdf
from PIL import Image
from programs import add_everywhere, run, until
from report import Failed, Group

SUITES = Path("/usr/share/cups/ipptool")
NAME = "Example VirtualJet 900"

GROUP = Group("real clients", plugged)


def _has(*words: str, command: tuple[object, ...], limit_s: float = 60.0) -> str:
    """Output of `command` when it has all the words: discovery takes time."""

    def output() -> str:
        said = run(*command, check=False)
        return said if all(word in said for word in words) else ""

    return until(output, f"{words} in the output of {command}", limit_s)


# --- finding it


@GROUP.check("avahi-browse resolves every service, with the records of the specification")
def avahi_browse(lab: Plugged) -> str:
    found = {}
    for kind in ("_ipp._tcp", "_uscan._tcp", "_http._tcp", "_ipp-usb._tcp"):
        said = _has(f";{kind};", "=;", command=("avahi-browse", "-rptk", kind))
        line = next(one for one in said.splitlines() if one.startswith("=;"))
        found[kind] = line
        if f";{lab.status['port']};" not in line and kind != "_ipp-usb._tcp":
            raise Failed(line)
    for key in (
        '"rp=ipp/print"',
        '"URF=',
        '"UUID=',
        '"Duplex=T"',
        '"usb_MFG=Example"',
        '"air=none"',
    ):
        if key not in found["_ipp._tcp"]:
            raise Failed(f"{key} is missing: {found['_ipp._tcp']}")
    if '"rs=eSCL"' not in found["_uscan._tcp"]:
        raise Failed(found["_uscan._tcp"])
    return ", ".join(found)


@GROUP.check("avahi-browse finds it by the subtypes _universal and _print")
def subtypes(lab: Plugged) -> None:
    for subtype in ("_universal", "_print"):
        kind = f"{subtype}._sub._ipp._tcp"
        _has("VirtualJet", command=("avahi-browse", "-ptk", kind))


@GROUP.check("ippfind finds it")
def ippfind(lab: Plugged) -> str:
    said = _has(f":{lab.status['port']}/ipp/print", command=("ippfind",))
    return said.strip()


@GROUP.check("ippfind --ls asks it for its state")
def ippfind_ls(lab: Plugged) -> str:
    return _has("idle", command=("ippfind", "_ipp._tcp", "--ls")).strip()


@GROUP.check("driverless lists it")
def driverless(lab: Plugged) -> str:
    return _has("VirtualJet", command=("driverless",)).strip().splitlines()[-1]


@GROUP.check("lpinfo -v lists it")
def lpinfo(lab: Plugged) -> str:
    said = _has("VirtualJet", command=("lpinfo", "-v"))
    return next(line for line in said.splitlines() if "VirtualJet" in line and "._ipp" in line)


# --- printing


def _uri(lab: Plugged) -> str:
    return f"ipp://localhost:{lab.status['port']}/ipp/print"


def _print(lab: Plugged, queue: str, path: Path, *options: str) -> dict[str, object]:
    before = len(lab.printers.documents())
    run("lp", "-d", queue, *options, path)
    return arrived(lab.printers.documents, before)


@GROUP.check("lpadmin -m everywhere makes a queue")
def everywhere_queue(lab: Plugged) -> None:
    add_everywhere("usbqueue", _uri(lab))


@GROUP.check("lp to that queue: a photo arrives byte by byte")
def print_photo(lab: Plugged) -> str:
    return must_be(_print(lab, "usbqueue", jpeg()), jpeg())


@GROUP.check("lp to that queue: a PDF through CUPS' filters arrives with its pages")
def print_pdf(lab: Plugged) -> str:
    document = _print(lab, "usbqueue", pdf(), "-o", "sides=two-sided-long-edge")
    return f"{document['size']} bytes of {document['format']}"


@GROUP.check("lp -o raw: a PDF arrives byte by byte")
def print_raw(lab: Plugged) -> str:
    return must_be(_print(lab, "usbqueue", pdf(), "-o", "raw"), pdf())


@GROUP.check("a temporary queue of lpstat -e prints without being set up")
def temporary_queue(lab: Plugged) -> str:
    said = _has("VirtualJet", command=("lpstat", "-e"))
    queue = next(line for line in said.split() if "VirtualJet" in line)
    return f"{queue}: {must_be(_print(lab, queue, jpeg()), jpeg())}"


@GROUP.check("ten jobs at once all arrive, each whole")
def many_jobs(lab: Plugged) -> None:
    before = len(lab.printers.documents())
    for _ in range(10):
        run("lp", "-d", "usbqueue", jpeg())

    def whole() -> list[dict[str, object]]:
        return [one for one in lab.printers.documents()[before:] if one["completed"]]

    until(lambda: len(whole()) == 10, "10 documents", 240)
    for document in whole():
        must_be(document, jpeg())


# --- ipptool


def _suite(lab: Plugged, suite: Path, *options: str, path: Path | None = None) -> str:
    """A stock suite: every test in it passes. It returns 0 although a file cannot be read."""
    more = ("-f", path) if path else ()
    said = run("ipptool", "-tI", *options, *more, _uri(lab), suite, limit_s=180)
    passed, failed = said.count("[PASS]"), said.count("[FAIL]")
    if failed or not passed or "cannot be read" in said:
        raise Failed(said)
    return f"{passed} passed"


def _suite_check(sentence: str, name: str, *options: str, document: bool = False) -> None:
    @GROUP.check(f"ipptool {sentence}")
    def check(lab: Plugged) -> str:
        return _suite(lab, SUITES / name, *options, path=jpeg() if document else None)


_suite_check("get-printer-attributes", "get-printer-attributes.test")
_suite_check("validate-job", "validate-job.test", document=True)
_suite_check("print-job with a length", "print-job.test", "-L", document=True)
_suite_check("print-job chunked", "print-job.test", "-C", document=True)
_suite_check("create-job and send-document", "create-job.test", document=True)
_suite_check("get-jobs", "get-jobs.test")
_suite_check("get-completed-jobs", "get-completed-jobs.test")


@GROUP.check("ipptool suite IPP Everywhere, which has IPP/1.1 and IPP/2.0 in it")
def everywhere_suite(lab: Plugged) -> str:
    """Without the tests that print sample files which Debian does not ship."""
    folder = Path("/run/suites")
    shutil.copytree(SUITES, folder, dirs_exist_ok=True)
    suite = folder / "ipp-everywhere.test"
    suite.write_text(re.sub(r"^\{[^}]*FILE pwg-raster[^}]*^\}", "", suite.read_text(), flags=re.M))
    return _suite(lab, suite, path=jpeg())


@GROUP.check("ipptool over IPv6")
def ipptool_v6(lab: Plugged) -> None:
    uri = f"ipp://[::1]:{lab.status['port']}/ipp/print"
    run("ipptool", "-t", uri, SUITES / "get-printer-attributes.test")


# --- scanning


@GROUP.check("airscan-discover finds the scanner")
def airscan_discover(lab: Plugged) -> str:
    said = _has("VirtualJet", "eSCL", command=("airscan-discover",))
    return next(line for line in said.splitlines() if "VirtualJet" in line).strip()


@GROUP.check("scanimage -L lists the scanner")
def scanimage_list(lab: Plugged) -> str:
    return _device()


@lru_cache
def _device() -> str:
    """Its name for scanimage: that of sane-airscan, because sane-escl has one too."""
    said = _has("airscan:", command=("scanimage", "-L"), limit_s=180)
    match = re.search(r"`(airscan:[^']*)'", said)
    if match is None:
        raise Failed(said)
    return match[1]


def _scan(mode: str, source: str, *options: object) -> list[Image.Image]:
    folder = FOLDER / "scans"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    run(
        *("scanimage", "-d", _device(), "--mode", mode, "--source", source),
        *("--resolution", "75", "--format=png", *options),
        limit_s=240,
    )
    pages = sorted(folder.iterdir(), key=lambda page: int(re.sub(r"\D", "", page.stem) or 0))
    return [Image.open(page) for page in pages]


def _one_page(mode: str, pixel: str) -> str:
    (page,) = _scan(mode, "Flatbed", "-o", FOLDER / "scans/page.png")
    page.load()
    if page.mode != pixel or min(page.size) < 500:
        raise Failed(f"a picture of mode {page.mode} and size {page.size}")
    if len(set(page.resize((40, 40)).getdata())) < 3:
        raise Failed("the picture is empty")
    return f"{page.size[0]} x {page.size[1]} {page.mode}"


@GROUP.check("scanimage: platen, colour")
def platen_colour(lab: Plugged) -> str:
    return _one_page("Color", "RGB")


@GROUP.check("scanimage: platen, grey")
def platen_grey(lab: Plugged) -> str:
    return _one_page("Gray", "L")


def _pages(lab: Plugged, mode: str) -> str:
    lab.printers.ask("feeder", pages=3)
    pages = _scan(mode, "ADF", f"--batch={FOLDER}/scans/page%d.png")
    for page in pages:
        page.load()
    if len(pages) != 3:
        raise Failed(f"{len(pages)} pages instead of 3")
    return f"{len(pages)} pages of {pages[0].size} {pages[0].mode}"


@GROUP.check("scanimage --batch: the feeder's pages, colour")
def adf_colour(lab: Plugged) -> str:
    return _pages(lab, "Color")


@GROUP.check("scanimage --batch: the feeder's pages, grey")
def adf_grey(lab: Plugged) -> str:
    return _pages(lab, "Gray")
