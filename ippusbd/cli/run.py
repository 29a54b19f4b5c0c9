"""`ippusbd run`: the daemon in the foreground, with real or with virtual printers."""

from __future__ import annotations

import argparse
import gc
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ippusbd.cli.common import (
    STORE_HELP,
    Exit,
    add_command,
    load_config,
    run_until_done,
    store_folder,
)
from ippusbd.cli.output import show, tell
from ippusbd.errors import IppUsbError, WrongUsage

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.daemon.observe.status import PrinterStatus
    from ippusbd.usbio.protocols import UsbHost
    from ippusbd.virtual.printer import VirtualPrinter

MAX_VIRTUAL = 16
# Python looks for garbage after 700 new objects. A start makes 55,000, nearly all of which stay.
STARTING_OBJECTS = 10_000
BY_AVAHI = ("avahi", "static")
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "run",
        run,
        summary="run the daemon in the foreground",
        description="Serve all connected USB printers, and those plugged in later, until SIGTERM\n"
        "or Ctrl-C. Prints each printer when it is ready; the log goes to standard error.\n\n"
        "With --virtual it serves virtual multifunction printers instead, which print into\n"
        "memory (or --store) and scan a test image. A personality emulates the faults of a\n"
        "real model.",
        examples=[
            "ippusbd run",
            "ippusbd run --virtual",
            "ippusbd run --virtual 2 --interfaces 1 --store /tmp/printed",
            "ippusbd run --virtual --personality stops-after-3k",
        ],
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log everything")
    parser.add_argument(
        "--page",
        nargs="?",
        type=_port,
        const=0,
        metavar="PORT",
        help="serve a status page to browsers on this machine (page.enabled, page.port)",
    )
    parser.add_argument(
        "--idle-exit",
        type=_duration_s,
        metavar="TIME",
        help="exit after this much idle time, e.g. 10s, 5m (daemon.idle_exit_s)",
    )
    parser.add_argument(
        "--unplugged-exit",
        type=_duration_s,
        metavar="TIME",
        help="exit after this much time without a connected printer (daemon.unplugged_exit_s)",
    )
    _add_virtual(parser.add_argument_group("virtual printers instead of USB devices"))


def _add_virtual(virtual: argparse._ArgumentGroup) -> None:
    which = virtual.add_mutually_exclusive_group()
    which.add_argument(
        "--virtual",
        nargs="?",
        type=_count,
        const=1,
        default=0,
        metavar="N",
        help="number of printers (1)",
    )
    which.add_argument(
        "--virtual-if-none", action="store_true", help="one printer, if no USB printer is usable"
    )
    virtual.add_argument(
        "--personality",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="faults to emulate; `help` lists them",
    )
    virtual.add_argument(
        "--interfaces",
        type=_interfaces,
        metavar="N",
        help="USB interfaces per printer (3)",
    )
    virtual.add_argument("--no-serial", action="store_true", help="printers without serial numbers")
    virtual.add_argument(
        "--model-file",
        type=Path,
        metavar="FILE",
        help="answer as a device that `ippusbd capture` captured",
    )
    virtual.add_argument("--store", type=Path, metavar="DIR", help=STORE_HELP)
    virtual.add_argument(
        "--virtual-control",
        type=Path,
        metavar="SOCKET",
        help="control socket of the virtual printers, for tests",
    )


def _count(text: str) -> int:
    return _in_range(text, 1, MAX_VIRTUAL)


def _port(text: str) -> int:
    return _in_range(text, 1, 65535)


def _duration_s(text: str) -> float:
    """Seconds from `10s`, `1.5m`, `250ms`, or a bare number of seconds."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h|)", text)
    if match is None:
        raise argparse.ArgumentTypeError("must be a time like 10s or 5m")
    return float(match[1]) * {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}[match[2]]


def _interfaces(text: str) -> int:
    return _in_range(text, 1, 4)


def _in_range(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"must be a number from {low} to {high}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    from ippusbd import log
    from ippusbd.daemon.process.tuning import leave_out_openssl

    if "help" in args.personality:
        from ippusbd.virtual.personalities import help_table

        show(f"{name:<28} {text}" for name, text in help_table())
        return Exit.OK

    _refuse_ignored(args)
    config = load_config(args)
    if args.idle_exit is not None:
        config = replace(config, idle_exit_s=args.idle_exit)
    if args.unplugged_exit is not None:
        config = replace(config, unplugged_exit_s=args.unplugged_exit)
    if args.page is not None:
        config = replace(config, page=True, page_port=args.page or config.page_port)
    log.setup("debug" if args.verbose else config.log_level, config.log_levels)
    # Virtual printers hash the documents, which OpenSSL does faster.
    if not (config.share_interfaces or args.virtual or args.virtual_if_none):
        leave_out_openssl()
    usual = gc.get_threshold()
    gc.set_threshold(STARTING_OBJECTS)
    return run_until_done(_serve(args, config, lambda: _started(usual)))


def _refuse_ignored(args: argparse.Namespace) -> None:
    """Options of virtual printers where there are none. Raises ConfigError."""
    names = "personality", "interfaces", "no_serial", "model_file", "store", "virtual_control"
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if given and not (args.virtual or args.virtual_if_none):
        raise WrongUsage(f"{given[0]} needs --virtual or --virtual-if-none")


def _started(usual: tuple[int, int, int]) -> None:
    """The garbage collector works as usual, but leaves out what was imported, which stays."""
    gc.freeze()  # else a full collection takes 20 ms, in which no request is answered
    gc.set_threshold(*usual)


async def _serve(args: argparse.Namespace, config: Config, on_running: Callable[[], None]) -> int:
    from ippusbd.daemon import service
    from ippusbd.daemon.process.systemd import exit_within

    async with AsyncExitStack() as stack:
        virtual = args.virtual or (args.virtual_if_none and await no_usb_printer(_usb_host(config)))
        host = _virtual_host(args, config, stack) if virtual else _usb_host(config)
        return await service.run(
            config,
            host,
            hotplug=not virtual,
            on_ready=_announce,
            on_page=lambda url: tell([f"status page  {url}"]),
            on_running=on_running,
            on_stopping=exit_within,
        )


def _usb_host(config: Config) -> UsbHost:
    from ippusbd.usbio.pyusb_host import PyusbHost

    return PyusbHost(transfer_bytes=config.transfer_bytes, channel=config.channel)


async def no_usb_printer(host: UsbHost) -> bool:
    """Whether no usable USB printer is connected; says so, for a virtual one replaces it."""
    try:
        if await host.enumerate():
            return False
        reason = "no IPP-over-USB printer is connected"
    except IppUsbError as exc:
        reason = str(exc)
    finally:
        await host.close()
    tell([f"{reason}; serving a virtual one"])
    return True


# --- virtual printers


def _virtual_host(args: argparse.Namespace, config: Config, stack: AsyncExitStack) -> UsbHost:
    """A host whose bus is in this process; `stack` closes the printers."""
    from ippusbd.usbio.pyusb_host import PyusbHost
    from ippusbd.virtual.control import VirtualControlServer
    from ippusbd.virtual.usb.backend import VirtualBackend

    printers = _virtual_printers(args, stack)
    if args.virtual_control:
        stack.callback(VirtualControlServer(args.virtual_control, printers).close)
    backend = VirtualBackend(printer.device for printer in printers)
    return PyusbHost(backend, transfer_bytes=config.transfer_bytes, channel=config.channel)


def _virtual_printers(args: argparse.Namespace, stack: AsyncExitStack) -> list[VirtualPrinter]:
    from ippusbd.toml_schema import unknown
    from ippusbd.virtual.model_file import load
    from ippusbd.virtual.personalities import REGISTRY
    from ippusbd.virtual.printer import VirtualPrinter

    for name in args.personality:
        if name not in REGISTRY:
            raise unknown("--personality", "name", name, REGISTRY)
    answers = load(args.model_file) if args.model_file else None
    printers = []
    for number in range(1, max(1, args.virtual) + 1):
        printer = VirtualPrinter(
            serial="" if args.no_serial else f"VIRTUAL{number}",
            interfaces=args.interfaces or 3,
            personalities=args.personality,
            store_dir=store_folder(args.store, number),
            answers=answers,
        )
        stack.callback(printer.close)
        printers.append(printer)
    return printers


# --- ready printers


def _announce(printers: Sequence[PrinterStatus], publisher: str) -> None:
    tell(line for printer in printers for line in ready_lines(printer, publisher))


def ready_lines(printer: PrinterStatus, publisher: str) -> Iterator[str]:
    """A printer that has become ready, with commands to paste."""
    from ippusbd.log import escaped

    name = escaped(printer.name)
    yield ""
    yield f"{name or 'printer'}  {printer.url}"
    for title, command in _commands(printer, name, publisher):
        yield f"  {title:<6} {command}"


def _commands(printer: PrinterStatus, name: str, publisher: str) -> Iterator[tuple[str, str]]:
    """CUPS and SANE find printers with Avahi only; without it they have to be configured."""
    from ippusbd.wire.text import queue_name

    uri, queue = printer.ipp_uri, queue_name(name) or "printer"
    found = printer.announced == "established" and publisher in BY_AVAHI
    yield "look", f"curl {printer.url}"
    yield "ask", f"ipptool -tv {uri} get-printer-attributes.test"
    if not found:
        yield "queue", f"lpadmin -p {queue} -E -v {uri} -m everywhere"
    yield "print", f"lp -d {queue} FILE.pdf"
    if not found:
        # Without D-Bus sane-airscan fails to search, and then knows no device at all.
        search = "" if _has_bus() else "[options]\\ndiscovery = disable\\n"
        entry = f"{search}[devices]\\n{queue} = {printer.url}eSCL/, eSCL\\n"
        yield "add", f"printf '{entry}' | tee -a /etc/sane.d/airscan.conf"
    # sane-airscan numbers scanners as it finds them: e0, e1, ...
    literal = re.sub(r"([][.*^$\\])", r"\\\1", name if found else queue)
    pattern = shlex.quote(f"^airscan:e[0-9]*:{literal}$")
    device = f"\"$(scanimage -f '%d%n' | grep -m1 {pattern})\""
    yield "scan", f"scanimage -d {device} --format=png -o page.png"


def _has_bus() -> bool:
    """Whether the system bus is where programs look for it."""
    address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS)
    path = address.removeprefix("unix:path=")
    return path == address or Path(path.partition(",")[0]).exists()
