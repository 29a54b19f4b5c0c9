"""`ippusbd migrate`: what was closed stays closed, nothing is overwritten, nothing is lost."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from ippusbd.cli.main import main
from ippusbd.cli.migrate import NEW_FILE
from ippusbd.config import load
from ippusbd.kinds import Kind

THEIRS = """\
[network]
  http-min-port = 61000
  ipv6 = disable
[auth uid]
  print, fax = root, @root
  scan = *
[logging]
  console-color = disable
"""


class Machine:
    """The two programs' files in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.theirs = folder / "ipp-usb.conf"
        self.ours = folder / "etc" / "ippusbd.conf"
        self._daemon = f'[daemon]\nstate_dir = "{folder}/state"\nipp_usb_conf = "{self.theirs}"\n'
        self._capsys = capsys
        self.ours.parent.mkdir()

    def write(self, ours: str = "", theirs: str = THEIRS) -> str:
        self.theirs.write_text(theirs)
        self.ours.write_text(self._daemon + ours)
        return self.ours.read_text()

    def run(self, *options: str) -> tuple[int, str]:
        code = main(["migrate", "--config", str(self.ours), *options])
        said = self._capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture
def machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Machine:
    return Machine(tmp_path, capsys)


def test_the_rules_become_access_and_the_rest_is_taken_over_or_named(machine: Machine):
    machine.write()
    code, said = machine.run()
    assert code == 0
    config = load(machine.ours)
    assert config.access_print == config.access_fax == ("root", "@root")
    assert (config.access_scan, config.access_config) == ((), ("root",))
    assert (config.port_min, config.listen_ipv6) == (61000, "")
    assert '  [access] print = ["root", "@root"]' in said
    assert f"not taken over: {machine.theirs}:8: [logging] console-color = disable" in said
    assert Kind.NOT_TAKEN_OVER.remedy in said
    assert f"# From {machine.theirs}:5\nprint = [" in machine.ours.read_text()
    assert machine.theirs.read_text() == THEIRS


def test_a_second_migration_has_nothing_to_add(machine: Machine):
    machine.write()
    machine.run()
    once = machine.ours.read_text()
    assert machine.run()[0] == 0
    assert machine.ours.read_text() == once
    assert "nothing is to be added" in machine.run()[1]


def test_a_dry_run_writes_nothing(machine: Machine):
    before = machine.write()
    code, said = machine.run("--dry-run")
    assert code == 0
    assert f"would be added to {machine.ours}:" in said
    assert machine.ours.read_text() == before
    assert sorted(path.name for path in machine.ours.parent.iterdir()) == ["ippusbd.conf"]


def test_a_key_that_is_set_stays_and_is_named(machine: Machine):
    ours = '# mine\n[listen]\nport_min = 62000\n[access]\nprint = ["root"]\n'
    before = machine.write(ours)
    code, said = machine.run()
    assert code == 0
    config = load(machine.ours)
    assert (config.port_min, config.access_print) == (62000, ("root",))
    assert config.access_fax == ("root", "@root")
    assert f"{machine.ours}:6: [listen] port_min = 62000 stays; ipp-usb has 61000" in said
    assert Kind.STAYS.remedy in said
    assert f'{machine.ours}:8: [access] print = ["root"] stays; ipp-usb has ["root"' in said
    kept = iter(machine.ours.read_text().splitlines())
    assert all(line in kept for line in before.splitlines()), "no line is lost or moved"


def test_a_printer_that_is_open_here_and_was_closed_there_is_a_failure(machine: Machine):
    machine.write("[access]\nprint = []\n")
    code, said = machine.run()
    assert code == 1
    assert f"FAIL  {machine.ours}:5: [access] print allows every user, ipp-usb only" in said
    assert load(machine.ours).access_print == ()


def test_rules_that_cannot_be_read_are_left_to_the_administrator(machine: Machine):
    before = machine.write(theirs="[auth uid]\nprnt = lp\n")
    code, said = machine.run()
    assert code == 1
    assert f"FAIL  {machine.theirs}:2: [auth uid] prnt = lp: there is no operation prnt" in said
    assert Kind.IPP_USB_LINE.of("x", path=machine.theirs).remedy in said
    assert machine.ours.read_text() == before


def test_settings_that_do_not_fit_together_are_not_written(machine: Machine):
    before = machine.write("[listen]\nport_max = 60500\n")
    code, said = machine.run()
    assert code == 2
    assert "nothing is written, add it by hand: " in said
    assert "[listen] port_min = 61000" in said
    assert machine.ours.read_text() == before


def test_a_missing_file_is_created_readable_for_the_daemon(machine: Machine, tmp_path: Path):
    machine.theirs.write_text("[network]\ndns-sd = disable\n")
    new = tmp_path / "new" / "ippusbd.conf"
    assert main(["migrate", "--config", str(new), "--from", str(machine.theirs)]) == 0
    assert new.read_text().startswith(NEW_FILE)
    assert tomllib.loads(new.read_text()) == {"dnssd": {"publisher": "off"}}
    assert new.stat().st_mode & 0o777 == 0o644


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(machine: Machine):
    machine.write()
    real = machine.ours.with_name("real.conf")
    machine.ours.rename(real)
    real.chmod(0o640)
    machine.ours.symlink_to(real)
    assert machine.run()[0] == 0
    assert machine.ours.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert load(machine.ours).port_min == 61000


def test_without_ipp_usb_there_is_nothing_to_do(machine: Machine):
    machine.write()
    machine.theirs.unlink()
    code, said = machine.run()
    assert (code, said) == (0, f"there is no {machine.theirs}: nothing to take over\n")


def test_sharing_is_taken_over_with_what_has_to_be_known(machine: Machine):
    certificate = '[share]\ncertificate = "/c"\nkey = "/k"\n'
    machine.write(certificate, theirs="[network]\ninterface = all\n")
    said = machine.run()[1]
    assert f"note  {Kind.SHARED.sentence}\n      -> {Kind.SHARED.remedy}" in said
    assert load(machine.ours).share_interfaces == ("*",)


def test_sharing_without_a_certificate_names_the_package_that_makes_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "cryptography", None)  # what an import finds without it
    machine.write(theirs="[network]\ninterface = all\n")
    code, said = machine.run()
    assert f"{Kind.NO_CERTIFICATE.sentence}\n      -> {Kind.NO_CERTIFICATE.of().remedy}" in said
    assert (code, load(machine.ours).share_interfaces) == (0, ())
