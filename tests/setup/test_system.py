"""What setup finds out about a system: its init system, its accounts, a package of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from ippusbd.cli import setup
from ippusbd.cli.main import main
from ippusbd.errors import IppUsbError
from ippusbd.init_system import Init
from ippusbd.setup import program
from ippusbd.setup.plan import installation
from ippusbd.setup.system import System, examined


@pytest.mark.parametrize(
    ("folder", "init"),
    [("run/systemd/system", Init.SYSTEMD), ("run/openrc", Init.OPENRC), ("run/runit", Init.RUNIT)],
)
def test_the_init_system_that_runs_is_found(tmp_path: Path, folder: str, init: Init):
    (tmp_path / folder).mkdir(parents=True)
    assert examined(tmp_path).init is init


@pytest.mark.parametrize(
    ("target", "init"),
    [
        ("../lib/systemd/systemd", Init.SYSTEMD),
        ("openrc-init", Init.OPENRC),
        ("runit-init", Init.RUNIT),
    ],
)
def test_in_an_image_it_is_what_init_is(tmp_path: Path, target: str, init: Init):
    (tmp_path / "sbin").mkdir()
    (tmp_path / "sbin/init").symlink_to(target)
    assert examined(tmp_path).init is init


def test_sysvinit_is_what_has_none_of_these(tmp_path: Path):
    for name in ("sbin", "etc/init.d"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(IppUsbError, match="--init"):
        examined(tmp_path)
    (tmp_path / "sbin/start-stop-daemon").touch()
    assert examined(tmp_path).init is Init.SYSVINIT


@pytest.mark.parametrize(
    ("programs", "users", "expected"),
    [
        ({"systemd-sysusers"}, (), ["systemd-sysusers"]),
        ({"useradd"}, (), ["groupadd", "groupadd", "useradd", "usermod"]),
        ({"useradd"}, ("ippusbd", "lp"), ["usermod"]),
        ({"adduser"}, ("lp",), ["addgroup", "adduser", "addgroup"]),
    ],
)
def test_accounts_are_made_with_what_the_system_has(
    programs: set[str], users: tuple[str, ...], expected: list[str]
):
    names = frozenset(users)
    system = System(Init.SYSVINIT, frozenset(programs), names, names)
    plan = installation(system, Path("/usr/bin/python3"), program.packaging_folder(), ())
    used = [command.argv[0] for command in plan.commands[:-1]]
    assert used == [*expected, "/usr/bin/python3"]


def test_a_python_in_a_home_directory_is_no_python_for_a_service(tmp_path: Path):
    own = Path("/home/anna/.pyenv/bin/python3")
    with pytest.raises(IppUsbError, match="--python /usr/bin/python3"):
        program.interpreter(own, tmp_path)
    assert program.interpreter(Path("/opt/python/bin/python3"), tmp_path).parts[1] == "opt"


def test_the_copy_has_the_program_what_it_installs_and_its_libraries():
    files = dict(program.files())
    assert {
        "ippusbd/quirks/data/hp.toml",
        "ippusbd/packaging/systemd/ippusbd.service",
        "vendor/aiohttp/__init__.py",
        "vendor/usb/core.py",
        "vendor/multidict/__init__.py",  # what aiohttp needs
    } <= files.keys()
    assert not [name for name in files if name.startswith("vendor/pytest/") or ".." in name]


def test_a_package_of_the_distribution_is_not_installed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    unit = tmp_path / "usr/lib/systemd/system/ippusbd.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    arguments = ["setup", "--root", str(tmp_path), "--init", "systemd"]
    for more in ([], ["--dry-run"], ["--uninstall", "--purge"]):
        assert main([*arguments, *more]) == 1
        assert "/usr/lib/systemd/system/ippusbd.service belongs to" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [unit]


def test_a_folder_that_is_not_of_setup_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "usr/local/lib/ippusbd/work").mkdir(parents=True)
    assert main(["setup", "--root", str(tmp_path), "--init", "systemd"]) == 1
    assert "is not of setup" in capsys.readouterr().err


def test_who_is_not_root_gets_the_command_to_paste(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(setup, "is_root", lambda: False)
    assert main(["setup", "--init", "openrc"]) == 1
    assert "setup must be run as root: sudo /" in capsys.readouterr().err

    line = setup.as_root(["my bin/ippusbd", "setup", "--init", "openrc"])
    assert line == f"sudo '{Path.cwd()}/my bin/ippusbd' setup --init openrc"


def test_an_image_gets_the_whole_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["setup", "--root", str(tmp_path), "--init", "runit"]
    assert main(arguments) == 0
    assert "run    adduser" in capsys.readouterr().out
    assert (tmp_path / "usr/local/lib/ippusbd/ippusbd/cli/main.py").is_file()
    assert main([*arguments, "--uninstall"]) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == []
