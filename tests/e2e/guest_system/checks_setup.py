"""`pipx install ippusbd` and `ippusbd setup` on a machine that never had it, and the way back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from checks_boot import end_printer, nothing_left
from checks_install import of_printers_only
from checks_plug import QUEUE, kept, prints
from desk import CONFIG, E2E, LIB, printer, use_installed
from inits import INIT, SYSTEMD, active, daemons, must_stop, says_running, tell_init
from leftovers import compare, remember
from programs import run, until
from report import Failed, Group

STATE = Path("/var/lib/ippusbd/printers.json")
PIPX = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(E2E / "wheels")}
OURS = Path("/root/.local/bin/ippusbd")


def setup(*options: str) -> str:
    return run(OURS, "setup", *options, limit_s=240)


@contextmanager
def fresh() -> Iterator[None]:
    """The machine has no network: wheels are on the host."""
    os.environ.update(PIPX)
    run("pipx", "install", "ippusbd[virtual,share]", limit_s=600)
    remember()
    yield


GROUP = Group(f"pipx and `ippusbd setup` under {INIT}", fresh)


@GROUP.check("--dry-run changes nothing")
def dry(_: None) -> str:
    said = setup("--dry-run")
    if left := compare():
        raise Failed("\n".join(left[:40]))
    return f"{len(said.splitlines())} lines"


@GROUP.check("setup makes a service of it, under its own user")
def install(_: None) -> str:
    said = setup()
    use_installed()
    until(lambda: SYSTEMD or active(), "the service")
    if str(LIB) not in said:
        raise Failed(said)
    return f"{run('ippusbd', '--version').strip()}; {of_printers_only()}"


@GROUP.check("once more, it finds nothing to do")
def again(_: None) -> None:
    said = setup()
    if "nothing to do" not in said:
        raise Failed(said)


@contextmanager
def with_printer() -> Iterator[None]:
    with printer():
        yield


COMMANDS = Group("the init's own commands, and `ippusbd doctor`", with_printer)


@COMMANDS.check("stop ends the service, start brings it back, restart replaces it")
def commands(_: None) -> None:
    kept()
    if not says_running():
        raise Failed("it runs, and the init system denies it")
    must_stop()
    if says_running():
        raise Failed("the init system says that it runs")
    tell_init("start")
    until(active, "the service")
    kept()
    before = daemons()
    tell_init("restart")
    until(lambda: daemons() and not set(daemons()) & set(before), "another process")
    kept()


@COMMANDS.check("the doctor finds no problem")
def doctor(_: None) -> str:
    said = run("ippusbd", "doctor", limit_s=120)  # exit status 0
    return said.strip().splitlines()[-1]


END = Group(f"the way back under {INIT}", nullcontext)


@END.check("an update that setup installs restarts the service; what was edited stays")
def update(_: None) -> str:
    CONFIG.write_text(CONFIG.read_text() + "\n# kept by hand\n")
    before = daemons()
    page = LIB / "ippusbd/py.typed"
    page.write_text("of another version\n")
    setup()
    until(lambda: daemons() and not set(daemons()) & set(before), "the new daemon")
    kept()
    if "# kept by hand" not in CONFIG.read_text():
        raise Failed("the configuration was replaced")
    return prints(QUEUE)


@END.check("--uninstall ends the service, and leaves ports, names and what was edited")
def uninstall(_: None) -> None:
    end_printer()
    setup("--uninstall")
    if left := daemons():
        raise Failed(f"processes {left}")
    if not CONFIG.exists() or not STATE.exists():
        raise Failed("an uninstallation is no purge")


@END.check("--uninstall --purge leaves nothing behind")
def purge(_: None) -> None:
    setup("--uninstall", "--purge")
    nothing_left()
