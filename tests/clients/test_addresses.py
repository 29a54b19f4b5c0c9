"""What is announced, printed and shown is where the printer listens, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.cups import IPPUSBD
from support.debian import require
from support.desktop import Desktop
from support.office import NAME

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

PORT = 61000
CONFIG = """
[daemon]
state_dir = "/run/ippusbd/state"
runtime_dir = "/run/ippusbd"
[listen]
port_min = 61000
{listen}
[usb]
poll_s = 0.2
[dnssd]
publisher = "{publisher}"
"""


@pytest.fixture(scope="module")
def desktop() -> Iterator[Desktop]:
    require("avahi-browse", "avahi-resolve-host-name", "curl", "ss")
    with Desktop(second_interface=True) as desktop:
        desktop.start_bus()
        desktop.start_avahi()
        yield desktop


@contextmanager
def daemon(desktop: Desktop, listen: str = "", publisher: str = "avahi") -> Iterator[str]:
    """The daemon with the printer announced; its URL in `ippusbd status`."""
    config = desktop.folder / "ippusbd.conf"
    config.write_text(CONFIG.format(listen=listen, publisher=publisher))
    process = desktop.popen([str(IPPUSBD), "run", "--virtual", "--config", str(config)])
    try:
        desktop.wait(lambda: browsed(desktop), "the printer announced")
        status = desktop.run([str(IPPUSBD), "status", "--json", "--config", str(config)]).stdout
        (row,) = json.loads(status)["printers"]
        assert row["name"] == NAME
        yield row["url"]
    finally:
        desktop.stop(process)
        control = desktop.root / "run/ippusbd/control.sock"
        desktop.wait(lambda: not control.exists() and not browsed(desktop), "its end")


def browsed(desktop: Desktop) -> list[str]:
    """The resolved records of printers."""
    out = desktop.run(["avahi-browse", "-krpt", "_ipp._tcp"]).stdout
    return [line for line in out.splitlines() if line.startswith("=")]


def announced(desktop: Desktop) -> set[str]:
    """The addresses of the host that the records name."""
    found = (
        desktop.run(["avahi-resolve-host-name", family, "localhost.local"]).stdout.split()[1:]
        for family in ("-4", "-6")
    )
    return {address for each in found for address in each}


def served(desktop: Desktop, port: int = PORT) -> set[str]:
    out = desktop.run(["ss", "-Hltn", f"sport = :{port}"]).stdout
    return {line.split()[3].rpartition(":")[0].strip("[]") for line in out.splitlines() if line}


@pytest.mark.parametrize("publisher", ["avahi", "zeroconf"])
@pytest.mark.parametrize(
    ("listen", "addresses", "url"),
    [
        ("", {"127.0.0.1", "::1"}, f"http://localhost:{PORT}/"),
        ('ipv4 = ""', {"::1"}, f"http://[::1]:{PORT}/"),
        ('ipv6 = ""', {"127.0.0.1"}, f"http://127.0.0.1:{PORT}/"),
        ('ipv4 = "127.0.0.2"', {"127.0.0.2", "::1"}, f"http://127.0.0.2:{PORT}/"),
    ],
)
def test_the_addresses_announced_are_those_served(
    desktop: Desktop, listen: str, addresses: set[str], url: str, publisher: str
):
    with daemon(desktop, listen, publisher) as shown:
        assert served(desktop) == addresses
        assert announced(desktop) == addresses
        assert shown == url
        urls = set(re.findall(r"http://[^/]*/", "\n".join(browsed(desktop))))
        assert urls == {url}
        assert desktop.run(["curl", "-sf", "-o", "/dev/null", url]).returncode == 0


@pytest.mark.parametrize("half", ["127.0.0.1", "::1"])
def test_a_port_of_which_a_stranger_has_a_half_is_left_to_it(desktop: Desktop, half: str):
    stranger = desktop.popen(["python3", "-m", "http.server", str(PORT), "--bind", half])
    try:
        desktop.wait(lambda: served(desktop) == {half}, "the stranger")
        with daemon(desktop) as shown:
            assert shown == f"http://localhost:{PORT + 1}/"
            assert served(desktop, PORT + 1) == {"127.0.0.1", "::1"}
            assert all(f";{PORT + 1};" in line for line in browsed(desktop))
    finally:
        desktop.stop(stranger)
