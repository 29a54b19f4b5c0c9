"""Attaching finds a free port and passes the kernel an imported socket; sysfs is simulated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ippusbd.errors import NotUsable, UsbError
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.usbip import UsbIpServer
from ippusbd.virtual.usb.vhci import Attacher

HEAD = "hub port sta spd dev      sockfd local_busid\n"
USED, FREE = "006 003 00010001 000003 1-1", "004 000 00000000 000000 0-0"


@pytest.fixture
def printer() -> Iterator[VirtualPrinter]:
    one = VirtualPrinter()
    one.plug()
    yield one
    one.close()


@pytest.fixture
def server(printer: VirtualPrinter) -> Iterator[UsbIpServer]:
    one = UsbIpServer([printer.device])
    yield one
    one.close()


def controller(folder: Path, *lines: str) -> Path:
    (folder / "attach").touch()
    (folder / "status").write_text(HEAD + "".join(f"{line}\n" for line in lines))
    return folder


def test_a_device_goes_to_the_first_free_high_speed_port(
    tmp_path: Path, printer: VirtualPrinter, server: UsbIpServer
) -> None:
    sysfs = controller(tmp_path, f"hs  0000 {USED}", f"ss  0001 {FREE}", f"hs  0002 {FREE}")

    assert Attacher(server, sysfs).attach(printer.device) == 2

    port, descriptor, devid, speed = (sysfs / "attach").read_text().split()
    assert (port, int(devid), speed) == ("2", 1 << 16 | 1, "3")
    assert int(descriptor) > 2


def test_without_a_free_port_attaching_fails_and_the_device_is_released(
    tmp_path: Path, printer: VirtualPrinter, server: UsbIpServer
) -> None:
    attacher = Attacher(server, controller(tmp_path, f"hs  0000 {USED}"))

    with pytest.raises(UsbError, match="in use"):
        attacher.attach(printer.device)
    server.wait_released(printer.device, timeout_s=5)


def test_an_unplugged_device_is_refused(
    tmp_path: Path, printer: VirtualPrinter, server: UsbIpServer
) -> None:
    printer.unplug()
    attacher = Attacher(server, controller(tmp_path, f"hs  0000 {FREE}"))

    with pytest.raises(UsbError, match="refuses 1-1"):
        attacher.attach(printer.device)


def test_without_the_kernel_module_the_error_names_it(tmp_path: Path, server: UsbIpServer) -> None:
    with pytest.raises(NotUsable, match="modprobe"):
        Attacher(server, tmp_path / "nowhere")
