"""`ippusbd capture`: a device's answers in a model file, without what identifies it.

`ippusbd virtual --model-file` makes a virtual printer of the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from ippusbd.cli.common import Exit, add_command, ask_status, load_config
from ippusbd.cli.output import show
from ippusbd.errors import BadIpp, BadResponse, IppUsbError, WrongUsage

if TYPE_CHECKING:
    from ippusbd.wire.anonymous import Replaced

TIMEOUT_S: Final = 30.0
IPP_PORT: Final = 631
WANTED: Final = ("all", "media-col-database")
CAPABILITIES: Final = "/eSCL/ScannerCapabilities"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "capture",
        run,
        summary="write a printer's answers to a file for virtual printers",
        description="Write a printer's IPP attributes and scanner capabilities to a model file,\n"
        "which `ippusbd virtual --model-file` makes a virtual printer of. Serial numbers, names,\n"
        "UUIDs, addresses and host names are overwritten; the command shows each. Read the list\n"
        "before you publish the file.",
        examples=[
            "ippusbd capture LaserJet -o office.model",
            "ippusbd capture ipp://printer.local/ipp/print -o office.model",
        ],
    )
    parser.add_argument(
        "printer",
        metavar="PRINTER",
        help="name, serial number, VID:PID or port of a printer that the daemon serves, "
        "or an ipp:// or http:// URL",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="new file")


def run(args: argparse.Namespace) -> int:
    """Ask the printer, overwrite, write."""
    from ippusbd.virtual.model_file import DeviceAnswers
    from ippusbd.wire.anonymous import Anonymizer

    if args.output.exists():
        raise IppUsbError(f"{args.output} exists: name a new file")
    url = _url(args.printer if "://" in args.printer else _served(args))
    raw = _ipp_answer(url), _capabilities(url)
    if not any(raw):
        raise BadResponse(f"{url.netloc} answers neither as an IPP printer nor as an eSCL scanner")
    anonymizer = Anonymizer()
    answers = DeviceAnswers(*anonymizer.both(*raw))
    _write(args.output, answers.packed())
    show(_summary(args.output, answers.ipp, answers.xml, list(anonymizer.replaced)))
    return Exit.OK


def _served(args: argparse.Namespace) -> str:
    """The URL of the printer that the daemon serves."""
    from ippusbd.daemon.registry import matches

    found = [
        row
        for row in ask_status(load_config(args)).printers
        if matches(args.printer, (row.name, row.model, row.id, row.serial, str(row.port)))
    ]
    if len(found) != 1:
        count = "no printer matches" if not found else f"{len(found)} printers match"
        raise IppUsbError(f"{count} {args.printer!r}: `ippusbd status` lists them")
    return f"http://127.0.0.1:{found[0].port}/ipp/print"


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as exc:
        raise WrongUsage(f"{text!r}: {exc}") from exc
    if url.scheme not in ("ipp", "http") or not url.hostname:
        raise WrongUsage(f"{text!r}: must be like ipp://HOST/ipp/print or http://HOST:PORT/")
    path = url.path if len(url.path) > 1 else "/ipp/print"
    port = port or (IPP_PORT if url.scheme == "ipp" else 80)
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return SplitResult(url.scheme, f"{host}:{port}", path, "", "")


def _ipp_answer(url: SplitResult) -> bytes:
    """The answer to Get-Printer-Attributes; empty: it is no IPP printer."""
    from ippusbd.wire import ipp

    request = ipp.get_printer_attributes(f"ipp://{url.netloc}{url.path}", WANTED)
    headers = {"Content-Type": "application/ipp"}
    data = _exchange("POST", url.netloc, url.path, request, headers)
    try:
        ipp.decode(data, tolerant=True, limits=ipp.Limits(_size_max(), items=1 << 20))
    except BadIpp:
        return b""
    return data


def _capabilities(url: SplitResult) -> bytes:
    """ScannerCapabilities, at the port asked for IPP or at HTTP's; empty: it is no scanner."""
    for port in dict.fromkeys((url.port, 80) if url.scheme == "ipp" else (url.port,)):
        host = url.netloc.rpartition(":")[0]
        try:
            data = _exchange("GET", f"{host}:{port}", CAPABILITIES)
        except BadResponse:
            if port == url.port:
                raise
            continue  # port 80 need not exist
        if b"ScannerCapabilities" in data:
            return data
    return b""


def _exchange(
    method: str, netloc: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> bytes:
    """The body of a 200 response; empty for other statuses. Raises BadResponse."""
    import http.client  # 20 ms, which no other command should take

    connection = http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        data = response.read(_size_max() + 1)
    except (OSError, http.client.HTTPException) as exc:
        raise BadResponse(f"{netloc}: {exc or type(exc).__name__}") from exc
    finally:
        connection.close()
    if len(data) > _size_max():
        raise BadResponse(f"{netloc}: {path} is over {_size_max()} bytes")
    return data if response.status == 200 else b""


def _size_max() -> int:
    from ippusbd.virtual.model_file import SIZE_MAX

    return SIZE_MAX


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except OSError as exc:
        raise IppUsbError(f"{path}: {exc.strerror}") from exc


def _summary(path: Path, ipp: bytes, xml: bytes, replaced: list[Replaced]) -> Iterator[str]:
    for one in replaced:
        yield f"replaced  {one.where}: {one.old} -> {one.new}"
    parts = [
        name for name, data in (("IPP attributes", ipp), ("scanner capabilities", xml)) if data
    ]
    yield f"wrote {path}: {' and '.join(parts)}"
    yield "read the list of replaced values before you publish the file"
