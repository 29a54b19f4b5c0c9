"""A device is always the same printer, and two devices are never one."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.ports import FIRST_PORT
from support.waiting import until

from ippusbd.aio import now
from ippusbd.config import Config
from ippusbd.daemon.printer.states import Event
from ippusbd.daemon.registry import MAX_UNPLUGGED, Registry
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import StateError
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.proxy.admission.listeners import bind, is_free
from ippusbd.wire.ipp import PrinterState

CONFIG = Config(port_min=FIRST_PORT + 500, port_max=FIRST_PORT + 999)
LAST_TWO = range(FIRST_PORT + 998, FIRST_PORT + 1000)
FACTS = DeviceFacts(UsbId(0x03F0, 0x1234), BusAddress(1, 5, "1-1"), "HP", "Jet", "SN1")
TWIN = replace(FACTS, address=BusAddress(1, 6, "1-2"))


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    return StateFile(tmp_path / "printers.json", range(CONFIG.port_min, CONFIG.port_max + 1))


@pytest.fixture
async def registry(state: StateFile) -> AsyncIterator[Registry]:
    registry = Registry(CONFIG, state)
    yield registry
    await registry.close()
    await state.close()


async def test_a_printer_is_identified_by_its_serial_number(registry: Registry):
    assert registry.key_for(FACTS, taken=set()) == "03f0:1234:SN1"


async def test_a_device_that_shows_a_new_serial_number_at_every_plug_costs_bounded_sockets(
    registry: Registry, state: StateFile
):
    ports = [(await registry.printer(f"03f0:1234:SN{n}")).site.port for n in range(40)]
    assert len(list(registry)) == MAX_UNPLUGGED + 1
    assert [printer.site.port for printer in registry] == ports[-MAX_UNPLUGGED - 1 :]
    assert is_free(CONFIG.listen_addresses, ports[0])

    again = await registry.printer("03f0:1234:SN0")
    assert again.site.port == ports[0]


async def test_a_printer_in_use_is_kept_however_many_come_after_it(registry: Registry):
    used = await registry.printer(FACTS.key)
    used.to(Event.PLUGGED)
    for n in range(MAX_UNPLUGGED + 5):
        await registry.printer(f"03f0:1234:X{n}")
    assert await registry.printer(FACTS.key) is used


async def test_a_printer_without_a_serial_number_is_identified_by_its_usb_port(registry: Registry):
    assert registry.key_for(replace(FACTS, serial=""), taken=set()) == "03f0:1234@1-1"
    known = BusAddress(3, 5, "3-1.4", "pci0000:00/0000:00:14.0/0")
    after_boot = replace(known, bus=5, address=2, port_path="5-1.4")
    for address in (known, after_boot):
        facts = replace(FACTS, serial="", address=address)
        assert registry.key_for(facts, taken=set()) == "03f0:1234@pci0000:00/0000:00:14.0/0/1.4"


@pytest.mark.parametrize("half", ["127.0.0.1", "::1"])
async def test_a_port_of_which_another_program_has_a_half_is_not_served(
    registry: Registry, state: StateFile, half: str
):
    own = state.port_for(FACTS.key)
    other = bind(half, own)
    try:
        printer = await registry.printer(FACTS.key)
        assert printer.site.port == own + 1
        for host in ("127.0.0.1", "::1"):
            with pytest.raises(OSError, match="in use"):  # it is served on both
                bind(host, own + 1)
    finally:
        other.close()


async def test_a_second_printer_with_the_same_serial_number_is_identified_by_both(
    registry: Registry,
):
    assert registry.key_for(TWIN, taken={FACTS.key}) == "03f0:1234:SN1@1-2"


async def test_the_second_printer_keeps_its_key_whichever_is_opened_first(registry: Registry):
    await registry.printer(registry.key_for(FACTS, taken=set()))
    await registry.printer(registry.key_for(TWIN, taken={FACTS.key}))
    assert registry.key_for(TWIN, taken=set()) == "03f0:1234:SN1@1-2"
    assert registry.key_for(FACTS, taken=set()) == "03f0:1234:SN1"


async def test_another_serial_number_at_the_second_printers_port_is_another_printer(
    registry: Registry,
):
    await registry.printer(registry.key_for(TWIN, taken={FACTS.key}))
    assert registry.key_for(replace(TWIN, serial="SN2"), taken=set()) == "03f0:1234:SN2"


async def test_a_printer_is_created_once_for_concurrent_requests(registry: Registry):
    made = await asyncio.gather(*(registry.printer(FACTS.key) for _ in range(5)))
    assert len({id(one) for one in made}) == 1
    assert list(registry) == [made[0]]


async def test_a_printer_whose_device_leaves_while_it_is_created_keeps_its_port(state: StateFile):
    (state.folder / "cancels.json").write_text('{"booted_at": 0, "printers": {}}')
    reading, goes_on = threading.Event(), threading.Event()

    def boottime() -> float:
        reading.set()
        assert goes_on.wait(20)
        return 0.0

    registry = Registry(CONFIG, state, boottime=boottime)
    first = asyncio.create_task(registry.printer(FACTS.key))
    await until(reading.is_set)
    first.cancel()
    await asyncio.sleep(0)
    goes_on.set()
    await asyncio.wait([first])
    assert first.cancelled()
    assert (await registry.printer(FACTS.key)).site.port == state.printers()[FACTS.key].port
    await registry.close()
    await state.close()


async def test_its_name_comes_from_the_state_file(registry: Registry, state: StateFile):
    state.set_name(FACTS.key, "The Printer (USB)")
    assert (await registry.printer(FACTS.key)).name == "The Printer (USB)"


async def test_without_a_free_port_it_fails_and_leaves_nothing_behind(state: StateFile):
    holders = [bind("127.0.0.1", port) for port in LAST_TWO]
    state._ports = LAST_TWO
    registry = Registry(CONFIG, state)
    with pytest.raises(StateError):
        await registry.printer(FACTS.key)
    assert list(registry) == []
    for holder in holders:
        holder.close()
    assert (await registry.printer(FACTS.key)).site.port in LAST_TWO
    await registry.close()
    await state.close()


async def test_a_cancellation_while_a_printer_is_created_leaves_no_socket(state: StateFile):
    registry = Registry(CONFIG, state)
    making = asyncio.create_task(registry.printer(FACTS.key))
    await asyncio.sleep(0)
    making.cancel()
    await asyncio.wait([making])
    printer = await registry.printer(FACTS.key)
    assert printer.site.port == CONFIG.port_min
    await registry.close()
    await state.close()


# --- documents that an earlier daemon sent


async def test_a_document_is_known_to_the_next_daemon_until_the_machine_is_started_anew(
    state: StateFile,
):
    first = Registry(CONFIG, state)
    printer = await first.printer(FACTS.key)
    printer.facts = FACTS
    printer.site.traffic.document(now() - 60)
    await first.close()

    assert Registry(CONFIG, state).document_at(FACTS.address) == pytest.approx(now() - 60, abs=2)
    assert Registry(CONFIG, state).document_at(TWIN.address) == -math.inf
    rebooted = Registry(CONFIG, state, boottime=lambda: 30.0)
    assert rebooted.document_at(FACTS.address) == -math.inf
    await state.close()


async def test_a_document_is_forgotten_at_the_stop_if_the_printer_told_that_it_is_idle(
    state: StateFile,
):
    for told in (False, True):
        registry = Registry(CONFIG, state, boottime=lambda: 1e6)
        printer = await registry.printer(FACTS.key)
        printer.facts = FACTS
        printer.site.traffic.document(now() - 700)
        if told:
            printer.evidence.state_report(PrinterState.IDLE, ())
        await registry.close()

        assert math.isinf(registry.document_at(FACTS.address)) is told
    await state.close()


async def test_a_document_that_is_refused_leaves_the_one_before_it(state: StateFile):
    registry = Registry(CONFIG, state)
    printer = await registry.printer(FACTS.key)
    printer.facts = FACTS
    before, refused = now() - 60, now()
    for at in (before, refused, before):
        printer.site.traffic.document(at)
    assert registry.document_at(FACTS.address) == pytest.approx(before, abs=2)
    await registry.close()
    await state.close()
