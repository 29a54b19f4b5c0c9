"""A printer with hostile names in USB, IPP and eSCL still prints.

The whole daemon runs, as `ippusbd run` starts it, and announces with static service
files. All its output is checked: files and their names, log lines, records, a
terminal. The firmware is the attacker; none of its text arrives unescaped.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from support.http_client import Connection, ask_ipp, message
from support.ports import FIRST_PORT

from ippusbd import log
from ippusbd.cli import main as cli
from ippusbd.config import Config
from ippusbd.config import load as load_config
from ippusbd.daemon import service
from ippusbd.usbio.pyusb_host import PyusbHost
from ippusbd.virtual.personalities.base import Personality
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb import descriptors as d
from ippusbd.virtual.usb.backend import VirtualBackend
from ippusbd.virtual.usb.device import Setup, VirtualDevice
from ippusbd.wire.ipp import Attribute, Message, Operation, Tag, Value

EVIL: Final = {
    "terminal escapes": b"\x1b[2J\x1b[31mEvil\x1b]0;owned\x07\x1bPq\x1b\\\x9b5n\x8f",
    "paths": b"../../../../etc/cron.d/x\x00/..\\..\\con",
    "forged lines": b"Jet\r\n<3>FORGED line\nFORGED: ready\r\x0b\x0c\xc2\x85\xe2\x80\xa8FORGED",
    "10 KB": "Übergröße ".encode() * 860,
    "no UTF-8": b"\xff\xfe\x80Jet\xc3(\xed\xa0\x80\xf5",
    "bidi overrides": "\u202eteJ\u202c\u2066\u200b\u200f\ufeff\U000e0041x".encode(),
    "nothing to see": b"\x00\x1b\x07\x7f",
    "markup": b"<script>alert(1)</script>&amp;\"'%h #{x} $(id) `id`",
    "dots": b"..",
    "blanks": b" \t\n ",
}
TEXTS: Final = (*range(0x41, 0x47), Tag.MIME)
KEPT_NAMES: Final = frozenset({"attributes-charset", "attributes-natural-language"})
XML_1: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
XML_TEXTS: Final = re.compile(r"(<(?:\w+:)?(MakeAndModel|SerialNumber|UUID|AdminURI)>)[^<]*")
# Besides other things that no printer has a business to send: what turns text around.
TRICKS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
LINE_MAX: Final = 2200
DOCUMENT: Final = bytes(range(251)) * 300


class Liar(Personality):
    """Answers `evil` for every string."""

    name = "liar"
    evil = b""

    def control(self, device: VirtualDevice, setup: Setup) -> bytes | None:
        if (setup.request_type, setup.request, setup.value >> 8) == (0x80, 6, d.STRING):
            return None if setup.value & 0xFF == 0 else self._string()
        if (setup.request_type, setup.request) == (0xA1, 0):  # GET_DEVICE_ID
            text = b"MFG:%b;MDL:%b;CMD:%b;SN:%b;" % ((self.evil[:200],) * 4)
            return (len(text) + 2).to_bytes(2, "big") + text
        return None

    def _string(self) -> bytes:
        body = self.evil.decode("utf-8", "surrogateescape").encode("utf-16-le", "surrogatepass")
        return bytes((2 + len(body[:252]), d.STRING)) + body[:252]

    def ipp(self, request: Message, answer: Message) -> Message:
        groups = tuple(
            replace(group, attributes=tuple(self._lie(one) for one in group.attributes))
            for group in answer.groups
        )
        return replace(answer, groups=groups)

    def _lie(self, attr: Attribute) -> Attribute:
        if attr.name in KEPT_NAMES:
            return attr
        values = (Value(v.tag, self.evil) if v.tag in TEXTS else v for v in attr.values)
        return replace(attr, values=tuple(values))

    def xml(self, path: str, document: str) -> str:
        text = escape(XML_1.sub("", self.evil.decode("latin-1")))
        return XML_TEXTS.sub(lambda found: found[1] + text, document)


@dataclass(frozen=True)
class Served:
    """A daemon with a liar on its bus."""

    folder: Path
    config: Path
    printer: VirtualPrinter
    log: io.StringIO

    def status(self) -> dict[str, object]:
        return next(iter(self.printers()), {})

    def printers(self) -> list[dict[str, object]]:
        from ippusbd.daemon.observe.control_client import ask

        told = ask(self.folder / "run" / "control.sock", "status")
        assert isinstance(told, dict)
        return list(told["printers"])


@asynccontextmanager
async def daemon_with_a_liar(
    evil: bytes, printer: VirtualPrinter, folder: Path
) -> AsyncIterator[Served]:
    liar = type("Liar", (Liar,), {"evil": evil})
    printer.personalities.switch_on(liar)
    (folder / "services").mkdir()
    path = folder / "ippusbd.conf"
    path.write_text(CONFIG.format(folder=folder, port=FIRST_PORT + 500))
    lines = io.StringIO()
    log.setup("debug", stream=lines, environ={})
    backend = VirtualBackend([printer.device])
    host = PyusbHost(backend, transfer_bytes=65_536)
    config: Config = load_config(path)
    ready = asyncio.Event()
    running = asyncio.create_task(
        service.run(config, host, hotplug=False, on_ready=lambda *_: ready.set())
    )
    try:
        async with asyncio.timeout(30):
            await ready.wait()
        yield Served(folder, path, printer, lines)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        assert await running == 0
        backend._finalize_object()


CONFIG: Final = """
[daemon]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
grace_s = 1.0
quirks_dirs = []
[listen]
port_min = {port}
[printers]
fax_probe_s = 1.0
[dnssd]
publisher = "static"
static_dir = "{folder}/services"
[log]
level = "debug"
"""


@pytest.mark.parametrize("kind", EVIL)
async def test_a_printer_with_hostile_names_prints_and_harms_nothing(
    make_printer, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
):
    printer = make_printer(interfaces=2)
    async with daemon_with_a_liar(EVIL[kind], printer, tmp_path) as served:
        row = await asyncio.to_thread(served.status)
        await prints(served, row)
        for command in (["status"], ["status", "--json"], ["quirks"]):
            await asyncio.to_thread(cli.main, [*command, "--config", str(served.config)])
            said = capsys.readouterr()
            harmless(said.out + said.err)
        look_at_records(tmp_path / "services")
        look_at_sockets(tmp_path / "run")
        look_at_names(tmp_path)
    look_at_state(tmp_path / "state" / "printers.json")
    harmless(served.log.getvalue())
    assert "\nFORGED" not in served.log.getvalue()
    look_at_names(tmp_path)


async def prints(served: Served, row: dict[str, object]) -> None:
    """Prints by TCP, and by the Unix socket that the broker names."""
    port = int(str(row["port"]))
    assert (await ask_ipp(port, Operation.PRINT_JOB, document=DOCUMENT)).ok
    path = served.folder / "run" / "1209_0001.sock"
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(message("GET", "/big?bytes=1000", headers=(("Host", "localhost"),)))
        assert (await Connection(reader, writer).reply()).status == 200
    finally:
        writer.close()
        await writer.wait_closed()
    (stored,) = served.printer.documents
    assert stored.completed
    assert stored.sha256 == hashlib.sha256(DOCUMENT).hexdigest()


def look_at_records(folder: Path) -> None:
    """Avahi's service files: our names, texts within DNS-SD's bounds."""
    files = list(folder.iterdir())
    assert files
    for path in files:
        assert re.fullmatch(r"ippusbd-[0-9a-f]{16}\.service", path.name)
        group = ElementTree.parse(path).getroot()
        name = group.findtext("name") or ""
        harmless(name)
        assert 0 < len(name.encode()) <= 63
        for item in group.iter("txt-record"):
            assert item.get("value-format") is None, "only odd bytes need another format"
            harmless(item.text or "")
            assert len((item.text or "").encode()) <= 255


def look_at_sockets(folder: Path) -> None:
    sockets = [path.name for path in folder.iterdir() if path.is_socket()]
    printers = [name for name in sockets if name.startswith("1209")]
    assert printers
    assert all(re.fullmatch(r"[0-9A-Fa-f_-]+(_keep_alive)?\.sock", name) for name in printers)


def look_at_names(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert re.fullmatch(r"[\w.-]+", path.name, re.ASCII), path


def look_at_state(path: Path) -> None:
    text = path.read_text()
    assert text.isascii()
    harmless(text)
    assert len(text) < 4096
    (key,) = json.loads(text)["printers"]
    assert key.isprintable()


def harmless(text: str) -> None:
    """Fit for a terminal, line by line."""
    assert not (found := TRICKS.search(text)), text[max(0, found.start() - 60) :][:160]
    assert "\ufffe" not in text
    assert all(len(line) <= LINE_MAX for line in text.splitlines())


def test_the_check_of_texts_finds_hostile_ones():
    for bad in ("\x1b[2J", "a\u202eb", "a\x9bb", "\x00", "a\rb"):
        with pytest.raises(AssertionError):
            harmless(bad)
    harmless("Bürodrucker 東京\n\tzwei")
