"""A printer keeps its port permanently, and no other printer gets it."""

from __future__ import annotations

import json

import pytest
from support.daemon import QUICK, InProcessDaemon, run_daemon
from support.http_client import ask

from ippusbd.proxy.admission.listeners import bind


async def test_a_printer_has_the_same_port_and_name_after_a_restart(make_printer, state_path):
    ports, names = [], []
    for _ in range(3):
        async with run_daemon(make_printer(serial="A"), state_path=state_path) as daemon:
            ports.append(daemon.port())
            names.append(daemon.row()["name"])
    assert len(set(ports)) == len(set(names)) == 1
    assert ports[0] in range(QUICK.port_min, QUICK.port_max + 1)


async def test_no_other_printer_gets_the_port_of_an_absent_one(make_printer, state_path):
    async with run_daemon(make_printer(serial="A"), state_path=state_path) as daemon:
        first = daemon.port()
    async with run_daemon(make_printer(serial="B"), state_path=state_path) as daemon:
        second = daemon.port()
    both = (make_printer(serial="B"), make_printer(serial="A"), make_printer(serial="C"))
    async with run_daemon(*both, state_path=state_path) as daemon:
        assert (daemon.port("A"), daemon.port("B")) == (first, second)
        assert daemon.port("C") not in (first, second)


def ports_by_place(daemon: InProcessDaemon) -> list[int]:
    """In the order of the USB ports; addresses on the bus begin anew after 127."""
    printers = sorted(daemon.supervisor.printers, key=lambda one: one.facts.address.place)
    return [one.site.port for one in printers]


@pytest.mark.parametrize("serial", ["", "0000"])
async def test_identical_printers_get_ports_and_names_of_their_own(
    make_printer, state_path, serial: str
):
    """Without a serial number, and with the same one (which some makers print into firmware)."""
    twins = [make_printer(serial=serial) for _ in range(2)]
    async with run_daemon(*twins, state_path=state_path, supplies_s=0.0) as daemon:
        rows = daemon.supervisor.status()
        assert len({row.port for row in rows}) == 2
        assert len({row.name for row in rows}) == 2
        for port, printer in zip(ports_by_place(daemon), twins, strict=True):
            before = printer.stats["requests"]
            assert (await ask(port)).status == 200
            assert printer.stats["requests"] == before + 1


async def test_identical_printers_keep_their_ports_by_their_usb_port(make_printer, state_path):
    ports = []
    for _ in range(2):
        twins = [make_printer(serial="") for _ in range(2)]
        async with run_daemon(*twins, state_path=state_path) as daemon:
            ports.append(ports_by_place(daemon))
    assert ports[0] == ports[1]


async def test_a_port_in_use_is_replaced_temporarily(make_printer, state_path):
    async with run_daemon(make_printer(serial="A"), state_path=state_path) as daemon:
        own = daemon.port()
    squatter = bind("127.0.0.1", own)
    async with run_daemon(make_printer(serial="A"), state_path=state_path) as daemon:
        assert daemon.port() != own
    squatter.close()
    async with run_daemon(make_printer(serial="A"), state_path=state_path) as daemon:
        assert daemon.port() == own


async def test_the_state_file_contains_the_owner_of_each_port(make_printer, state_path):
    async with run_daemon(make_printer(serial="A"), state_path=state_path) as daemon:
        port, name = daemon.port(), daemon.row()["name"]
    (entry,) = json.loads(state_path.read_text())["printers"].items()
    assert entry[0] == "1209:0001:A"
    assert (entry[1]["port"], entry[1]["name"]) == (port, name)


async def test_an_unplugged_printer_keeps_listening_and_answers_503(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        port = daemon.port()
        daemon.unplug(printer)
        await daemon.until_state("away")
        reply = await ask(port)
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")
        assert b"not plugged in" in reply.body
