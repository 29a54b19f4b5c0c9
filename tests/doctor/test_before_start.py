"""What `ippusbd check` finds before a start: configuration, directories, sharing, devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path

import pytest

from ippusbd.config import Config, parse
from ippusbd.daemon.share.interfaces import Address
from ippusbd.doctor import configuration, ipp_usb, opening
from ippusbd.doctor.findings import Finding, Level
from ippusbd.errors import AccessDenied, ConfigError, DeviceBusy, IppUsbError, UsbError
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.quirks.load import load
from ippusbd.usbio.pyusb_host import NoLibrary

QUIRKS = load(())
LASERJET = DeviceFacts(UsbId(0x03F0, 0x1234), BusAddress(1, 5), product="HP LaserJet 9")


class Host:
    """Stands for PyusbHost: one device, with the reason why it is no printer of ours, if any."""

    def __init__(
        self,
        facts: DeviceFacts = LASERJET,
        reason: str = "",
        *,
        on_survey: IppUsbError | None = None,
        on_open: IppUsbError | None = None,
    ) -> None:
        self._found = (facts, reason)
        self._on_survey, self._on_open = on_survey, on_open
        self.opened = 0

    async def survey(self) -> list[tuple[DeviceFacts, str]]:
        if self._on_survey:
            raise self._on_survey
        return [self._found]

    async def open(self, facts: DeviceFacts) -> Device:
        self.opened += 1
        if self._on_open:
            raise self._on_open
        return Device(facts)


class Device:
    interfaces = (1, 2)

    def __init__(self, facts: DeviceFacts) -> None:
        self.facts = facts

    async def close(self) -> None:
        pass


async def checked(host: Host, config: Config | None = None, *, served: bool = False) -> Finding:
    """The only finding about the only device."""
    (finding,) = await opening.check(host, config or Config(), QUIRKS, served=served, unusable=())  # type: ignore[arg-type]
    return finding


# --- devices


async def test_a_device_that_can_be_opened_is_fine():
    finding = await checked(Host())
    assert finding.level is Level.OK
    assert (finding.about, finding.text) == (
        "03f0:1234 at 001:005",
        "HP LaserJet 9, 2 interfaces",
    )


async def test_a_device_that_the_configuration_or_a_quirk_ignores_is_a_note():
    host = Host()
    finding = await checked(host, Config(ignore=("03f0:1234",)))
    assert (finding.level, finding.text) == (Level.NOTE, "ignored by the configuration")
    assert host.opened == 0
    laser = DeviceFacts(UsbId(0x03F0, 0x3333), BusAddress(1, 5), product="HP Laser 107a")
    finding = await checked(Host(laser))
    assert finding.level is Level.NOTE
    assert finding.text.startswith("HP Laser 107a: ignored by a quirk: ")


@pytest.mark.parametrize(
    "error",
    [
        AccessDenied("open: Access denied"),
        DeviceBusy("open: busy"),
        UsbError("open: Input/output error"),
    ],
)
async def test_a_device_that_cannot_be_opened_is_a_problem_with_a_remedy(error: UsbError):
    finding = await checked(Host(on_open=error))
    assert (finding.level, finding.text) == (Level.PROBLEM, str(error))
    assert finding.remedy == error.diagnosis.remedy


async def test_a_device_of_the_running_daemon_is_not_opened():
    host = Host()
    finding = await checked(host, served=True)
    assert finding.level is Level.OK
    assert "in use by the running daemon" in finding.text
    assert host.opened == 0


async def test_a_machine_without_libusb_is_a_problem():
    finding = await checked(Host(on_survey=NoLibrary()))
    assert (finding.level, finding.kind) == (Level.PROBLEM, "library")
    assert finding.remedy == LocalCommands().install_libusb


# --- directories


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_named_with_the_command_that_gives_it_back(tmp_path: Path):
    (tmp_path / "lock").touch()
    os.chown(tmp_path, 65534, 65534)
    config = Config(state_dir=tmp_path, runtime_dir=tmp_path / ("x" * 100), broker=False)
    state, sockets = configuration.before_start(config)
    assert (state.level, state.kind) == (Level.PROBLEM, Kind.FOREIGN_FILE.label)
    assert state.remedy == f"chown -R nobody: {tmp_path}"
    assert (sockets.level, sockets.kind) == (Level.PROBLEM, Kind.SOCKET_PATH.label)


# --- sharing


def sharing(config: Config, *addresses: Address) -> Finding:
    found = configuration.before_start(config, lambda _: addresses)
    return next(each for each in found if each.check == "sharing")


def test_sharing_names_its_addresses_and_whether_a_password_is_required():
    config = Config(share_interfaces=("eth0",))
    finding = sharing(config, Address("eth0", 2, ip_interface("192.0.2.10/24")))
    assert finding.level is Level.OK
    assert finding.text == "sharing: on 192.0.2.10 (eth0), without a password"


def test_an_interface_without_an_address_is_a_note():
    finding = sharing(Config(share_interfaces=("eth0",)))
    assert (finding.level, finding.text) == (Level.NOTE, "sharing: eth0: no address now")
    assert finding.kind == Kind.NO_ADDRESS.label


def test_a_users_file_that_does_not_exist_is_a_configuration_error():
    config = Config(share_interfaces=("eth0",), share_users_file=Path("/nowhere"))
    with pytest.raises(ConfigError, match="users_file: /nowhere: No such file"):
        sharing(config)


def test_lines_of_ipp_usbs_quirk_files_without_effect_are_named(tmp_path: Path) -> None:
    (tmp_path / "own.conf").write_text("[Jet]\ninit-timeout = soon\nno-such-key = 1\n")
    findings = configuration.check(Config(), None, load([tmp_path]))
    wrong, unknown = (each for each in findings if each.level is not Level.OK)
    assert (wrong.level, wrong.kind) == (Level.PROBLEM, Kind.QUIRK_LINE.label)
    assert f"{tmp_path}/own.conf:2: [Jet] init-timeout = soon: must be a time" in wrong.text
    assert (unknown.level, unknown.kind) == (Level.NOTE, Kind.QUIRK_UNUSED.label)
    assert f"not used: {tmp_path}/own.conf:3: [Jet] no-such-key = 1" in unknown.text


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """ipp-usb's configuration, which closes everything but scanning."""
    path = tmp_path / "ipp-usb.conf"
    path.write_text("[auth uid]\nprint, fax = root, @root\nscan = *\n")
    return path


def access(theirs: Path, ours: str) -> list[Finding]:
    folders = f'ipp_usb_conf = "{theirs}"\nstate_dir = "{theirs.parent}/state"'
    config = parse(f"{ours}\n[daemon]\n{folders}\n".encode(), "ippusbd.conf")
    return list(ipp_usb.check(config, Path("ippusbd.conf")))


def test_rules_of_ipp_usb_that_hold_here_are_a_note(theirs: Path) -> None:
    (finding,) = access(theirs, "")
    assert (finding.level, finding.kind) == (Level.NOTE, Kind.ACCESS_INHERITED.label)
    assert "print (root, @root), fax (root, @root), config (root)" in finding.text
    assert finding.remedy.endswith(" migrate")


def test_a_printer_that_is_open_and_was_closed_is_a_problem(theirs: Path) -> None:
    closed = '[access]\nprint = ["root"]\nfax = ["root"]\nconfig = ["root"]'
    assert access(theirs, closed) == []
    (finding,) = access(theirs, closed.replace('config = ["root"]', "config = []"))
    assert (finding.level, finding.kind) == (Level.PROBLEM, Kind.ACCESS_OPEN.label)
    assert f"config: everybody may; {theirs}:2 allows only root" in finding.text
    assert "set config in [access] of ippusbd.conf" in finding.remedy


def test_rules_that_cannot_be_read_are_a_problem_until_access_decides(theirs: Path) -> None:
    theirs.write_text("[auth uid]\nall = *\nprnt = lp\n")
    (finding,) = access(theirs, "")
    assert (finding.level, finding.kind) == (Level.PROBLEM, Kind.ACCESS_BROKEN.label)
    assert f"only root may use printers: {theirs}:3: [auth uid] prnt = lp" in finding.text
    decided = "\n".join(f'{kind} = ["root"]' for kind in ("print", "scan", "fax", "config"))
    assert access(theirs, f"[access]\n{decided}") == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """This process without root's rights, if it has them."""
    if is_root := os.getuid() == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)


def test_rules_that_only_root_can_read_are_not_called_broken(theirs: Path) -> None:
    theirs.chmod(0)
    with as_nobody():
        (finding,) = access(theirs, "")
    assert (finding.level, finding.kind) == (Level.NOTE, Kind.UNREADABLE.label)
    assert finding.text == f"{theirs} cannot be read by you"
    assert "ippusbd check" in finding.remedy


def test_without_rules_of_ipp_usb_nothing_is_said(theirs: Path) -> None:
    theirs.write_text("[auth uid]\nall = *\n")
    assert access(theirs, "[access]\nprint = []") == []
    theirs.unlink()
    assert access(theirs, "[access]\nprint = []") == []
