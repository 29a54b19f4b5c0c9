"""`ippusbd virtual`: virtual printers on the USB bus of this kernel or another one.

Runs virtual printers behind a USB/IP server until it is stopped, and controls
running ones (`--tell`). Works without this project's daemon.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.cli.common import STORE_HELP, Exit, add_command, store_folder
from ippusbd.cli.output import show, tell, write
from ippusbd.errors import IppUsbError, WrongUsage

if TYPE_CHECKING:
    from ippusbd.virtual.printer import VirtualPrinter
    from ippusbd.virtual.usb.usbip import UsbIpServer

DEFAULT_ADDRESS: Final = "127.0.0.1:3240"
MOST_PRINTERS: Final = 120  # of the 127 addresses a USB bus has
CONTROL_HELP: Final = "control socket (root: /run/ippusbd-virtual.sock, else in $XDG_RUNTIME_DIR)"
# The options that say what is started, and their defaults.
STARTS: Final[dict[str, object]] = {
    "usbip": None,
    "attach": False,
    "printers": 1,
    "interfaces": 3,
    "personality": [],
    "model": "",
    "layout": "",
    "model_file": None,
    "no_serial": False,
    "vendor_interface": False,
    "store": None,
}
STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EXAMPLES: Final = [
    "ippusbd virtual --attach                      attach a printer to this machine (root)",
    "ippusbd virtual --usbip 127.0.0.1:3240        export it: usbip attach -r 127.0.0.1 -b 1-1",
    "ippusbd virtual --personality no-zlp slow     a printer with two faults",
    "ippusbd virtual --tell unplug                 unplug the running printer",
    "ippusbd virtual --tell documents              list the printed documents, with SHA-256",
    "ippusbd virtual --tell personality name=paper-out on=false",
    "ippusbd virtual --personality help            list the personalities",
    "ippusbd virtual --model-file office.model     a printer from `ippusbd capture`",
]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "virtual",
        run,
        summary="run virtual printers behind a real USB stack, with USB/IP",
        description="Run virtual multifunction printers behind a USB/IP server until stopped. Any\n"
        "Linux kernel with vhci_hcd can attach them; --attach does so on this machine.",
        examples=EXAMPLES,
        config=False,
    )
    add = parser.add_argument
    add("--usbip", metavar="ADDR:PORT", help=f"address to listen on (default: {DEFAULT_ADDRESS})")
    add("--attach", action="store_true", help="attach the printers to this machine's kernel")
    add(
        "--printers",
        type=int,
        default=STARTS["printers"],
        metavar="N",
        help="number of printers (default: 1)",
    )
    add(
        "--interfaces",
        type=int,
        default=STARTS["interfaces"],
        metavar="N",
        help="IPP-USB interfaces, 1-4 (3)",
    )
    add(
        "--personality",
        nargs="+",
        default=[],
        metavar="NAME",
        help="faults to emulate; `help` lists them",
    )
    add("--model", default="", metavar="NAME", help="make and model")
    add("--layout", default="", metavar="NAME", help="a real device's USB side; `help` lists them")
    add("--model-file", type=Path, metavar="FILE", help="answer as a device that was captured")
    add("--no-serial", action="store_true", help="printers without serial numbers")
    add("--vendor-interface", action="store_true", help="add a card reader to each printer")
    add("--store", type=Path, metavar="DIR", help=STORE_HELP)
    add("--control", type=Path, metavar="SOCKET", help=CONTROL_HELP)
    add(
        "--tell",
        nargs="+",
        metavar=("COMMAND", "KEY=VALUE"),
        help="send a command to running printers instead, through their control socket",
    )


def run(args: argparse.Namespace) -> int:
    """Send a command, list personalities, or run printers until a signal."""
    if args.tell:
        given = [name for name, default in STARTS.items() if getattr(args, name) != default]
        if given:
            raise WrongUsage(f"--tell starts nothing: --{given[0].replace('_', '-')} has no effect")
        return _tell(args.control or _default_control(), args.tell)
    if args.personality == ["help"]:
        return _list_personalities()
    if args.layout == "help":
        return _list_layouts()
    _check(args)
    with ExitStack() as stack, _stop_signals():
        for line in _start(args, stack):
            tell([line])
        tell(["Running until Ctrl-C."])
        signal.sigwait(STOP)
    return Exit.OK


def _check(args: argparse.Namespace) -> None:
    if not 1 <= args.interfaces <= 4:
        raise WrongUsage("--interfaces: 1 to 4")
    if not 1 <= args.printers <= MOST_PRINTERS:
        raise WrongUsage(f"--printers: 1 to {MOST_PRINTERS}")


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Block signals before any thread starts: threads inherit the mask, and sigwait gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(args: argparse.Namespace, stack: ExitStack) -> Iterator[str]:
    """Start everything and yield a line for each part; `stack` stops it."""
    from ippusbd.virtual.control import VirtualControlServer
    from ippusbd.virtual.usb.usbip import UsbIpServer

    printers = _printers(args)
    for printer in printers:
        stack.callback(printer.close)
        printer.plug()
    server = UsbIpServer([one.device for one in printers])
    stack.callback(server.close)
    if args.usbip or not args.attach:
        yield f"USB/IP server on {_listen(server, args.usbip or DEFAULT_ADDRESS)}"
    if args.attach:
        from ippusbd.virtual.usb.vhci import Attacher

        attacher = Attacher(server)
        for printer in printers:
            attacher.keep_attached(printer.device)
    path = args.control or _default_control()
    path.parent.mkdir(parents=True, exist_ok=True)
    stack.callback(VirtualControlServer(path, printers).close)
    for printer in printers:
        where = "attached" if args.attach else "exported"
        yield f"{server.busid(printer.device)}: {_described(printer)}, {where}"
    yield f"control socket {path}"


def _described(printer: VirtualPrinter) -> str:
    spec = printer.device.spec
    return f"{spec.usb_id} {spec.product} ({spec.serial or 'no serial number'})"


def _printers(args: argparse.Namespace) -> list[VirtualPrinter]:
    from ippusbd.virtual.model_file import load
    from ippusbd.virtual.printer import DEFAULT_MODEL, VirtualPrinter

    answers = load(args.model_file) if args.model_file else None
    try:
        return [
            VirtualPrinter(
                args.model or DEFAULT_MODEL,
                "" if args.no_serial else f"VIRTUAL{number}",
                interfaces=args.interfaces,
                personalities=args.personality,
                store_dir=store_folder(args.store, number),
                vendor_interface=args.vendor_interface,
                answers=answers,
                layout=args.layout,
            )
            for number in range(1, args.printers + 1)
        ]
    except KeyError as exc:
        raise WrongUsage(f"--personality, --layout: {exc.args[0]}") from exc


def _listen(server: UsbIpServer, address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise WrongUsage(f"--usbip: {address!r} is not ADDR:PORT")
    try:
        bound = server.listen(host.strip("[]"), int(port))
    except OSError as exc:
        raise IppUsbError(f"--usbip: {address}: {exc.strerror}") from exc
    return f"{bound[0]}:{bound[1]}"


def _default_control() -> Path:
    """In /run for root, otherwise in the user's runtime directory."""
    if os.getuid() == 0:
        return Path("/run/ippusbd-virtual.sock")
    return (
        Path(os.environ.get("XDG_RUNTIME_DIR") or Path.home() / ".cache") / "ippusbd-virtual.sock"
    )


def _tell(path: Path, words: Sequence[str]) -> int:
    from ippusbd.virtual.control import ask

    command, *settings = words
    arguments: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise WrongUsage(f"--tell: {setting!r} is not KEY=VALUE")
        arguments[key] = _value(value)
    answer = ask(path, command, **arguments)
    write(json.dumps(answer, indent=2))
    return Exit.OK


def _value(text: str) -> object:
    """Numbers, true and false as in JSON; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _list_personalities() -> int:
    from ippusbd.virtual.personalities import help_table

    show(f"{name:28} {text}" for name, text in help_table())
    return Exit.OK


def _list_layouts() -> int:
    from ippusbd.virtual.usb.layouts import LAYOUTS

    show(f"{name:28} {one.help}" for name, one in LAYOUTS.items())
    return Exit.OK
