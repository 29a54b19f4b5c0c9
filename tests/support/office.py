"""A desk with everything on it: D-Bus, Avahi, cupsd, and `ippusbd run --virtual` as users start it.

CUPS' ipp backend is wrapped by a script that keeps a copy of what it is given to send, so that a
test can compare what CUPS sent with what the printer stored, byte for byte, after whatever the
filters have made of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.avahi_browse import plain
from support.cups import IPPUSBD, PrintDesk, print_desk
from support.debian import require

MODEL = "Example VirtualJet 900"
NAME = f"{MODEL} (USB)"
QUEUE = "Example_VirtualJet_900_USB"
SENT = "/run/cups/tmp"
CONFIG = """
[daemon]
state_dir = "/run/ippusbd/state"
runtime_dir = "/run/ippusbd"
[printers]
retry_max_s = 1.0
[usb]
poll_s = 0.2
[dnssd]
publisher = "avahi"
"""
BACKEND = """#!/bin/sh
[ $# -ge 5 ] || exec "$0.real" "$@"
kept="{sent}/sent-$1"
if [ $# -ge 6 ]; then cat "$6" > "$kept"; else cat > "$kept"; fi
exec "$0.real" "$1" "$2" "$3" "$4" "$5" < "$kept"
"""
AIRSCAN = """[devices]
"six" = http://[::1]:{port}/eSCL/, eSCL
"four" = http://127.0.0.1:{port}/eSCL/, eSCL
[options]
ws-discovery = off
"""


class Office(PrintDesk):
    """What a person at this desk can do and see."""

    @property
    def control(self) -> Path:
        return self.folder / "virtual.sock"

    def open_desk(self) -> None:
        """Start everything but the daemon."""
        self._wrap_backend()
        self.desktop.start_bus()
        self.desktop.start_avahi()

    def open(self) -> None:
        """Start it all and wait until the printer is announced."""
        self.open_desk()
        (self.folder / "ippusbd.conf").write_text(CONFIG)
        self.start_ippusbd()

    def start_ippusbd(self, *options: str) -> None:
        self._daemon = self.desktop.popen(
            [
                *(str(IPPUSBD), "run", "--virtual", "--config", str(self.folder / "ippusbd.conf")),
                *("--virtual-control", str(self.control), "--store", str(self.store), *options),
            ]
        )
        self.desktop.wait(lambda: NAME in self.browsed("_ipp._tcp"), "the printer announced")

    def _wrap_backend(self) -> None:
        backend = self.root / "usr/lib/cups/backend/ipp"
        backend.rename(backend.with_name("ipp.real"))
        backend.write_text(BACKEND.format(sent=SENT))
        backend.chmod(0o755)

    # --- what the daemon says

    def status(self) -> dict[str, Any]:
        """`ippusbd status --json`."""
        config = str(self.folder / "ippusbd.conf")
        out = self.run(str(IPPUSBD), "status", "--json", "--config", config).stdout
        status: dict[str, Any] = json.loads(out)
        return status

    @property
    def printer(self) -> dict[str, Any]:
        """The status of the only printer."""
        (one,) = self.status()["printers"]
        return dict(one)

    @property
    def port(self) -> int:
        return int(self.printer["port"])

    def url(self, family: str, path: str, scheme: str = "http") -> str:
        """For `family` IPv4 or IPv6, by address."""
        host = {"IPv4": "127.0.0.1", "IPv6": "[::1]"}[family]
        return f"{scheme}://{host}:{self.port}{path}"

    def browsed(self, service_type: str) -> str:
        """What avahi-browse finds, resolved."""
        found = self.desktop.run(
            ["avahi-browse", "--resolve", "--terminate", "--parsable", service_type]
        )
        return plain(found.stdout)

    # --- printing

    def print_file(self, queue: str, path: Path, *options: str) -> tuple[dict[str, Any], str]:
        """`lp`, and wait: the document at the printer, and the sha256 of what CUPS sent."""
        before = len(self.documents())
        out = self.run("lp", "-d", queue, *options, str(path)).stdout
        number = out.partition(f"{queue}-")[2].partition(" ")[0]
        self.wait(lambda: len(self.documents()) > before, f"job {number} printed")
        self.wait(lambda: not self.pending(), f"job {number} over in CUPS")
        (document,) = self.documents()[before:]
        return document, self.sent(number)

    def sent(self, job: str) -> str:
        """sha256 of what CUPS gave to its ipp backend."""
        return sha256(self.root / f"{SENT[1:]}/sent-{int(job)}")

    def documents(self) -> list[dict[str, Any]]:
        return self.printed()

    def stored(self, document: dict[str, Any]) -> Path:
        """Where the printer kept it."""
        return Path(document["path"])

    def scanned(self, folder: Path, *options: str, device: str = "") -> list[Path]:
        """`scanimage` into PNG files in `folder`."""
        pick = ["-d", device or self.scanner()]
        self.run(
            "scanimage",
            *pick,
            "--format=png",
            f"--batch={folder}/page%d.png",
            *options,
            timeout_s=120,
        )
        return sorted(folder.glob("page*.png"))

    def scanner(self) -> str:
        """The name that `scanimage -L` has for the discovered scanner."""
        for _ in range(3):
            out = self.desktop.run(["scanimage", "-L"], timeout_s=60).stdout
            for line in out.splitlines():
                name = line.partition("`")[2].partition("'")[0]
                if NAME in name:
                    return name
        raise AssertionError(f"scanimage -L: {out}\n{self.desktop.logs()}")

    def leave(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell the daemon, and it alone, to stop; its exit status."""
        process = self._daemon
        assert process is not None
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children.split()[0]), number)  # below nsenter
        process.wait(timeout=30)
        return self.desktop.stop(process)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def open_office(sane: Path) -> Iterator[Office]:
    """A desk with the daemon and a virtual printer, announced."""
    with _desk(sane) as office:
        office.open()
        yield office


@contextmanager
def open_desk(sane: Path) -> Iterator[Office]:
    """A desk without the daemon."""
    with _desk(sane) as office:
        office.open_desk()
        yield office


@contextmanager
def _desk(sane: Path) -> Iterator[Office]:
    """`sane` becomes /etc/sane.d, with sane-airscan alone."""
    require("avahi-browse", "curl", "scanimage", "airscan-discover", "pdfinfo", "pdftotext")
    (sane / "dll.conf").write_text("airscan\n")  # the others search for half a minute
    (sane / "airscan.conf").write_text("[options]\nws-discovery = off\n")
    with print_desk(binds={"/etc/sane.d": sane}) as desk:
        yield Office(desk.desktop)


def pdf(*pages: str, padding: int = 0) -> bytes:
    """A real PDF, one line of text a page, with `padding` bytes that nobody shows."""
    texts = [f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode() for text in pages]
    if padding:
        texts[0] += b"\n%" + b"x" * padding
    count = len(pages)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {count}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for n, text in enumerate(texts):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>"
            b"/Contents %d 0 R>>" % (5 + 2 * n)
        )
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(text), text))
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<</Size %d/Root 1 0 R>>\n" % (
        size,
        table,
        size,
    )
    return bytes(out) + b"startxref\n%d\n%%%%EOF\n" % bytes(out).index(b"xref\n0 ")
