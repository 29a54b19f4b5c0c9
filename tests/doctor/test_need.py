"""The doctor judges by need: what nobody needs is a note, and remedies fit this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.waiting import until_true

from ippusbd.config import Config
from ippusbd.daemon.observe.status import (
    BrokerStatus,
    ConditionStatus,
    InterfaceCounts,
    PrinterStatus,
    PublisherStatus,
    Status,
)
from ippusbd.daemon.printer.states import State
from ippusbd.doctor import announcing, printers, queues, rivals, service
from ippusbd.doctor.findings import Finding, Level
from ippusbd.doctor.machine import Machine
from ippusbd.init_system import Init
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands
from ippusbd.model import Supply
from ippusbd.wire.state_reasons import advice

SCANNER = PrinterStatus(state=State.READY, name="Scanner", url="http://localhost:60000/")
PRINTER = replace(SCANNER, name="Jet (USB)", condition=ConditionStatus())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One with systemd, the unit of the package, and no programs but those that a test adds."""
    for folder in ("etc/systemd/system", "run/systemd/system", "lib/systemd/system", "bin", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "lib/systemd/system/ippusbd.service").touch()
    (tmp_path / "lib/systemd/system/ippusbd-broker.socket").touch()
    return Machine(
        etc=tmp_path / "etc", proc=tmp_path / "proc", environ={"PATH": str(tmp_path / "bin")}
    )


def program(machine: Machine, name: str, prints: str = "", status: int = 0) -> None:
    path = machine.root / "bin" / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
    path.chmod(0o755)


def mask(machine: Machine) -> None:
    (machine.etc / "systemd/system/ippusbd.service").symlink_to("/dev/null")


def daemon(machine: Machine, *, needed: bool) -> Finding:
    """What is said of a daemon that does not run."""
    return next(service.check(service.Answer(None), Config(), machine, needed))


# --- the daemon


def test_a_service_that_ended_because_no_printer_is_there_is_well(machine: Machine):
    program(machine, "systemctl", "ActiveState=inactive\nResult=success\nExecMainStatus=0")
    found = daemon(machine, needed=False)
    assert (found.level, "starts with the first printer" in found.text) == (Level.OK, True)


def test_a_service_that_does_not_run_beside_a_printer_is_started(machine: Machine):
    program(machine, "systemctl", "ActiveState=inactive\nResult=success\nExecMainStatus=0")
    found = daemon(machine, needed=True)
    assert (found.level, found.kind) == (Level.PROBLEM, Kind.NOT_RUNNING.label)
    assert found.remedy.endswith("systemctl start ippusbd")


def test_a_service_that_failed_is_a_problem_also_without_a_printer(machine: Machine):
    program(machine, "systemctl", "ActiveState=failed\nResult=exit-code\nExecMainStatus=2")
    found = daemon(machine, needed=False)
    assert (found.level, found.kind) == (Level.PROBLEM, Kind.SERVICE_FAILED.label)
    assert "exit-code, exit status 2" in found.text
    assert "journalctl -u ippusbd; then: " in found.remedy


def test_without_a_service_and_without_a_printer_no_daemon_is_missing(tmp_path: Path):
    bare = Machine(etc=tmp_path / "etc")
    found = daemon(bare, needed=False)
    assert (found.level, found.kind) == (Level.NOTE, Kind.NOT_NEEDED.label)
    assert daemon(bare, needed=True).remedy == "start it: ippusbd run"


@pytest.fixture
def listening(machine: Machine) -> Iterator[None]:
    """The kernel's table as it is while systemd listens for the broker."""
    path = machine.root / "ippusb_manager.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        table = Path("/proc/net/unix").read_text()
        (machine.proc / "net").mkdir()
        named = table.replace(str(path), "/run/ippusb/ippusb_manager.sock")
        (machine.proc / "net/unix").write_text(named)
        yield


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("needed", [False, True])
def test_on_demand_a_daemon_that_nobody_asked_is_well(machine: Machine, needed: bool):
    mask(machine)
    found = daemon(machine, needed=needed)
    assert (found.level, "on demand" in found.text) == (Level.OK, True)


def test_on_demand_the_remedy_is_the_socket_and_no_masked_unit(machine: Machine):
    mask(machine)
    found = daemon(machine, needed=False)
    assert (found.level, found.kind) == (Level.PROBLEM, Kind.NOT_RUNNING.label)
    assert found.remedy.endswith("systemctl enable --now ippusbd-broker.socket")
    commands = machine.commands
    assert commands.restart.endswith("systemctl restart ippusbd-broker.service")
    assert commands.log.endswith("journalctl -u ippusbd-broker")


def test_a_configuration_of_ones_own_is_not_the_services(machine: Machine):
    own = replace(machine, config=Path("own.conf"))
    assert daemon(own, needed=True).remedy == "start it: ippusbd run --config own.conf"
    usual = replace(machine, config=Path("/etc/ippusbd/ippusbd.conf"))
    assert daemon(usual, needed=True).remedy.endswith("systemctl start ippusbd")


# --- Avahi and CUPS


@pytest.fixture
def no_bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")


def avahi(machine: Machine, publisher: str, status: Status | None = None) -> Finding:
    (found,) = [
        each
        for each in announcing.check(machine, Config(dnssd=publisher), status)
        if each.check == "avahi"
    ]
    return found


RUNS = Status(publisher=PublisherStatus(kind="zeroconf", state="ok"))
FAILS = Status(publisher=PublisherStatus(kind="zeroconf", state="no socket"))


@pytest.mark.usefixtures("no_bus")
@pytest.mark.parametrize("installed", [False, True])
def test_a_missing_avahi_is_a_problem_only_where_it_is_needed(machine: Machine, installed: bool):
    if installed:
        program(machine, "avahi-daemon")
    else:
        machine = replace(machine, environ={"PATH": ""}, sbin="")
    assert avahi(machine, "auto", RUNS).level is Level.NOTE
    assert avahi(machine, "auto").kind == Kind.NO_AVAHI.label
    assert avahi(machine, "auto", FAILS).level is Level.PROBLEM
    needed = avahi(machine, "avahi")
    assert (needed.level, needed.kind) == (Level.PROBLEM, Kind.AVAHI.label)
    if installed:
        assert needed.remedy.endswith("systemctl enable --now dbus avahi-daemon")


def cups(machine: Machine, *served: PrinterStatus) -> Finding:
    return next(queues.check(machine, served, {}))


def test_a_desk_that_only_scans_needs_no_cups(machine: Machine):
    assert cups(replace(machine, sbin=""), SCANNER).level is Level.NOTE
    program(machine, "lpstat", "scheduler is not running", status=1)
    program(machine, "cupsd")
    assert cups(machine, SCANNER).kind == Kind.NO_CUPS.label
    found = cups(machine, SCANNER, PRINTER)
    assert (found.level, found.kind) == (Level.PROBLEM, Kind.CUPS.label)
    assert found.remedy.endswith("systemctl enable --now cups.socket cups")


def test_a_virtual_printer_is_said_to_be_one():
    status = Status(printers=(replace(PRINTER, virtual=True),))
    (found,) = [each for each in printers.check(status) if each.check == "printer"]
    assert found.text == "a virtual printer, served at http://localhost:60000/"


def test_trouble_of_a_served_printer_and_of_the_daemon_has_its_kind(machine: Machine):
    condition = ConditionStatus(
        asks=(advice("media-empty-error"), advice("standby-report")),
        supplies=(Supply("Black", low=True),),
    )
    row = replace(PRINTER, interfaces=InterfaceCounts(total=3, broken=1), condition=condition)
    kinds = {each.kind for each in printers.check(Status(printers=(row,)))}
    wanted = Kind.BROKEN, Kind.ATTENTION, Kind.SAYS, Kind.LOW
    assert {kind.label for kind in wanted} <= kinds
    (empty,) = printers.check(Status())
    assert empty.kind == Kind.NO_PRINTER.label
    answer = service.Answer(Status(broker=BrokerStatus(trouble="no folder")))
    _, sockets = service.check(answer, Config(), machine, False)
    assert (sockets.level, sockets.kind) == (Level.PROBLEM, Kind.NO_SOCKETS.label)


@pytest.mark.usefixtures("no_bus")
def test_a_loopback_interface_that_is_down_is_a_problem(machine: Machine):
    flags = machine.root / "sys/class/net/lo/flags"
    flags.parent.mkdir(parents=True)
    flags.write_text("0x8\n")
    here = replace(machine, sys=machine.root / "sys")
    found = next(announcing.check(here, Config(), None))
    assert (found.level, found.kind) == (Level.PROBLEM, Kind.LOOPBACK.label)
    assert found.remedy.endswith("ip link set lo up")


def test_a_running_hplip_is_a_note_with_its_process(machine: Machine):
    hpssd = machine.root / "bin/hpssd"
    shutil.copy(shutil.which("cat") or "", hpssd)
    here = replace(machine, proc=Path("/proc"))
    with subprocess.Popen([hpssd], stdin=subprocess.PIPE) as process:
        until_true(lambda: here.named("hpssd"))
        _, found = rivals.check(here, {})
    assert (found.level, found.kind) == (Level.NOTE, Kind.HPLIP_RUNS.label)
    assert found.remedy.endswith(f"kill {process.pid}")


# --- commands


@pytest.mark.parametrize(
    ("program", "told"),
    [("", "su -c 'systemctl start ippusbd'"), ("sudo", "sudo systemctl start ippusbd"),
     ("doas", "doas systemctl start ippusbd")],
)  # fmt: skip
def test_a_user_is_told_how_to_become_root(machine: Machine, program: str, told: str):
    if program:
        path = machine.root / "bin" / program
        path.touch(0o755)
    commands = LocalCommands(root=machine.root, uid=1000, path=machine.environ["PATH"])
    assert commands.start == told


def test_a_program_that_no_shell_finds_is_named_with_its_path(machine: Machine):
    own = machine.root / "venv/bin/ippusbd"
    own.parent.mkdir(parents=True)
    own.touch(0o755)
    path = machine.environ["PATH"]
    commands = LocalCommands(root=machine.root, uid=0, path=path, argv0=str(own))
    assert commands.setup == f"{own} setup"
    here = LocalCommands(root=machine.root, uid=0, path=str(own.parent), argv0=str(own))
    assert here.setup == "ippusbd setup"
    user = LocalCommands(root=machine.root, uid=1000, path=str(own.parent), argv0=str(own))
    assert user.setup == f"su -c '{own} setup'"


def test_a_users_own_daemon_is_not_asked_as_root(machine: Machine):
    path, argv0 = machine.environ["PATH"], str(machine.root / "venv/bin/ippusbd")
    user = LocalCommands(root=machine.root, uid=1000, path=path, argv0=argv0)
    assert user.retry == f"{argv0} retry"
    assert user.doctor_as_root == f"su -c '{argv0} doctor'"


def test_services_of_others_have_the_commands_of_the_init_system(tmp_path: Path):
    (tmp_path / "run/openrc").mkdir(parents=True)
    commands = LocalCommands(root=tmp_path, uid=0)
    assert commands.init is Init.OPENRC
    assert commands.restart_avahi == "rc-service avahi-daemon restart"
    assert commands.disable_ipp_usb == "rc-service ipp-usb stop && rc-update del ipp-usb"


def test_the_package_of_a_library_is_named_as_this_distribution_does(machine: Machine):
    path = machine.environ["PATH"]
    commands = LocalCommands(root=machine.root, uid=0, path=path, sbin="")
    assert commands.install_libusb == "install libusb"
    program(machine, "dnf")
    assert commands.install_libusb == "dnf install libusb1"
