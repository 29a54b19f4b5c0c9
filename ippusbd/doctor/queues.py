"""Does CUPS list the printers that the daemon serves?

CUPS lists printers that it finds with DNS-SD, and permanent queues. Its own programs are asked,
because they show what a user sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ippusbd.daemon.observe.status import PrinterStatus
from ippusbd.doctor.findings import Finding, note, ok, problem
from ippusbd.doctor.machine import Machine

LIST_S = 10.0  # lpstat -e waits for announcements


def queue_name(name: str) -> str:
    """The queue that CUPS creates for a DNS-SD name: letters, digits and single underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).removesuffix("_")


def device_uris(machine: Machine) -> dict[str, str]:
    """The device URIs of CUPS' permanent queues, by name; none if CUPS does not answer."""
    status, out = machine.run(["lpstat", "-v"])
    if status != 0:
        return {}
    return dict(re.findall(r"^device for (.+?): (\S+)", out, re.MULTILINE))


def check(
    machine: Machine, printers: Sequence[PrinterStatus], queues: dict[str, str]
) -> Iterator[Finding]:
    """`printers`: those that are served."""
    if not machine.has("lpstat"):
        yield note(
            "cups", "CUPS is not installed", "to print with it: apt install cups cups-client"
        )
        return
    status, out = machine.run(["lpstat", "-r"])
    if status != 0 or "is running" not in out:
        yield problem("cups", "CUPS does not run", "systemctl enable --now cups.socket cups")
        return
    yield ok("cups", "CUPS runs")
    if any(_prints(printer) for printer in printers):
        _, out = machine.run(["lpstat", "-e"], LIST_S)
        listed = {line.strip() for line in out.splitlines()}
        for printer in filter(_prints, printers):
            yield _listed(printer, listed, queues)


def _prints(printer: PrinterStatus) -> bool:
    """CUPS can only list what has a name; a device that only scans has no printer condition."""
    return bool(printer.name) and printer.condition is not None


def _listed(printer: PrinterStatus, listed: set[str], queues: dict[str, str]) -> Finding:
    name, queue = printer.name, queue_name(printer.name)
    own = [each for each, uri in queues.items() if re.search(rf"://[^/]+:{printer.port}/", uri)]
    if own:
        return ok("queue", f"CUPS prints to it as {own[0]}", name)
    if queue in listed:
        return ok("queue", f"CUPS lists it as {queue}", name)
    return problem(
        "queue",
        "CUPS does not list it",
        "see the Avahi lines, or create a queue:"
        f" lpadmin -p {queue or 'printer'} -E -v {printer.ipp_uri} -m everywhere",
        name,
    )
