"""Does CUPS list the printers that the daemon serves?

CUPS lists printers that it finds with DNS-SD, and permanent queues. Its own programs are asked,
because they show what a user sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ippusbd.daemon.observe.status import PrinterStatus
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.doctor.machine import Machine
from ippusbd.kinds import Kind
from ippusbd.wire.text import queue_name

CHECK: Final = "cups"
LIST_S: Final = 10.0  # lpstat -e waits for announcements


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
    wanted = [printer for printer in printers if _prints(printer)]
    commands = machine.commands
    if not (machine.has("lpstat") and machine.has("cupsd")):
        yield told(
            Kind.NO_CUPS.of(how="is not installed", command=commands.install("cups")), check=CHECK
        )
        return
    status, out = machine.run(["lpstat", "-r"])
    if status != 0 or "is running" not in out:
        stopped = Kind.CUPS if wanted else Kind.NO_CUPS
        yield told(stopped.of(how="does not run", command=commands.enable_cups), check=CHECK)
        return
    yield ok(CHECK, "CUPS runs")
    if wanted:
        _, out = machine.run(["lpstat", "-e"], LIST_S)
        listed = {line.strip() for line in out.splitlines()}
        for printer in wanted:
            yield _listed(printer, listed, queues, machine)


def _prints(printer: PrinterStatus) -> bool:
    """CUPS can only list what has a name; a device that only scans has no printer condition."""
    return bool(printer.name) and printer.condition is not None


def _listed(
    printer: PrinterStatus, listed: set[str], queues: dict[str, str], machine: Machine
) -> Finding:
    name, queue = printer.name, queue_name(printer.name)
    own = [each for each, uri in queues.items() if re.search(rf"://[^/]+:{printer.port}/", uri)]
    if own:
        return ok("queue", f"CUPS prints to it as {own[0]}", name)
    if queue in listed:
        return ok("queue", f"CUPS lists it as {queue}", name)
    make = f"lpadmin -p {queue or 'printer'} -E -v {printer.ipp_uri} -m everywhere"
    command = machine.commands.as_root(make)
    return told(Kind.NOT_LISTED.of(command=command), name, check="queue")
