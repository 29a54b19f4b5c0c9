"""The doctor and the trace where devices, permissions and transfers are the kernel's own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from documents import arrived, jpeg, must_be
from lab import BIN, LOGS, RUN, Daemon, Printers, forget_state, stopping
from programs import run, until
from report import Failed, Group
from usbmon import Usbmon

from ippusbd.daemon.observe import status
from ippusbd.doctor import devices
from ippusbd.doctor.findings import Finding, Level
from ippusbd.doctor.machine import Machine
from ippusbd.doctor.service import Answer

CONFIG = Path("/run/doctor.conf")
HOLD = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"


@dataclass
class Served:
    """A printer that is served, and where its device node is."""

    daemon: Daemon
    printers: Printers
    row: dict[str, Any]

    @property
    def node(self) -> Path:
        bus, _, device = self.daemon.printers()[0]["address"].partition(":")
        return Path(f"/dev/bus/usb/{bus}/{device}")


@contextmanager
def context() -> Iterator[Served]:
    forget_state()
    CONFIG.write_text(f'[daemon]\nruntime_dir = "{RUN}"\n')
    printers = Printers()
    with stopping(printers):
        daemon = Daemon()
        with stopping(daemon):
            yield Served(daemon, printers, daemon.ready()[0])


GROUP = Group("what an administrator is told", context)


def devices_told(served: Served) -> dict[str, Finding]:
    """The doctor's lines on USB devices; in this process, because a full run takes long here."""
    now = status.read(served.daemon.status())
    machine, serves = Machine(), Answer(now).serves
    found = devices.check(machine, machine.credentials(now.pid), serves, now.pid)
    return {each.check: each for each in found}


def told() -> dict[str, dict[str, str]]:
    """The doctor's findings, by check; the worst of several."""
    out = run(BIN / "ippusbd", "doctor", "--json", "--config", CONFIG, check=False)
    order = ("ok", "note", "problem")
    return {e["check"]: e for e in sorted(json.loads(out), key=lambda e: order.index(e["level"]))}


@GROUP.check("the doctor finds nothing wrong with a printer, its node, Avahi and CUPS")
def all_is_well(served: Served) -> None:
    until(lambda: "ueue" in str(told().get("queue")), "CUPS listing it", 60)
    found = told()
    wrong = [f"{e['about']} {e['text']}" for e in found.values() if e["level"] == "problem"]
    wrong += [c for c in ("daemon", "node", "printer", "queue") if found[c]["level"] != "ok"]
    if wrong:
        raise Failed("; ".join(wrong))


@GROUP.check("the doctor sees a device node that the daemon's user may not open")
def forbidden(served: Served) -> str:
    node, before = served.node, served.node.stat()
    os.chown(node, 0, 0)
    node.chmod(0o600)
    try:
        found = devices_told(served)["node"]
    finally:
        os.chown(node, before.st_uid, before.st_gid)
        node.chmod(before.st_mode & 0o777)
    if found.level is not Level.PROBLEM or devices_told(served)["node"].level is not Level.OK:
        raise Failed(f"{found}, and afterwards {devices_told(served)['node']}")
    return found.text


@GROUP.check("the doctor names the process that holds a printer")
def held(served: Served) -> str:
    command = [sys.executable, "-c", HOLD, str(served.node)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = devices_told(served).get("held")
        holder.kill()
    if found is None or f"process {holder.pid} " not in found.text:
        raise Failed(f"not said of process {holder.pid}: {found}")
    return found.text


@GROUP.check("the doctor says that usblp has the interfaces while nobody prints")
def usblp(served: Served) -> None:
    until(lambda: served.daemon.printers()[0]["interfaces"]["released"], "the interfaces released")
    until(lambda: devices_told(served).get("driver"), "usblp being told")


@GROUP.check("a trace has every transfer that the kernel's usbmon saw, with its bytes")
def trace(served: Served) -> str:
    base, photo = LOGS / "trace", jpeg()
    before = len(served.printers.documents())
    with Usbmon() as usbmon:
        usbmon.taken()
        with _tracing(base) as tracing:
            uri = f"ipp://localhost:{served.row['port']}/ipp/print"
            run("ipptool", "-tf", photo, uri, "print-job.test")
            must_be(arrived(served.printers.documents, before), photo)
            until(lambda: served.daemon.printers()[0]["interfaces"]["released"], "quiet")
            seen = usbmon.taken()
            tracing.terminate()
            tracing.wait(30)
    ended = (one for one in seen if one.length and not one.begins)
    kernel = Counter((one.into, one.status, one.length) for one in ended)
    urbs = list(_completed(base.with_suffix(".pcapng").read_bytes()))
    ours = Counter((into, status, length) for into, status, length, _ in urbs if length)
    if ours != kernel:
        raise Failed(f"the kernel's own: {kernel - ours}; only in the trace: {ours - kernel}")
    sent = b"".join(data for _, _, _, data in _begun(base.with_suffix(".pcapng").read_bytes()))
    if photo.read_bytes()[1000:3000] not in sent:
        raise Failed("the document is not in the trace")
    return f"{sum(ours.values())} transfers"


@contextmanager
def _tracing(base: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(BIN / "ippusbd"), "trace", "VirtualJet", "--bodies", "-o", str(base)]
    process = subprocess.Popen([*command, "--config", str(CONFIG)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # "recording ..."
        yield process
    finally:
        process.kill()
        process.wait()


Urb = tuple[bool, int, int, bytes]  # IN, status, length, data


def _completed(raw: bytes) -> Iterator[Urb]:
    yield from (urb for begins, *urb in _urbs(raw) if not begins)  # type: ignore[misc]


def _begun(raw: bytes) -> Iterator[Urb]:
    yield from (urb for begins, *urb in _urbs(raw) if begins)  # type: ignore[misc]


def _urbs(raw: bytes) -> Iterator[tuple[bool, bool, int, int, bytes]]:
    """The packets of a capture: begins, IN, status, length, data."""
    at = 0
    while at < len(raw):
        kind, size = struct.unpack_from("<II", raw, at)
        if kind == 6:
            head = at + 28
            event, _, endpoint = struct.unpack_from("<BBB", raw, head + 8)
            status, length, captured = struct.unpack_from("<iII", raw, head + 28)
            data = raw[head + 64 : head + 64 + captured]
            yield event == ord("S"), bool(endpoint & 0x80), status, length, data
        at += size
