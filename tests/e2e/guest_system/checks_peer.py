"""ipp-usb: first it serves the printer alone, then both are installed, then it is removed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desk import CONFIG, printer, served, tell
from inits import SERVICE, active, unit
from programs import run, until
from report import Failed, Group

DEBS = Path("/root/debs")
PEER = "ipp-usb.service"
PEER_STATE = Path("/var/ipp-usb")
STATE = Path("/var/lib/ippusbd/printers.json")
ASIDE = Path("/var/lib/e2e-printers.json")
PEER_CONFIG = Path("/etc/ipp-usb/ipp-usb.conf")
AUTH = "\n[auth uid]\n  all = root\n"
PORT = 61111  # one that neither of us would take by itself


@contextmanager
def beside() -> Iterator[None]:
    run("systemctl", "mask", "--now", SERVICE)
    run("cp", "-p", STATE, ASIDE)
    STATE.unlink()
    config = CONFIG.read_text()
    run("apt-get", "install", "-y", *DEBS.glob("ipp-usb_*.deb"), limit_s=120)
    try:
        with printer():
            yield
    finally:
        run("systemctl", "stop", SERVICE, PEER)
        run("apt-get", "purge", "-y", "ipp-usb", limit_s=120)
        shutil.rmtree(PEER_STATE, ignore_errors=True)
        shutil.rmtree("/var/log/ipp-usb", ignore_errors=True)
        run("cp", "-p", ASIDE, STATE)
        STATE.with_name("ipp-usb.conf").unlink(missing_ok=True)
        CONFIG.write_text(config)
        run("systemctl", "unmask", SERVICE)


GROUP = Group("coming from ipp-usb", beside)


@GROUP.check("ipp-usb serves the printer, and keeps a port for it")
def peer_serves(_: None) -> str:
    run("systemctl", "start", PEER)

    def state() -> Path | None:
        files = sorted((PEER_STATE / "dev").glob("*.state"))
        return files[0] if files and "http-port" in files[0].read_text() else None

    file = until(state, "its state file")
    assert file is not None
    run("systemctl", "stop", PEER)
    text = file.read_text()
    file.write_text(re.sub(r"(http-port\s*=\s*)\d+", rf"\g<1>{PORT}", text))
    return f"{file.name}: {' '.join(file.read_text().split())}"


@GROUP.check("with both installed a plug starts ours alone, with the port that ipp-usb kept")
def taken_over(_: None) -> str:
    run("systemctl", "unmask", SERVICE)
    tell("unplug")
    run("udevadm", "settle")
    tell("plug")
    until(active, "the service")
    row = served()
    if row["port"] != PORT:
        raise Failed(f"port {row['port']} instead of {PORT}")
    if unit(PEER, "ActiveState") == "active":
        raise Failed("ipp-usb runs beside us")
    return f"port {row['port']}, {row['name']}"


def open_for(port: int) -> dict[str, str]:
    """The status that the printer's web console has for root and for somebody else."""
    curl = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://localhost:{port}/")
    return {user: run("runuser", "-u", user, "--", *curl) for user in ("root", "nobody")}


@GROUP.check("whom [auth uid] refuses is refused by ours, before `ippusbd migrate` and after it")
def closed(_: None) -> str:
    PEER_CONFIG.write_text(PEER_CONFIG.read_text().partition("\n[auth")[0] + AUTH)
    run("systemctl", "restart", SERVICE)
    found = [open_for(served()["port"])]
    run("ippusbd", "migrate")
    PEER_CONFIG.unlink()
    run("systemctl", "restart", SERVICE)
    found.append(open_for(served()["port"]))
    if found != [{"root": "200", "nobody": "403"}] * 2:
        raise Failed(f"{found}\n{CONFIG.read_text()}")
    return str(found[0])


@GROUP.check("the doctor names ipp-usb and says what to do")
def doctor(_: None) -> str:
    said = run("ippusbd", "doctor", check=False)
    line = next((one for one in said.splitlines() if "ipp-usb" in one), "")
    if not line:
        raise Failed(said)
    return line.strip()
