"""The container on a host that has nothing of ours, with the very commands of its README."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import checks_plug
from checks_plug import QUEUE, http_status, kept, prints
from desk import E2E, documents, printer, served, tell, use_installed
from paper import arrived, jpeg, must_be
from programs import run, until
from report import Failed, Group

HOST = E2E / "host"
README = (HOST / "packaging/container/README.md").read_text() if HOST.exists() else ""
SERVICES = Path("/etc/avahi/services")


def pasted(beginning: str) -> None:
    """The block of README.md that begins so, run by a shell in the source tree."""
    blocks = re.findall(r"(?m)(?:^    .*\n)+", README)
    (block,) = (one for one in blocks if one.strip().startswith(beginning))
    run("sh", "-ec", f"cd {HOST}\n{block}", limit_s=300)


@contextmanager
def host() -> Iterator[None]:
    """The program is unpacked for the virtual printer, and nothing of it is installed."""
    run("dpkg-deb", "-x", E2E / "ippusbd.deb", "/run/unpacked")
    use_installed()
    pasted("install -m 644")
    run("podman", "load", "--quiet", "-i", E2E / "container.tar", limit_s=600)
    run("modprobe", "vhci-hcd")  # without a bus there is no /dev/bus/usb to hand over
    run("udevadm", "settle")
    pasted("podman run")
    with printer():
        yield
    run("podman", "rm", "--force", "ippusbd", limit_s=120)


GROUP = Group("the container, without a package on the host", host)


@GROUP.check("a printer that is plugged in is served, and announced by the host's Avahi")
def plugged(_: None) -> str:
    row = served()
    checks_plug.KEPT.write_text(f"{row['port']} {row['name']}")
    return f"{row['name']} at port {row['port']}, {sorted(one.name for one in SERVICES.iterdir())}"


@GROUP.check("it runs as its own user, without capabilities, in a read-only system")
def rights(_: None) -> str:
    said = run("podman", "exec", "ippusbd", "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    if fields["Uid"].startswith("0\t") or int(fields["CapBnd"], 16) or fields["NoNewPrivs"] != "1":
        raise Failed(said)
    mounts = run("podman", "exec", "ippusbd", "cat", "/proc/mounts")
    root = next(line for line in mounts.splitlines() if line.split()[1] == "/")
    if "ro" not in root.split()[3].split(","):
        raise Failed(root)
    return f"uid {fields['Uid'].split()[0]}, groups {fields['Groups'].strip()}"


for name, function in checks_plug.GROUP.checks:
    if function in (checks_plug.print_queue, checks_plug.print_temporary, checks_plug.scans):
        GROUP.check(name)(function)


@GROUP.check("its health check passes")
def healthy(_: None) -> None:
    run("podman", "healthcheck", "run", "ippusbd", limit_s=120)


@GROUP.check("podman restart: port and name are kept")
def restarted(_: None) -> str:
    run("podman", "restart", "ippusbd", limit_s=120)
    kept()
    return prints(QUEUE)


@GROUP.check("a new container with the same volumes has the same port and name")
def replaced(_: None) -> str:
    run("podman", "rm", "--force", "ippusbd", limit_s=120)
    pasted("podman run")
    kept()
    return prints(QUEUE)


@GROUP.check("unplugged: 503 is the answer, its service file is gone; a waiting job prints later")
def unplugged(_: None) -> str:
    port, before = served()["port"], len(documents())
    tell("unplug")
    until(lambda: http_status(port) == "503", "its port answers 503")
    until(lambda: not list(SERVICES.glob("*ipp*")), "its service file is gone")
    run("lp", "-d", QUEUE, jpeg())
    tell("plug")
    kept()
    return must_be(arrived(documents, before, limit_s=180), jpeg())


@GROUP.check("podman stop ends it in good order")
def stopped(_: None) -> str:
    run("podman", "stop", "ippusbd", limit_s=120)
    code = run("podman", "inspect", "--format", "{{.State.ExitCode}}", "ippusbd").strip()
    if code != "0" or list(SERVICES.glob("*ipp*")):
        raise Failed(f"exit status {code}, {list(SERVICES.iterdir())}")
    return f"exit status {code}"
