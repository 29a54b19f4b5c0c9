"""Clients on virtual printers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import usb.core
import usb.util
from support.usb_client import UsbClient

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend


@pytest.fixture
def backend() -> VirtualBackend:
    return VirtualBackend()


@pytest.fixture
def connect(backend: VirtualBackend) -> Iterator[Callable[..., UsbClient]]:
    """`connect(printer, number=0)`: plugs it in, opens it and claims an interface."""
    opened: list[usb.core.Device] = []

    def open_client(printer: VirtualPrinter, number: int = 0) -> UsbClient:
        port = backend.plug(printer.device)
        dev = usb.core.find(backend=backend, custom_match=lambda one: one.address == port.address)
        opened.append(dev)
        return UsbClient(dev, number)

    yield open_client
    for dev in opened:
        usb.util.dispose_resources(dev)


@pytest.fixture
def printer(make_printer: Callable[..., VirtualPrinter]) -> VirtualPrinter:
    return make_printer()


@pytest.fixture
def client(printer: VirtualPrinter, connect: Callable[..., UsbClient]) -> UsbClient:
    return connect(printer)
