"""A printer is plugged in: the service serves it, programs use it, until it is unplugged."""

from __future__ import annotations

import grp
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desk import documents, label_of, printer, served, tell
from inits import RESPAWNS, SERVICE, SYSTEMD, active, main_pid, tell_init, unit
from paper import arrived, jpeg, must_be, picture_hash
from programs import add_everywhere, run, until
from report import Failed, Group

QUEUE = "desk"
KEPT = Path("/var/lib/e2e-kept")  # port and name, over the restart of the machine


@contextmanager
def plugged() -> Iterator[None]:
    with printer():
        yield


GROUP = Group("a printer is plugged in", plugged)


@GROUP.check("the service serves and announces it; udev has systemd start it")
def started(_: None) -> str:
    until(active, "the service")
    row = served()
    KEPT.write_text(f"{row['port']} {row['name']}")
    return f"{row['name']} at port {row['port']}"


def kept() -> None:
    """Port and name are the first ones."""
    row = served()
    if f"{row['port']} {row['name']}" != KEPT.read_text():
        raise Failed(f"{row['port']} {row['name']} instead of {KEPT.read_text()}")


@GROUP.check("it runs as its own user, without capabilities; under systemd confined by AppArmor")
def rights(_: None) -> str:
    pid = main_pid()
    fields = _fields(pid)
    if fields["Uid"].startswith("0\t") or int(fields["CapEff"], 16):
        raise Failed(str(fields))
    if not SYSTEMD:
        groups = {grp.getgrgid(int(number)).gr_name for number in fields["Groups"].split()}
        if groups - {"ippusbd"} != {"lp"}:
            raise Failed(f"groups {groups}")
        return f"uid {fields['Uid'].split()[0]}, groups {' '.join(sorted(groups))}"
    if int(fields["CapBnd"], 16) or fields["NoNewPrivs"] != "1" or fields["Seccomp"] != "2":
        raise Failed(str(fields))
    label = label_of(pid)
    if label != "ippusbd (enforce)":
        raise Failed(f"confined as {label}")
    return label


def _fields(pid: int) -> dict[str, str]:
    return dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )


def has(*wanted: str, command: tuple[object, ...], limit_s: float = 90.0) -> str:
    """Output of `command` when it has all the words: discovery takes time."""

    def output() -> str:
        said = run(*command, check=False, limit_s=60)
        return said if all(word in said for word in wanted) else ""

    return until(output, f"{wanted} in the output of {command}", limit_s)


@GROUP.check("CUPS finds it")
def cups_finds(_: None) -> str:
    said = has("VirtualJet", command=("lpinfo", "--include-schemes", "dnssd", "-v"))
    return said.strip().splitlines()[0]


@GROUP.check("lpadmin -m everywhere makes a queue, lp prints on it: same sha256")
def print_queue(_: None) -> str:
    add_everywhere(QUEUE, f"ipp://localhost:{served()['port']}/ipp/print")
    return prints(QUEUE)


def prints(queue: str, *options: str) -> str:
    """A photo sent to a queue arrives byte by byte."""
    before = len(documents())
    run("lp", "-d", queue, *options, jpeg())
    return must_be(arrived(documents, before), jpeg())


@GROUP.check("the queue that CUPS makes by itself prints: same sha256")
def print_temporary(_: None) -> str:
    said = has("VirtualJet", command=("lpstat", "-e"))
    queue = next(line for line in said.split() if "VirtualJet" in line)
    return f"{queue}: {prints(queue)}"


@GROUP.check("sane-airscan finds it, scanimage scans what lies on the glass")
def scans(_: None) -> str:
    said = has("airscan:", command=("scanimage", "-L"), limit_s=180)
    match = re.search(r"`(airscan:[^']*)'", said)
    if match is None:
        raise Failed(said)
    sums = []
    for number in (1, 2):
        page = Path(f"/run/page{number}.pnm")
        mode = ("--mode", "Gray", "--resolution", "75", "--format=pnm")
        run("scanimage", "-d", match[1], *mode, "-o", page, limit_s=180)
        sums.append(picture_hash(page))
    if sums[0] != sums[1]:
        raise Failed(f"the same sheet twice: {sums}")
    return f"{match[1]}, twice the same sha256 {sums[0][:12]}"


@GROUP.check("kill -9: it is started again, by hand under sysvinit; port and name are kept")
def killed(_: None) -> str:
    start, pid = time.monotonic(), main_pid()
    os.kill(pid, signal.SIGKILL)
    if not RESPAWNS:
        until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the service")
        tell_init("start")
    until(lambda: main_pid() not in (0, pid) and active(), "the service again")
    kept()
    took = time.monotonic() - start
    return f"served again after {took:.1f} s; {prints(QUEUE)}"


@GROUP.check("unplugged: 503 is the answer; after its idle time systemd's service ends by itself")
def unplugged(_: None) -> str:
    start, port = time.monotonic(), served()["port"]
    tell("unplug")
    if not SYSTEMD:
        until(lambda: http_status(port) == "503", "its port answers 503")
        if not active():
            raise Failed("the service ended")
        return f"{time.monotonic() - start:.1f} s after the unplug"
    until(lambda: unit(SERVICE, "ActiveState") == "inactive", "the service has ended", 120)
    took, result = time.monotonic() - start, unit(SERVICE, "Result")
    if result != "success" or took < 25:
        raise Failed(f"ended with {result} after {took:.1f} s")
    return f"{took:.1f} s after the unplug"


def http_status(port: int) -> str:
    page = ("-o", "/dev/null", "-w", "%{http_code}", f"http://localhost:{port}/")
    return run("curl", "-s", *page, check=False)


@GROUP.check("a job sent meanwhile waits, and prints when the printer is plugged in again")
def again(_: None) -> str:
    before = len(documents())
    run("lp", "-d", QUEUE, jpeg())
    tell("plug")
    until(active, "the service")
    kept()
    return must_be(arrived(documents, before, limit_s=180), jpeg())
