"""Unplugs, personality switches and lost clients at any moment leave nothing behind."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress

import h11
import pytest
import usb.core
import usb.util
from support.usb_client import UsbClient

from ippusbd.virtual.personalities import REGISTRY
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.backend import VirtualBackend

Maker = Callable[..., VirtualPrinter]
TROUBLE = (usb.core.USBError, ValueError, TimeoutError, h11.ProtocolError)


def busy_client(backend: VirtualBackend, number: int, stop: threading.Event) -> None:
    """Opens, sends a request, and starts over after any error."""
    while not stop.is_set():
        with suppress(*TROUBLE):
            dev = usb.core.find(backend=backend)
            if dev is not None:
                use(dev, number, stop)


def use(dev: usb.core.Device, number: int, stop: threading.Event) -> None:
    try:
        client = UsbClient(dev, number, timeout_ms=50)
        while not stop.is_set():
            client.ask(path="/big?bytes=200000", deadline_s=0.2)
            client.ask("POST", "/sink", bytes(300_000), deadline_s=0.2)
    finally:
        usb.util.dispose_resources(dev)


def storm(backend: VirtualBackend, printer: VirtualPrinter, action: Callable[[], object]) -> None:
    backend.plug(printer.device)
    stop = threading.Event()
    clients = [
        threading.Thread(target=busy_client, args=(backend, number, stop)) for number in (0, 1)
    ]
    for thread in clients:
        thread.start()
    for _ in range(20):
        stop.wait(0.03)
        action()
    stop.set()
    for thread in clients:
        thread.join(10)
        assert not thread.is_alive(), "a client waits for ever"


@pytest.fixture
def healthy(backend: VirtualBackend) -> Callable[[VirtualPrinter], None]:
    """Asserts that the printer works after a power cycle."""

    def check(printer: VirtualPrinter) -> None:
        for name in printer.personalities.names:
            printer.switch(name, on=False)
        printer.replug()
        dev = usb.core.find(backend=backend)
        client = UsbClient(dev)
        assert client.ask().status == 200
        client.close()

    return check


def test_twenty_quick_replugs_in_the_middle_of_transfers(
    backend: VirtualBackend, printer: VirtualPrinter, healthy: Callable[[VirtualPrinter], None]
) -> None:
    storm(backend, printer, printer.replug)
    healthy(printer)


def test_resets_in_the_middle_of_transfers(
    backend: VirtualBackend, printer: VirtualPrinter, healthy: Callable[[VirtualPrinter], None]
) -> None:
    storm(backend, printer, printer.device.reset)
    healthy(printer)


def test_personalities_switched_at_random(
    backend: VirtualBackend, printer: VirtualPrinter, healthy: Callable[[VirtualPrinter], None]
) -> None:
    chance = random.Random(1)
    names = sorted(REGISTRY)

    def switch() -> None:
        printer.switch(chance.choice(names), on=True)
        printer.switch(chance.choice(names), on=False)
        if chance.random() < 0.2:
            printer.replug()

    storm(backend, printer, switch)
    healthy(printer)


def test_closing_in_the_middle_of_transfers_ends_every_thread(
    backend: VirtualBackend, printer: VirtualPrinter
) -> None:
    storm(backend, printer, lambda: None)
    printer.close()

    assert not any(one.name.startswith("virtual-") for one in threading.enumerate())
