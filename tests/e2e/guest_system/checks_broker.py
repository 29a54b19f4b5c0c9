"""On demand: systemd listens for the broker; its first client starts the daemon."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checks_plug import prints
from desk import BROKER_SERVICE, BROKER_SOCKET, VID_PID, label_of, printer
from inits import SERVICE, active, main_pid, unit
from programs import run, until
from report import Failed, Group

BROKER = Path("/run/ippusb/ippusb_manager.sock")


@contextmanager
def on_demand() -> Iterator[None]:
    run("systemctl", "mask", "--now", SERVICE)
    run("systemctl", "enable", "--now", BROKER_SOCKET)
    try:
        with printer():
            yield
    finally:
        run("systemctl", "disable", "--now", BROKER_SOCKET)
        run("systemctl", "stop", BROKER_SERVICE)
        run("systemctl", "unmask", SERVICE)


GROUP = Group("on demand", on_demand)


@GROUP.check("plugging a printer in starts nothing")
def quiet(_: None) -> None:
    run("udevadm", "settle")
    if active(SERVICE) or active(BROKER_SERVICE) or not active(BROKER_SOCKET):
        raise Failed(run("systemctl", "status", "ippusbd*", check=False))


@GROUP.check("the first question starts the daemon, and names a socket that speaks HTTP")
def asked(_: None) -> str:
    start = time.monotonic()
    name = ask(VID_PID)
    took = time.monotonic() - start
    page = run("curl", "-sSf", "--unix-socket", BROKER.parent / name, "http://localhost/")
    if "VirtualJet" not in page:
        raise Failed(page[:300])
    label = label_of(main_pid(BROKER_SERVICE))
    if label != "ippusbd (enforce)":
        raise Failed(label)
    return f"{name} after {took:.1f} s, {label}"


def ask(question: str) -> str:
    """The broker's answer. With slow emulation the daemon may not find the printer in time."""

    def answer() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(BROKER))
            client.sendall(bytes([len(question) + 1]) + question.encode() + b"\0")
            size = client.recv(1)
            said = client.recv(size[0], socket.MSG_WAITALL)[:-1].decode() if size else ""
        return "" if said == "Device not found" else said

    return until(answer, "the broker's answer")


@GROUP.check("CUPS prints to ippusb:// through it: same sha256")
def backend(_: None) -> str:
    said = run("lpinfo", "--include-schemes", "ippusb", "-v", limit_s=120)
    if VID_PID not in said:
        raise Failed(f"lpinfo -v: {said}")
    uri = said.split()[1]
    run("lpadmin", "-p", "demand", "-E", "-v", uri, "-m", f"ippusb:{VID_PID}", limit_s=180)
    return f"{uri}: {prints('demand', '-o', 'raw')}"


@GROUP.check("when nobody wants it any more it ends, and the socket stays")
def ended(_: None) -> str:
    start = time.monotonic()
    until(lambda: unit(BROKER_SERVICE, "ActiveState") == "inactive", "the end", 120)
    if unit(BROKER_SERVICE, "Result") != "success" or not active(BROKER_SOCKET):
        raise Failed(run("systemctl", "status", BROKER_SERVICE, BROKER_SOCKET, check=False))
    return f"after {time.monotonic() - start:.1f} s"


@GROUP.check("the next question starts it again")
def asked_again(_: None) -> str:
    start = time.monotonic()
    name = ask(VID_PID)
    return f"{name} after {time.monotonic() - start:.1f} s"
