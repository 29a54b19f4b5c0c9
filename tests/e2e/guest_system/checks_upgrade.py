"""The package is upgraded, removed, and purged, with the printer of the boot still plugged in."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from checks_boot import end_printer, nothing_left
from checks_plug import QUEUE, kept, prints
from desk import CONFIG, E2E
from inits import active, main_pid
from programs import run, until
from report import Failed, Group

GROUP = Group("the package's later life", nullcontext)


@GROUP.check("an upgrade restarts it; port, name and the administrator's configuration stay")
def upgrade(_: None) -> str:
    CONFIG.write_text(CONFIG.read_text() + "\n# kept by hand\n")
    pid = main_pid()
    run("apt-get", "install", "-y", E2E / "ippusbd-next.deb", limit_s=240)
    until(lambda: main_pid() not in (0, pid) and active(), "the new daemon")
    kept()
    if "# kept by hand" not in CONFIG.read_text():
        raise Failed("the configuration was replaced")
    version = run("dpkg-query", "-W", "-f", "${Version}", "ippusbd")
    return f"{version}; {prints(QUEUE)}"


@GROUP.check("it ends in good order when the package is removed, and leaves the state")
def remove(_: None) -> None:
    pid = main_pid()
    run("apt-get", "remove", "-y", "ippusbd", limit_s=240)
    if Path(f"/proc/{pid}").exists():
        raise Failed("the daemon runs on")
    if not CONFIG.exists() or not Path("/var/lib/ippusbd/printers.json").exists():
        raise Failed("a removal is no purge")


@GROUP.check("a purge leaves nothing behind")
def purge(_: None) -> None:
    end_printer()
    run("dpkg", "--purge", "ippusbd", limit_s=240)
    nothing_left()
