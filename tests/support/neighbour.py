"""A desk with a network: a cable to a neighbour's machine, and one to nowhere that is not shared.

The neighbour is a network namespace at the other end of a veth pair, with an address in the desk's
network and another that is not, though the desk has a way to it.

Knows the desk; nothing of what is shared.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

from support.cups import IPPUSBD, PrintDesk
from support.desktop import Desktop

DESK = "192.0.2.10"
DESK6 = "2001:db8::10"
NEIGHBOUR = "192.0.2.20"
STRANGER = "198.51.100.20"
LINK = "fe80::10"  # of the desk, on the cable alone
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
[share]
{share}
"""
NETWORK = """
set -e
ip netns add house
ip link add share0 type veth peer name far0 netns house
ip link add other0 type veth peer name other1
for name in share0 other0 other1; do ip link set $name addrgenmode none; done
ip address add 192.0.2.10/24 dev share0
ip address add 2001:db8::10/64 dev share0 nodad
ip address add fe80::10/64 dev share0 nodad
ip address add 203.0.113.10/24 dev other0
ip link set share0 up; ip link set other0 up; ip link set other1 up
ip -n house address add 192.0.2.20/24 dev far0
ip -n house address add 198.51.100.20/32 dev far0
ip -n house address add 2001:db8::20/64 dev far0 nodad
ip -n house address add fe80::20/64 dev far0 nodad
ip -n house link set far0 up; ip -n house link set lo up
ip route add 198.51.100.20/32 dev share0
"""


class SharingDesk:
    """The desk, and what its neighbour sees."""

    def __init__(self, desk: PrintDesk) -> None:
        self.desk = desk
        self.desktop: Desktop = desk.desktop
        self.folder: Path = desk.folder
        self._daemon: subprocess.Popen[str] | None = None

    def lay_cables(self) -> None:
        done = self.desktop.run(["sh", "-c", NETWORK])
        assert done.returncode == 0, done.stderr
        self.desktop.start_bus()
        self.desktop.start_avahi()

    # --- the daemon

    def start(
        self, share: str = "", listen: str = 'interface = ["share0"]', publisher: str = "avahi"
    ) -> None:
        """The daemon, until the printer is served here and, if it is shared, there."""
        config = self.folder / "ippusbd.conf"
        config.write_text(CONFIG.format(share=share, listen=listen, publisher=publisher))
        self._daemon = self.desktop.popen(
            [
                *(str(IPPUSBD), "run", "--virtual", "--config", str(config)),
                *("--virtual-control", str(self.folder / "virtual.sock")),
                *("--store", str(self.desk.store)),
            ]
        )
        self.desktop.wait(lambda: self.is_ready, "the printer")
        if listen:
            self.desktop.wait(lambda: self.listens(f"{DESK}:{PORT}"), "a door to the network")

    @property
    def is_ready(self) -> bool:
        here = f"http://127.0.0.1:{PORT}/eSCL/ScannerCapabilities"
        return self.desktop.run(["curl", "-sf", "-o", "/dev/null", here]).returncode == 0

    def stop(self) -> None:
        if self._daemon is not None:
            self.desktop.stop(self._daemon)
            control = self.desk.root / "run/ippusbd/control.sock"
            self.desktop.wait(lambda: not control.exists(), "its end")
            self._daemon = None

    def listens(self, address: str = "") -> list[str]:
        """TCP addresses that somebody listens on, with that address in them."""
        out = self.desktop.run(["ss", "-Hltn"]).stdout
        local = [line.split()[3] for line in out.splitlines() if line.strip()]
        return [each for each in local if address in each]

    @property
    def certificate(self) -> Path:
        """The daemon's own certificate, without the key."""
        kept = (self.desk.root / "run/ippusbd/state/share.pem").read_text()
        found = re.search("-----BEGIN CERT.*?END CERTIFICATE-----\n", kept, re.DOTALL)
        assert found is not None
        path = self.folder / "pinned.pem"
        path.write_text(found[0])
        return path

    # --- the neighbour

    def neighbour(
        self, *argv: str, timeout_s: float = 60.0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """A program on the neighbour's machine."""
        mine = {"HOME": str(self.folder), **environ}
        return self.desktop.run(
            ["ip", "netns", "exec", "house", *argv], timeout_s=timeout_s, environ=mine
        )

    def fetch(self, path: str, *options: str, host: str = DESK) -> str:
        """What the neighbour's curl, which trusts our certificate alone, is told: the status."""
        out = self.neighbour(
            *("curl", "-s", "--cacert", str(self.certificate), "-o", str(self.folder / "body")),
            *("-w", "%{http_code}", *options, f"https://{host}:{PORT}{path}"),
        )
        return out.stdout

    @property
    def body(self) -> str:
        """What `fetch` brought."""
        return (self.folder / "body").read_text()

    def browsed(self, kind: str = "-a") -> list[dict[str, Any]]:
        """What avahi-browse sees on the desk, resolved; of all kinds, if none is said."""
        out = self.desktop.run(["avahi-browse", "-krpt", kind]).stdout
        out = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1])), out)
        rows = [line.split(";") for line in out.splitlines() if line.startswith("=")]
        return [
            {
                "interface": r[1],
                "name": r[3],
                "kind": r[4],
                "host": r[6],
                "address": r[7],
                "port": r[8],
            }
            | {"txt": dict(re.findall(r'"([^"=]+)=([^"]*)"', r[9]))}
            for r in rows
        ]
