"""`ippusbxd` as a program whose USB bus has virtual printers: `virtual_ippusbxd.py N OPTIONS...`.

The printers are made after the fork, in the process that serves; $VIRTUAL_CONTROL is their control
socket. Everything else is the console script's.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
from dataclasses import replace
from pathlib import Path

from ippusbd.cli import ippusbxd
from ippusbd.config import Config
from ippusbd.usbio.protocols import UsbHost
from ippusbd.usbio.pyusb_host import PyusbHost
from ippusbd.virtual.control import VirtualControlServer
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

COUNT = int(sys.argv[1])


def make_host(config: Config) -> UsbHost:
    printers = [VirtualPrinter(serial=f"VIRTUAL{n}") for n in range(1, COUNT + 1)]
    if "VIRTUAL_CONTROL" in os.environ:
        control = VirtualControlServer(Path(os.environ["VIRTUAL_CONTROL"]), printers)
        atexit.register(control.close)
    return PyusbHost(VirtualBackend(printer.device for printer in printers))


def quick(options: argparse.Namespace) -> Config:
    """The program's configuration, with a shorter interval between looks for an unplug."""
    return replace(ippusbxd.config_of(options), poll_s=0.1)


sys.exit(ippusbxd.main(sys.argv[2:], make_host=make_host, make_config=quick))
