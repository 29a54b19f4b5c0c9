"""`ippusbd trace`: a printer's USB and HTTP traffic, in files for Wireshark and browsers.

The daemon sends events, this command writes them: the files belong to the user who runs it,
no other user can read them, and their size is limited.
"""

from __future__ import annotations

import argparse
import base64
import errno
import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ippusbd.cli.common import Exit, add_command, at_daemon, load_config, positive
from ippusbd.cli.output import show, tell
from ippusbd.errors import IppUsbError

if TYPE_CHECKING:
    from ippusbd.config import Config

DEFAULT_MB = 64


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "trace",
        run,
        summary="record a printer's USB and HTTP traffic",
        description="Record a printer's USB transfers (FILE.pcapng, for Wireshark) and HTTP\n"
        "exchanges (FILE.har, for a browser's developer tools) while the daemon serves it, until\n"
        "Ctrl-C. Without --bodies no documents and no secrets are recorded: no transfer data,\n"
        "no bodies, no credentials, no values of URL queries.",
        examples=[
            'ippusbd trace "LaserJet" -o fault',
            "ippusbd trace 03f0:1234 --bodies --seconds 30 -o fault",
        ],
    )
    parser.add_argument(
        "printer", metavar="PRINTER", help="part of its name, its serial number, VID:PID or port"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="FILE.pcapng and FILE.har"
    )
    parser.add_argument(
        "--bodies",
        action="store_true",
        help="also record documents, images and secrets: keep the files safe",
    )
    parser.add_argument("--seconds", type=positive(float), metavar="N", help="stop after N seconds")
    parser.add_argument(
        "--max-size",
        type=positive(int),
        default=DEFAULT_MB,
        metavar="MB",
        help=f"stop when both files together reach this size ({DEFAULT_MB})",
    )


def run(args: argparse.Namespace) -> int:
    """Write the daemon's events until a limit is reached or a signal arrives."""
    config = load_config(args)
    base = args.output.with_suffix("") if args.output.suffix in (".pcapng", ".har") else args.output
    left = args.max_size * 1_000_000
    with _files(base) as files, _stopped_by_signals(), suppress(KeyboardInterrupt):
        for event in _events(config, args):
            left -= files.write(event)
            if left <= 0:
                tell([f"stopped: the files have reached {args.max_size} MB"])
                break
    show(files.summary())
    return Exit.OK


def _events(config: Config, args: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    from ippusbd.daemon.observe.control_client import stream

    if args.seconds is not None:
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, args.seconds)
    options = {"printer": args.printer, "bodies": args.bodies}
    for event in at_daemon(config, lambda path: stream(path, "trace", **options)):
        if isinstance(event, dict):
            yield event


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """SIGTERM ends a trace as Ctrl-C does; the timer is cancelled at the end."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, before)


class Files:
    """Both files; they are complete after `close`."""

    def __init__(self, base: Path, capture: IO[bytes], har: IO[bytes]) -> None:
        from ippusbd import __version__
        from ippusbd.wire import pcapng

        self._base = base
        self._capture, self._har = capture, har
        self._transfers = self._cancelled = self._exchanges = self._dropped = 0
        capture.write(pcapng.header(f"ippusbd {__version__}"))
        creator = json.dumps({"name": "ippusbd", "version": __version__})
        har.write(b'{"log": {"version": "1.2", "creator": %b, "entries": [' % creator.encode())

    def write(self, event: Mapping[str, Any]) -> int:
        """Write one event; returns the bytes written."""
        self._dropped += event.get("dropped", 0)
        if "printer" in event:
            tell([f"recording {event['printer'].get('name') or 'the printer'}; Ctrl-C stops it"])
        if "usb" in event:
            return self._transfer(event["usb"])
        return self._exchange(event["http"]) if "http" in event else 0

    def _transfer(self, told: Mapping[str, Any]) -> int:
        from ippusbd.wire.pcapng import Urb, packet

        urb = Urb(
            at=told["at"],
            begins=told["begins"],
            number=told["transfer"],
            endpoint=told["endpoint"],
            bus=told["bus"],
            address=told["address"],
            status=told["status"],
            length=told["length"],
            data=base64.b64decode(told["data"]),
        )
        self._transfers += not urb.begins
        self._cancelled += urb.status == -errno.ENOENT
        return self._capture.write(packet(urb))

    def _exchange(self, entry: Mapping[str, Any]) -> int:
        comma = b",\n" if self._exchanges else b"\n"
        self._exchanges += 1
        return self._har.write(comma + json.dumps(entry).encode())

    def close(self) -> None:
        self._har.write(b"\n]}}\n")

    def summary(self) -> Iterator[str]:
        count = f"{self._transfers} USB transfers ({self._cancelled} cancelled)"
        yield f"{count}: {self._base}.pcapng"
        yield f"{self._exchanges} HTTP exchanges: {self._base}.har"
        if self._dropped:
            yield f"{self._dropped} events were dropped: the files could not be written fast enough"


@contextmanager
def _files(base: Path) -> Iterator[Files]:
    with _created(f"{base}.pcapng") as capture, _created(f"{base}.har") as har:
        files = Files(base, capture, har)
        try:
            yield files
        finally:
            files.close()


def _created(name: str) -> IO[bytes]:
    """A new file that no other user may read; one that was there keeps owner, mode and links."""
    try:
        Path(name).unlink(missing_ok=True)
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise IppUsbError(f"{name}: {exc.strerror}") from exc
    return os.fdopen(handle, "wb", buffering=0)  # the file is up to date at any time
