"""`ippusbxd`: one printer per process, with the options that existing udev rules use.

Prints `PORT|` on standard output once it listens; unless it stays in the foreground
it then continues in the background, and `PID|` follows. Exits when the printer is
unplugged. The process forks before anything else is imported: threads must start and
descriptors must be opened in the child only.

Knows options and processes; `daemon.single` serves the printer.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.cli import output
from ippusbd.errors import IppUsbError

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.daemon.single import Choice, Places
    from ippusbd.usbio.protocols import UsbHost

    MakeHost = Callable[[Config], UsbHost]
    MakeConfig = Callable[[argparse.Namespace], Config]

FAILED: Final = 1
LAST_PORT: Final = 65535
FIRST_PORT: Final = 60000
KEEP_ALIVE_IDLE_S: Final = 10.0  # with a keep-alive socket, as in ChromeOS
_SIOCGIFADDR: Final = 0x8915

EPILOG: Final = """\
example for a udev rule:
  RUN+="/usr/bin/ippusbxd --bus-device %E{BUSNUM}:%E{DEVNUM} --from-port 60000 --logging"

ippusbd serves all printers in one process; see ippusbd(8)."""


def main(
    argv: Sequence[str] | None = None,
    *,
    make_host: MakeHost | None = None,
    make_config: MakeConfig | None = None,
) -> int:
    """Serve the chosen printer; returns the exit status. Tests bring their own USB bus."""
    output.prepare_streams()
    parser = build_parser()
    options = parser.parse_args(argv)
    if (options.bus is None) != (options.device is None):
        parser.error("--bus and --device are used together")
    if options.bus is not None and options.bus_device is not None:
        parser.error("--bus-device replaces --bus and --device")
    options.make_config = make_config or config_of
    try:
        if options.no_fork or options.debug:
            return _serve(options, make_host or _usb_host, _print_port)
        return _serve_in_background(options, make_host or _usb_host)
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The options of the earlier ippusbxd, and those that ChromeOS added."""
    parser = argparse.ArgumentParser(
        prog="ippusbxd",
        description="Serve one IPP-over-USB printer or scanner on a local port.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    which = parser.add_argument_group("which printer (the first that matches)")
    which.add_argument("-v", "--vid", type=_hex, metavar="HEX", help="USB vendor id")
    which.add_argument("-m", "--pid", type=_hex, metavar="HEX", help="USB product id")
    which.add_argument("-s", "--serial", default="", help="serial number")
    which.add_argument("--bus", type=_decimal, metavar="N", help="USB bus number, with --device")
    which.add_argument("--device", type=_decimal, metavar="N", help="device number on the bus")
    which.add_argument("--bus-device", type=_bus_device, metavar="B:D", help="bus and device")
    _add_places(parser)
    how = parser.add_argument_group("how")
    how.add_argument("-B", "--no-broadcast", action="store_true", help="do not announce it")
    how.add_argument("-l", "--logging", action="store_true", help="log to syslog")
    how.add_argument("-q", "--verbose", action="store_true", help="log everything")
    how.add_argument("-d", "--debug", action="store_true", help="foreground, log everything")
    how.add_argument("-n", "--no-fork", action="store_true", help="stay in the foreground")
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group("where")
    port = where.add_mutually_exclusive_group()
    port.add_argument(
        "-p", "--only-port", type=_port, metavar="N", help="this port; fail if it is in use"
    )
    port.add_argument(
        "-P",
        "--from-port",
        type=_port,
        metavar="N",
        help=f"the first free port from this one ({FIRST_PORT})",
    )
    where.add_argument(
        "-i", "--interface", default="lo", metavar="IF", help="network interface (lo)"
    )
    where.add_argument(
        "--uds-path", type=Path, metavar="PATH", help="also listen on this Unix socket"
    )
    where.add_argument(
        "--keep-alive",
        type=Path,
        metavar="PATH",
        help=f"exit after {KEEP_ALIVE_IDLE_S:g} s without a request, or a keep-alive here",
    )


# --- option values


def _hex(text: str) -> int:
    return _number(text, 16, 0xFFFF, "a hexadecimal number of four digits")


def _decimal(text: str) -> int:
    return _number(text, 10, 999, "a number")


def _port(text: str) -> int:
    port = _number(text, 10, LAST_PORT, "a port number")
    if port == 0:
        raise argparse.ArgumentTypeError("must be a port number, not '0'")
    return port


def _number(text: str, base: int, highest: int, what: str) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if not 0 <= number <= highest:
        raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
    return number


def _bus_device(text: str) -> tuple[int, int]:
    bus, _, device = text.partition(":")
    return _decimal(bus), _decimal(device)


def _choice(options: argparse.Namespace) -> Choice:
    from ippusbd.daemon.single import Choice

    bus, address = options.bus_device or (options.bus, options.device)
    return Choice(
        vendor=options.vid, product=options.pid, serial=options.serial, bus=bus, address=address
    )


def _places(options: argparse.Namespace) -> Places:
    from ippusbd.daemon.single import Places

    only, first = options.only_port, options.from_port or FIRST_PORT
    ports = range(only, only + 1) if only else range(first, LAST_PORT + 1)
    return Places(
        ports=ports, http=_absolute(options.uds_path), keep_alive=_absolute(options.keep_alive)
    )


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None


def config_of(options: argparse.Namespace) -> Config:
    """The system's configuration, changed by the options."""
    from dataclasses import replace

    from ippusbd.config import default_file, load

    config = load(default_file(os.environ, os.getuid()))
    config = replace(config, idle_exit_s=KEEP_ALIVE_IDLE_S if options.keep_alive else 0.0)
    if options.no_broadcast:
        config = replace(config, dnssd="off")
    if options.interface != "lo":
        # Announcements name localhost, which is useless to other hosts.
        address = address_of(options.interface)
        config = replace(config, listen_ipv4=address, listen_ipv6="", dnssd="off")
        config = replace(config, hosts=config.hosts or ("*",))  # any name others use for us
    return config


def address_of(interface: str) -> str:
    """The IPv4 address of a network interface. Raises IppUsbError."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket.fileno(), _SIOCGIFADDR, request)
        except OSError as exc:
            raise IppUsbError(f"--interface {interface}: {exc.strerror}") from exc
    return socket.inet_ntoa(answer[20:24])


# --- serving


def _usb_host(config: Config) -> UsbHost:
    from ippusbd.usbio.pyusb_host import PyusbHost

    return PyusbHost(transfer_bytes=config.transfer_bytes, channel=config.channel)


def _serve(
    options: argparse.Namespace, make_host: MakeHost, on_listening: Callable[[int], None]
) -> int:
    """Serve in this process until the printer is unplugged."""
    from ippusbd.aio import run
    from ippusbd.daemon.single import serve_one

    try:
        config = options.make_config(options)
        _set_up_log(options, config)
        work = serve_one(
            config,
            make_host(config),
            _choice(options),
            _places(options),
            on_listening=on_listening,
        )
        run(work)
    except IppUsbError as exc:
        from ippusbd.log import escaped

        print(f"ippusbxd: {escaped(str(exc))}", file=sys.stderr, flush=True)
        return FAILED
    return 0


def _set_up_log(options: argparse.Namespace, config: Config) -> None:
    from ippusbd import log

    level = config.log_level
    if not (options.logging or options.no_fork):
        level = "warning"  # nothing is shown once the terminal is closed
    if options.verbose or options.debug:
        level = "debug"
    log.setup(level, config.log_levels)
    if options.logging:
        log.to_syslog("ippusbxd")


def _print_port(port: int) -> None:
    output.tell([f"{port}|"], end="")


def _serve_in_background(options: argparse.Namespace, make_host: MakeHost) -> int:
    """Wait until a child process serves, print its port and process id, and return."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        status = FAILED
        try:
            status = _serve(options, make_host, lambda port: _settle(tell, port))
        finally:
            sys.stderr.flush()
            os._exit(status)  # exit handlers are the parent's
    os.close(tell)
    with os.fdopen(told) as pipe:
        port = pipe.read()
    if not port:
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) or FAILED
    _print_port(int(port))
    output.tell([f"{pid}|"], end="")
    return 0


def _settle(tell: int, port: int) -> None:
    """In the child: send the port to the parent, and detach from the terminal."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    os.write(tell, str(port).encode())
    os.close(tell)
