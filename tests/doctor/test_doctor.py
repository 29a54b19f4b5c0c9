"""The doctor finds each problem when it exists, and none where there is none.

Processes, files, permissions and the daemon are real; only sysfs is a copy, because a test
machine has no USB bus (the guest of tests/e2e has one).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.daemon import run_daemon
from support.rigs import SPEC
from support.waiting import until_true

from ippusbd.config import Config
from ippusbd.daemon.observe.status import Status
from ippusbd.doctor import devices, printers, rivals, service
from ippusbd.doctor.access import may_use
from ippusbd.doctor.findings import Finding, Level, lines
from ippusbd.doctor.machine import Credentials, Machine
from ippusbd.kinds import Kind
from ippusbd.virtual.usb.descriptors import configuration_descriptor, device_descriptor

NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may enter."""
    path = Path(tempfile.mkdtemp(prefix="doctor-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def machine(folder: Path) -> Machine:
    """A printer on its USB bus, a device node for it, nothing else; real processes."""
    device = folder / "sys/bus/usb/devices/1-2"
    (device / "1-2:1.0").mkdir(parents=True)
    (device / "descriptors").write_bytes(device_descriptor(SPEC) + configuration_descriptor(SPEC))
    about = {"busnum": "1", "devnum": "7", "idVendor": "1209", "idProduct": "0001"}
    about |= {"manufacturer": "Test", "product": "Cable\x1b[31m", "serial": "0001"}
    for name, text in about.items():
        (device / name).write_text(text + "\n")
    node = folder / "dev/bus/usb/001/007"
    node.parent.mkdir(parents=True)
    node.touch(0o600)
    (folder / "etc").mkdir()
    return Machine(sys=folder / "sys", dev=folder / "dev", etc=folder / "etc")


def node_of(machine: Machine) -> Path:
    return machine.dev / "bus/usb/001/007"


def bind(machine: Machine, driver: str) -> None:
    """Bind a driver to the printer's interface, as sysfs shows it."""
    link = machine.sys / "bus/usb/devices/1-2/1-2:1.0/driver"
    link.symlink_to(machine.sys / "bus/usb/drivers" / driver)


def looked(
    machine: Machine,
    who: Credentials | None = None,
    served: frozenset[str] = frozenset(),
    pid: int | None = None,
) -> list[Finding]:
    return list(devices.check(machine, who or Credentials(0, frozenset({0})), served, pid))


def of(findings: list[Finding], check: str) -> Finding:
    (found,) = [each for each in findings if each.check == check]
    return found


# --- devices


def test_a_printer_is_recognized_by_its_descriptors_and_its_strings_are_escaped(machine: Machine):
    (printer,) = devices.printers(machine)
    assert (printer.name, str(printer.usb_id), str(printer.address)) == (
        "Test Cable", "1209:0001", "001:007"
    )  # fmt: skip
    assert of(looked(machine), "node").level is Level.OK


def test_a_bus_without_a_printer_is_a_note(folder: Path):
    finding = of(looked(Machine(sys=folder)), "devices")
    assert (finding.level, finding.kind) == (Level.NOTE, Kind.NO_DEVICE.label)
    assert "cable" in finding.remedy


# 7/1/2 only: alternate setting 0, one bulk endpoint each way, and nothing else.
LEGACY = bytes.fromhex(
    "1201000200000040e60f1e8100010102030109022000010100c001090400000207010200"
    "07050102400000070581024000 00"
)


def test_a_printer_without_ipp_over_usb_is_named_as_one(machine: Machine):
    device = machine.sys / "bus/usb/devices/1-2"
    (device / "descriptors").write_bytes(LEGACY)
    (device / "product").write_text("POS-80\n")
    (finding,) = looked(machine)
    assert (finding.level, finding.kind) == (Level.NOTE, Kind.LEGACY.label)
    assert finding.text == (
        "Test POS-80 (1209:0001) is a printer without IPP over USB: it needs its maker's driver"
    )
    assert devices.printers(machine) == []
    shown = "\n".join(lines([finding, *printers.check(Status())]))
    assert "cable" not in shown
    assert "switch" not in shown


@pytest.mark.parametrize("cut", [0, 17, 18, 20, 27])
def test_truncated_descriptors_are_no_printer_and_no_error(machine: Machine, cut: int):
    file = machine.sys / "bus/usb/devices/1-2/descriptors"
    file.write_bytes(file.read_bytes()[:cut])
    assert devices.printers(machine) == []


def test_a_node_that_the_daemons_user_may_not_open_is_a_problem(machine: Machine):
    finding = of(looked(machine, Credentials(NOBODY, frozenset({NOBODY}))), "node")
    assert finding.level is Level.PROBLEM
    assert f"user {NOBODY} may not open" in finding.text
    assert finding.remedy == machine.commands.setup
    rules = machine.root / "lib/udev/rules.d/71-ippusbd.rules"
    rules.parent.mkdir(parents=True)
    rules.touch()
    finding = of(looked(machine, Credentials(NOBODY, frozenset({NOBODY}))), "node")
    assert "usermod -aG lp nobody" in finding.remedy


def test_a_node_that_is_missing_is_a_problem(machine: Machine):
    node_of(machine).unlink()
    assert of(looked(machine), "node").kind == Kind.NO_NODE.label


USERS = [  # mode, owner, group, ACL entries (tag, permissions, id)
    (0o660, 0, 7, ()),
    (0o600, NOBODY, 7, ()),
    (0o060, NOBODY, NOBODY, ()),
    (0o606, 0, NOBODY, ()),
    (0o666, 0, 0, ()),
    (0o660, 0, 0, ((2, 6, NOBODY),)),
    (0o640, 0, 0, ((2, 6, NOBODY),)),
    (0o660, 0, 0, ((8, 6, 44),)),
    (0o660, 0, 44, ((8, 4, 44), (2, 4, NOBODY))),
    (0o660, 0, 0, ((8, 4, 44), (8, 6, 7))),
]


@ROOT_ONLY
@pytest.mark.parametrize(("mode", "owner", "group", "acl"), USERS)
@pytest.mark.parametrize("groups", [[], [7], [44], [7, 44]])
def test_permission_is_judged_as_the_kernel_does(
    folder: Path, mode: int, owner: int, group: int, acl: tuple, groups: list[int]
):
    node = folder / "node"
    node.touch()
    os.chown(node, owner, group)
    node.chmod(mode)
    if acl:
        entries = [(1, mode >> 6 & 7, 0xFFFFFFFF), (4, 0, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF)]
        entries += [(16, mode >> 3 & 7, 0xFFFFFFFF), *acl]  # the mask is the mode's group
        raw = b"".join(struct.pack("<HHI", *each) for each in sorted(entries))
        os.setxattr(node, "system.posix_acl_access", struct.pack("<I", 2) + raw)
    tried = subprocess.run(
        ["test", "-r", str(node), "-a", "-w", str(node)],
        user=NOBODY,
        group=NOBODY,
        extra_groups=groups,
        check=False,
    )
    assert may_use(node, Credentials(NOBODY, frozenset({NOBODY, *groups}))) == (
        tried.returncode == 0
    )


@contextmanager
def running(*argv: str) -> Iterator[int]:
    """A process, until the end of the block."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


HOLD = "import sys; f = open(sys.argv[1]); print(flush=True); sys.stdin.read()"


def test_the_process_that_holds_a_printer_is_named(machine: Machine):
    with running(sys.executable, "-c", HOLD, str(node_of(machine))) as pid:
        finding = of(looked(machine), "held")
        assert finding.level is Level.PROBLEM
        assert f"process {pid} (python" in finding.text
        assert not [f for f in looked(machine, pid=pid) if f.check == "held"]  # our own daemon
    assert not [f for f in looked(machine) if f.check == "held"]


def test_an_invisible_holder_is_still_reported(machine: Machine):
    bind(machine, "usbfs")
    assert of(looked(machine), "held").kind == Kind.HELD_UNSEEN.label
    assert not [f for f in looked(machine, served=frozenset({"001:007"})) if f.check == "held"]


def test_the_kernels_own_driver_is_no_problem(machine: Machine):
    bind(machine, "usblp")
    found = of(looked(machine), "driver")
    assert (found.level, found.kind) == (Level.NOTE, Kind.USBLP.label)


# --- rivals


def test_a_running_ipp_usb_is_found_by_its_process(folder: Path, machine: Machine):
    program = folder / "ipp-usb"
    shutil.copy(shutil.which("cat") or "", program)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        until_true(lambda: machine.named("ipp-usb"))
        finding = of(list(rivals.check(machine, {})), "ipp-usb")
        assert (finding.level, finding.kind) == (Level.PROBLEM, Kind.IPP_USB.label)
        assert f"process {process.pid}" in finding.text
        assert finding.remedy.endswith(machine.commands.disable_ipp_usb)
    assert of(list(rivals.check(machine, {})), "ipp-usb").level is Level.OK


def test_an_installed_ipp_usb_is_noted_unless_it_is_masked(machine: Machine):
    (machine.root / "run/systemd/system").mkdir(parents=True)
    rules = machine.root / "lib/udev/rules.d"
    rules.mkdir(parents=True)
    (rules / "71-ipp-usb.rules").touch()
    waits = of(list(rivals.check(machine, {})), "ipp-usb")
    assert waits.kind == Kind.IPP_USB_WAITS.label
    assert waits.remedy.endswith("systemctl mask ipp-usb")
    mask = machine.etc / "systemd/system/ipp-usb.service"
    mask.parent.mkdir(parents=True)
    mask.symlink_to("/dev/null")
    assert of(list(rivals.check(machine, {})), "ipp-usb").level is Level.OK


def test_a_queue_of_hplip_for_the_same_printer_is_a_problem(machine: Machine):
    uris = {"Desk": "ipp://localhost:60000/ipp/print", "Old": "hp:/usb/HP_LaserJet?serial=1"}
    finding = of(list(rivals.check(machine, uris)), "hplip")
    assert (finding.kind, "lpadmin -x Old" in finding.remedy) == (Kind.HPLIP.label, True)
    assert of(list(rivals.check(machine, {})), "hplip").level is Level.OK


# --- the daemon and its printers


def test_a_daemon_that_does_not_run_is_a_problem_with_a_remedy(machine: Machine):
    finding = of(list(service.check(service.Answer(None), Config(), machine, True)), "daemon")
    assert finding.level is Level.PROBLEM
    assert "ippusbd" in finding.remedy


def test_a_daemon_that_refuses_to_answer_is_a_note(machine: Machine):
    answer = service.Answer(None, "you may not ask this daemon")
    assert of(list(service.check(answer, Config(), machine, True)), "daemon").level is Level.NOTE


def test_a_port_range_that_is_used_up_is_a_problem(machine: Machine):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = Config(port_min=port, port_max=port, listen_ipv6="")
        answer = service.Answer(Status(pid=1, version="1"))
        finding = of(list(service.check(answer, config, machine, True)), "ports")
    assert (finding.level, "port_max" in finding.remedy) == (Level.PROBLEM, True)


async def told(make_printer, state_path, *personalities: str, when: Callable[[dict], object],
               **settings: object) -> list[Finding]:  # fmt: skip
    """The findings for a daemon with such a printer, once `when` is true."""
    printer = make_printer(*personalities)
    async with run_daemon(printer, state_path=state_path, wait=(), **settings) as daemon:
        await daemon.until(lambda: when(daemon.row()))
        return list(printers.check(daemon.status()))


async def test_a_printer_that_answers_404_to_everything_is_diagnosed(make_printer, state_path):
    found = await told(
        make_printer,
        state_path,
        "404-everything",
        when=lambda row: row["state"] in ("waiting", "refused"),
    )
    finding = of(found, "not-found")
    assert finding.level is Level.PROBLEM
    assert "vendor's driver" in finding.remedy


async def test_a_printer_that_warms_up_is_no_problem(make_printer, state_path):
    found = await told(
        make_printer,
        state_path,
        "scanner-before-printer",
        when=lambda row: row["state"] == "partial",
    )
    finding = of(found, "warming-up")
    assert finding.level is Level.NOTE
    assert "wait" in finding.remedy


async def test_a_silent_printer_is_diagnosed(make_printer, state_path):
    found = await told(
        make_printer,
        state_path,
        "silent",
        when=lambda row: row["state"] in ("waiting", "refused"),
        probe_s=0.2,
        check_s=0.2,
    )
    assert of(found, "silent").level is Level.PROBLEM


async def test_released_interfaces_are_no_problem(make_printer, state_path):
    found = await told(
        make_printer,
        state_path,
        when=lambda row: row["state"] == "ready" and row["interfaces"]["released"] == 3,
        idle_release_s=0.1,
    )
    assert of(found, Kind.RELEASED.label).level is Level.NOTE
    assert not [each for each in found if each.level is Level.PROBLEM]


async def test_a_used_up_port_range_is_reported_for_the_printer(make_printer, state_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = await told(
            make_printer,
            state_path,
            when=lambda row: (row["reason"] or {}).get("kind") == "ports",
            port_min=port,
            port_max=port,
        )
    assert of(found, "ports").level is Level.PROBLEM


async def test_what_a_printer_requests_is_a_problem(make_printer, state_path):
    printer = make_printer()
    printer.printer.state_reasons = ("media-empty-error", "toner-low-warning", "standby-report")
    async with run_daemon(printer, state_path=state_path) as daemon:
        await daemon.until(lambda: daemon.row()["condition"])
        found = list(printers.check(daemon.status()))
    told = [(each.text, each.level) for each in found if each.check == "attention"]
    assert told == [
        ("paper out", Level.PROBLEM), ("toner low", Level.NOTE), ("sleeping", Level.NOTE)
    ]  # fmt: skip


async def test_an_unplugged_printer_is_reported(make_printer, state_path):
    printer = make_printer()
    async with run_daemon(printer, state_path=state_path) as daemon:
        daemon.unplug(printer)
        await daemon.until_state("away")
        found = list(printers.check(daemon.status()))
    assert "plug it in" in of(found, "unplugged").remedy


# --- the command


def doctor(config: Path, *options: str) -> tuple[int, str]:
    """In a process of its own, because libusb keeps descriptors open."""
    argv = [sys.executable, "-m", "ippusbd", "doctor", "--config", str(config), *options]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)
    return done.returncode, done.stdout


def test_problems_determine_the_exit_status(tmp_path: Path):
    config = tmp_path / "c.conf"
    folders = f'[daemon]\nruntime_dir = "{tmp_path}"\nstate_dir = "{tmp_path}"\n'
    config.write_text(f'{folders}[dnssd]\npublisher = "off"\n')
    code, out = doctor(config)
    assert (code, "FAIL" in out) == (0, False)  # a machine without a printer is well
    config.write_text(f'{folders}[dnssd]\npublisher = "static"\nstatic_dir = "/nosuch"\n')
    code, out = doctor(config)
    assert code == 1
    assert "FAIL  static: /nosuch: it is no folder\n      -> " in out
    code, out = doctor(config, "--json")
    assert code == 1
    findings = {each["check"]: each for each in json.loads(out)}
    assert findings["static"]["level"] == "problem"
    assert findings["static"]["kind"] == Kind.FOLDER.label
    assert findings["configuration"]["level"] == "ok"
    code, out = doctor(config, "--quiet")
    assert code == 1
    assert all(line.startswith(("FAIL", "   ")) for line in out.splitlines())


def test_control_characters_in_a_name_do_not_reach_the_terminal():
    finding = Finding(Level.NOTE, "x", "a\x1b[31mb\n", "c\x07", about="d\n")
    assert "".join(lines([finding])).isprintable()
