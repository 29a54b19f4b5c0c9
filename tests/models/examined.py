"""A captured model before real clients: what CUPS, Avahi and SANE make of it, as plain values.

Each model is served by a daemon of its own, with its own state, at a desk whose cupsd stays.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from support.avahi_browse import ITEM, plain
from support.captured import captured
from support.cups import IPPUSBD
from support.desktop import DesktopError
from support.office import CONFIG, Office, pdf

from ippusbd.virtual.model_file import DeviceAnswers, load

DATA = Path(__file__).parents[1] / "data"
PPD_LINES = ("ModelName", "ColorDevice", "DefaultPageSize", "DefaultResolution", "DefaultDuplex")
TXT_KEYS = (
    "ty",
    "pdl",
    "Color",
    "Duplex",
    "Scan",
    "Fax",
    "PaperMax",
    "kind",
    "rp",
    "mopria-certified",
    "adminurl",
)
SCAN_KEYS = ("ty", "pdl", "cs", "is", "duplex", "rs", "vers", "adminurl", "representation")
Values = dict[str, str]


def models(folder: Path) -> dict[str, DeviceAnswers]:
    """Each captured answer in the folder by name; `.hex` files are read as in tests/data."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            found[path.name] = DeviceAnswers(
                *(_first(path, kind) for kind in ("Get-Printer-Attributes", "ScannerCapabilities"))
            )
        elif path.suffix in (".ipp", ".xml", ".model"):
            found[path.stem] = load(path)
    return {name: answers for name, answers in found.items() if answers != DeviceAnswers()}


def _first(folder: Path, stem: str) -> bytes:
    return next(
        (captured(str(folder.resolve()), one.name) for one in folder.glob(f"{stem}.*")), b""
    )


@contextmanager
def served(office: Office, name: str, answers: DeviceAnswers) -> Iterator[None]:
    """`ippusbd run --virtual --model-file`, with nothing known from earlier."""
    folder = office.folder / "model"
    folder.mkdir()
    (folder / "it.model").write_bytes(answers.packed())
    shutil.rmtree(office.store, ignore_errors=True)
    state = f"/run/ippusbd/state-{name}"
    config = CONFIG.replace("/run/ippusbd/state", state)
    (office.folder / "ippusbd.conf").write_text(config)
    daemon = office.desktop.popen(
        [
            *(str(IPPUSBD), "run", "--virtual", "--config", str(office.folder / "ippusbd.conf")),
            *("--virtual-control", str(office.control), "--store", str(office.store)),
            *("--model-file", str(folder / "it.model")),
        ]
    )
    try:
        control = office.root / "run/ippusbd/control.sock"
        office.wait(lambda: control.exists() and _is_announced(office), f"{name} announced", 40)
        yield
    finally:
        office.desktop.stop(daemon)
        office.wait(lambda: not control.exists(), "the daemon's end")
        shutil.rmtree(folder)


def _is_announced(office: Office) -> bool:
    printers = office.status()["printers"]
    return bool(printers) and printers[0]["announced"] == "established"


def examine(office: Office, name: str, answers: DeviceAnswers) -> Values:
    """What each client got; a value that begins with FAILED says what went wrong."""
    values: Values = {}
    steps: list[tuple[str, Callable[[Office], Values]]] = []
    if answers.ipp:
        steps += [("txt", _txt), ("driverless", _driverless), ("printed", _everywhere)]
    if answers.xml:
        steps += [("scan.txt", _scan_txt), ("scanned", _scan)]
    try:
        with served(office, name, answers):
            for key, step in steps:
                try:
                    values |= step(office)
                except (AssertionError, DesktopError) as exc:
                    values[key] = f"FAILED: {_short(exc)}"
    except DesktopError as exc:
        values["served"] = f"FAILED: {_short(exc)}"
    return values


def _run(office: Office, *argv: str) -> str:
    """Standard output of a program; AssertionError has the last words of one that fails."""
    done = office.desktop.run(argv, timeout_s=120)
    words = " / ".join(done.stderr.splitlines()[-3:])
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}: {words}"
    return done.stdout


def _short(exc: Exception) -> str:
    return " ".join(str(exc).split())[:300]


def _records(office: Office, service_type: str) -> Values:
    for line in office.browsed(service_type).splitlines():
        if line.startswith("="):
            items = (one.partition("=") for one in ITEM.findall(line))
            return {"name": plain(line.split(";")[3]), **{key: value for key, _, value in items}}
    raise AssertionError(f"no {service_type} announced")


def _txt(office: Office) -> Values:
    found = _records(office, "_ipp._tcp")
    return {f"ipp.{key}": found[key] for key in ("name", *TXT_KEYS) if key in found}


def _scan_txt(office: Office) -> Values:
    found = _records(office, "_uscan._tcp")
    return {f"scan.{key}": found[key] for key in ("name", *SCAN_KEYS) if key in found}


def _driverless(office: Office) -> Values:
    ppd = _run(office, "driverless", "cat", office.url("IPv4", "/ipp/print", "ipp"))
    found = dict(re.findall(r'^\*(\w+): *"?([^"\n]*)', ppd, re.MULTILINE))
    sizes = set(re.findall(r"^\*PageSize ([^/:]+)", ppd, re.MULTILINE))
    assert sizes, "a PPD without page sizes"
    lines = {f"ppd.{key}": found[key] for key in PPD_LINES if key in found}
    return {**lines, "ppd.sizes": str(len(sizes))}


def _everywhere(office: Office) -> Values:
    uri = office.url("IPv4", "/ipp/print", "ipp")
    found = "T"
    try:
        office.add_everywhere("model", uri, timeout_s=10)
    except DesktopError:
        found = "FAILED: the queue has no options"  # cupsd prints raw then
    path = office.folder / "document.pdf"
    path.write_bytes(pdf("A page"))
    try:
        document, _ = office.print_file("model", path)
    finally:
        office.run("cancel", "-a", "model")
        office.run("lpadmin", "-x", "model")
    return {"everywhere": found, "printed": str(document["format"])}


def _scan(office: Office) -> Values:
    path = office.folder / "page.png"
    device = f"airscan:escl:model:{office.url('IPv4', '/eSCL/')}"
    area = ("-x", "50", "-y", "50")  # millimetres: the largest feeders take sheets of metres
    _run(office, "scanimage", "-d", device, *area, "--format=png", "-o", str(path))
    with Image.open(path) as page:
        page.load()
        return {"scanned": f"{page.mode} {page.width}x{page.height}"}
