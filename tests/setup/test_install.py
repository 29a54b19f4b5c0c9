"""`ippusbd setup` on a system in a folder: what it writes, keeps, removes and refuses."""

from __future__ import annotations

import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.installed_system import Box, small_system

from ippusbd import __version__
from ippusbd.doctor import installation as doctor
from ippusbd.doctor.findings import Level
from ippusbd.errors import IppUsbError
from ippusbd.init_system import Init
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands
from ippusbd.setup.manifest import FILE, fingerprint
from ippusbd.setup.plan import COMMAND

CONFIG = "/etc/ippusbd/ippusbd.conf"
SERVICE = {
    Init.SYSTEMD: "/usr/local/lib/systemd/system/ippusbd.service",
    Init.OPENRC: "/etc/init.d/ippusbd",
    Init.RUNIT: "/etc/sv/ippusbd/run",
    Init.SYSVINIT: "/etc/init.d/ippusbd",
}
START = {
    Init.SYSTEMD: "systemctl try-restart ippusbd-broker.service ippusbd.service",
    Init.OPENRC: "rc-service ippusbd restart",
    Init.RUNIT: "sv restart /etc/sv/ippusbd",
    Init.SYSVINIT: "/etc/init.d/ippusbd restart",
}


@pytest.fixture(params=list(Init))
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Box:
    return small_system(tmp_path, request.param)


def test_the_service_starts_the_installed_command(box: Box):
    box.install()

    service = box.at(SERVICE[box.init]).read_text()
    assert f"{COMMAND} " in service or f'"{COMMAND}"' in service
    assert "/usr/bin/ippusbd" not in service
    launcher = box.at(str(COMMAND))
    assert launcher.read_text().startswith("#!/usr/bin/python3.11 -I\n")
    assert stat.S_IMODE(launcher.stat().st_mode) == 0o755
    assert box.at("/usr/local/bin/ippusbd").readlink() == COMMAND
    assert box.at("/usr/lib/cups/backend/ippusb").stat().st_mode & 0o111
    assert box.at("/etc/apparmor.d/ippusbd").exists() == (box.init is Init.SYSTEMD)
    assert box.commands[0].startswith("groupadd --system ippusbd")
    assert box.commands[-1] == START[box.init]


def test_a_second_run_writes_nothing_and_runs_nothing(box: Box):
    box.install()
    first = box.everything()
    box.install()

    assert box.everything() == first
    assert box.commands == []
    assert box.lines == ["nothing to do: everything is installed"]


def test_a_dry_run_names_what_a_real_one_does_and_writes_nothing(box: Box):
    before = box.everything()
    box.install(dry=True)
    announced = list(box.lines)
    assert (box.everything(), box.commands) == (before, [])

    box.install()
    assert box.lines == announced
    assert f"write  {SERVICE[box.init]}" in announced


def test_uninstall_leaves_nothing_but_state(box: Box):
    before = box.everything()
    box.install()
    box.at("/var/lib/ippusbd").mkdir(parents=True)
    box.at("/run/ippusbd").mkdir()
    box.at("/usr/local/lib/ippusbd/ippusbd/__pycache__").mkdir()
    if box.init is Init.RUNIT:
        box.at("/etc/sv/ippusbd/supervise").mkdir()
    box.uninstall()

    left = box.everything().keys() - before.keys()
    assert left == {"var", "var/lib", "var/lib/ippusbd"}
    assert "keep   /var/lib/ippusbd: ports and names of printers, with their owner, ippusbd" in (
        box.lines
    )
    assert not any("userdel" in line for line in box.commands)


def test_purge_removes_state_changed_files_and_user(box: Box):
    before = box.everything()
    box.install()
    box.at("/var/lib").mkdir(parents=True)
    box.at("/var/lib/ippusbd").mkdir()
    box.at(CONFIG).write_text("[listen]\n")
    box.at("/etc/ippusbd/users").write_text("anna:...\n")
    box.uninstall(purge=True)

    assert box.everything().keys() - before.keys() == {"var", "var/lib"}
    assert "userdel ippusbd" in box.commands


def test_purge_after_uninstall_removes_what_that_kept(box: Box):
    before = box.everything()
    box.install()
    box.at(CONFIG).write_text("[listen]\n")
    box.uninstall()
    assert box.at(CONFIG).read_text() == "[listen]\n"
    box.at("/usr/local/lib/ippusbd/work").mkdir(parents=True)  # of somebody else
    box.uninstall(purge=True)

    assert box.at("/usr/local/lib/ippusbd/work").is_dir()
    shutil.rmtree(box.at("/usr/local"))
    assert box.everything().keys() == before.keys()


def test_the_program_is_compiled_before_the_service_starts(box: Box):
    box.install()
    (line,) = [line for line in box.commands if "compileall" in line]
    assert box.commands.index(line) < box.commands.index(START[box.init])

    *argv, folder = shlex.split(line)
    module = box.at(f"{folder}/ippusbd/made_up.py")
    module.write_text("pass\n")
    subprocess.run([sys.executable, *argv[1:], module.parent], check=True)
    assert list(module.parent.glob("__pycache__/made_up.*.pyc"))


def test_state_that_root_left_is_given_to_the_service(box: Box):
    box.at("/var/lib/ippusbd").mkdir(parents=True)
    system = replace(box.system, state_of_root=True)
    box.worker().install(box.plan(system), system, None)
    chown = box.commands.index("chown -R ippusbd:ippusbd /var/lib/ippusbd")
    assert chown < box.commands.index(START[box.init])


def test_a_changed_file_is_kept_and_named(box: Box):
    box.install()
    box.at(CONFIG).write_text("[listen]\n")
    box.install()
    assert box.at(CONFIG).read_text() == "[listen]\n"
    assert any(line.startswith(f"keep   {CONFIG}: ") for line in box.lines)

    box.uninstall()
    assert box.at(CONFIG).read_text() == "[listen]\n"
    assert f"keep   {CONFIG}: changed since setup wrote it; delete it if it has no use" in box.lines


def test_a_file_of_somebody_else_is_neither_replaced_nor_removed(box: Box):
    rules = box.at("/etc/udev/rules.d/71-ippusbd.rules")
    rules.parent.mkdir(parents=True)
    rules.write_text("# written by hand\n")
    box.install()
    assert any(line.startswith("keep   /etc/udev/rules.d/71") for line in box.lines)
    box.uninstall()

    assert rules.read_text() == "# written by hand\n"


def test_an_update_replaces_what_nobody_changed(box: Box):
    box.install()
    service = box.at(SERVICE[box.init])
    current = service.read_text()
    record = box.at("/usr/local/lib/ippusbd/installed.json")
    for path in (service, box.at(str(COMMAND))):
        was = fingerprint(path)
        path.write_text("# the version before\n")
        record.write_text(record.read_text().replace(was, fingerprint(path)))
    box.install()

    assert service.read_text() == current
    assert box.commands[-1] == START[box.init]


def test_a_failed_command_is_named_and_run_again_the_next_time(box: Box):
    box.broken = "usermod"
    with pytest.raises(IppUsbError, match="out of order"):
        box.install()
    (finding,) = doctor.check(box.root)
    assert (finding.level, finding.kind) == (Level.PROBLEM, Kind.INCOMPLETE.label)

    box.broken = "no command"
    box.install()
    assert box.commands[-1] == START[box.init]
    assert not [each for each in doctor.check(box.root) if "not complete" in each.text]


def test_after_a_failed_write_uninstall_removes_what_was_written(box: Box):
    before = box.everything()
    box.at("/etc/udev").write_text("a file where a folder must be\n")
    with pytest.raises(OSError, match="etc/udev"):
        box.install()
    box.at("/etc/udev").unlink()
    box.uninstall()

    assert box.everything() == before


def test_a_client_without_a_daemon_gets_the_command_that_starts_the_service(box: Box):
    assert LocalCommands(root=box.root).start == "ippusbd run"
    signs = {Init.SYSTEMD: "/run/systemd/system", Init.OPENRC: "/run/openrc"}
    signs[Init.RUNIT] = "/run/runit"
    if box.init in signs:
        box.at(signs[box.init]).mkdir(parents=True)
    else:
        box.at("/usr/sbin/start-stop-daemon").parent.mkdir(parents=True, exist_ok=True)
        box.at("/usr/sbin/start-stop-daemon").touch()
    box.install()
    expected = {
        Init.SYSTEMD: "systemctl start ippusbd",
        Init.OPENRC: "rc-service ippusbd start",
        Init.RUNIT: "sv start ippusbd",
        Init.SYSVINIT: "/etc/init.d/ippusbd start",
    }
    assert LocalCommands(root=box.root).start == expected[box.init]


def test_doctor_judges_what_setup_installed(box: Box):
    assert list(doctor.check(box.root)) == []
    box.install()
    (gone,) = doctor.check(box.root)
    assert "python3.11, which is gone" in gone.text
    assert gone.kind == Kind.NO_PYTHON.label

    python = box.at("/usr/bin/python3.11")
    python.parent.mkdir(exist_ok=True)
    python.touch()
    (fine,) = doctor.check(box.root)
    assert (fine.level, box.init in fine.text) == (Level.OK, True)
    record = box.at(str(FILE))
    current = record.read_text()
    record.write_text(current.replace(f'"version": "{__version__}"', '"version": "0.0.1"'))
    (old,) = doctor.check(box.root)
    assert (old.level, old.kind) == (Level.NOTE, Kind.OLD_SERVICE.label)
    record.write_text(current)

    box.at(SERVICE[box.init]).unlink()
    (missing,) = doctor.check(box.root)
    assert (missing.level, SERVICE[box.init] in missing.text) == (Level.PROBLEM, True)

    package = box.at("/lib/systemd/system/ippusbd.service")
    package.parent.mkdir(parents=True)
    package.touch()
    (twice,) = doctor.check(box.root)
    assert twice.kind == Kind.INSTALLED_TWICE.label


@pytest.mark.parametrize(
    "script", ["openrc/ippusbd", "runit/run", "runit/log/run", "sysvinit/ippusbd"]
)
def test_a_script_has_the_syntax_of_sh(script: str):
    path = Path(__file__).parents[2] / "packaging" / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", path], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "sh", "-e", "SC2034", path], check=True)
