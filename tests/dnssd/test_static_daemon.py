"""A daemon with nothing but a folder in common with Avahi, as in a container: files come and go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.avahi_browse import Browse
from support.desktop import Desktop
from support.waiting import until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

NAME = "Example VirtualJet 900 (USB)"
IPPUSBD = Path(sys.executable).with_name("ippusbd")
CONFIG = """
[daemon]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
[dnssd]
publisher = "static"
static_dir = "{folder}/services"
[broker]
enabled = false
"""


class Daemon:
    """`ippusbd run --virtual` in the desktop's network, without its D-Bus."""

    def __init__(self, desktop: Desktop) -> None:
        config = desktop.folder / "ippusbd.conf"
        config.write_text(CONFIG.format(folder=desktop.folder))
        argv = [str(IPPUSBD), "run", "--virtual", "--config", str(config)]
        nowhere = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
        self._desktop = desktop
        self._process: subprocess.Popen[str] = desktop.popen(argv, environ=nowhere)

    def kill(self) -> None:
        """As the kernel does it. What `popen` gives is nsenter, which waits for the daemon."""
        lock = self._desktop.folder / "state/lock"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        self._process.wait(30)
        assert lock.exists()

    def stop(self) -> None:
        self._desktop.stop(self._process)


@pytest.fixture
def browse(bare_desktop: Desktop) -> Iterator[Browse]:
    bare_desktop.start_bus()  # Avahi's clients need it; the daemon has none
    bare_desktop.start_avahi()
    browse = Browse(bare_desktop, "_ipp._tcp")
    yield browse
    browse.stop()


async def test_it_is_announced_by_files_gone_at_the_end_and_after_a_crash_at_the_next_start(
    bare_desktop: Desktop, browse: Browse
) -> None:
    services = bare_desktop.services
    foreign = services / "other.service"
    foreign.write_text("<!-- somebody else's -->")

    def ours() -> list[Path]:
        return sorted(services.glob("*ippusbd-*"))

    daemon = Daemon(bare_desktop)
    await until(lambda: NAME in browse.names, "announced")
    (found,) = (one for one in browse.found if one.name == NAME)
    assert found.port >= 60000
    assert "rp=ipp/print" in found.txt

    daemon.kill()
    assert ours()  # nobody was there to remove them
    stray = services / "ippusbd-0123.service"
    stray.write_text("<!-- of a printer that is no more -->")
    again = Daemon(bare_desktop)
    await until(lambda: not stray.exists() and ours(), "a new set of files")
    await until(lambda: NAME in browse.names, "announced again")

    again.stop()  # nsenter ends at once, the daemon in good order
    await until(lambda: ours() == [], "its files removed")
    await until(lambda: NAME not in browse.names, "withdrawn")
    assert foreign.exists()
