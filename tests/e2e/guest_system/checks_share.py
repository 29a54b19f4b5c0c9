"""The printer is shared with a network over TLS; meanwhile it is traced and examined."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checks_plug import QUEUE, kept, prints
from desk import CONFIG, printer, served, status, told
from inits import SERVICE, active
from programs import Service, add_everywhere, run, until
from report import Failed, Group

DESK = "192.0.2.10"
DROP_IN = Path("/run/systemd/system/ippusbd.service.d/share.conf")
SHARED_QUEUE = "shared"
TRACE = Path("/run/e2e-trace")
NEIGHBOUR = ("ip", "netns", "exec", "house")
CABLE = """
set -e
ip netns add house
ip link add share0 type veth peer name far0 netns house
ip address add 192.0.2.10/24 dev share0
ip link set share0 up
ip -n house address add 192.0.2.20/24 dev far0
ip -n house link set far0 up
"""


@contextmanager
def shared() -> Iterator[None]:
    """As the manual page says: the interface in the configuration, its network in the sandbox."""
    run("sh", "-c", CABLE)
    before = CONFIG.read_text()
    CONFIG.write_text(before.replace('# interface = "loopback"', 'interface = ["share0"]'))
    DROP_IN.parent.mkdir(parents=True)
    DROP_IN.write_text("[Service]\nIPAddressAllow=192.0.2.0/24\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "stop", SERVICE)  # it still waits for the printer of the checks before
    try:
        with printer():
            until(active, "the service")
            kept()
            yield
    finally:
        run("systemctl", "stop", SERVICE)
        CONFIG.write_text(before)
        DROP_IN.unlink()
        DROP_IN.parent.rmdir()
        run("systemctl", "daemon-reload")
        run("ip", "netns", "delete", "house")


GROUP = Group("sharing, tracing, examining", shared)


@GROUP.check("a neighbour meets the certificate that `ippusbd status` shows, and the scanner")
def certificate(_: None) -> str:
    address = f"{DESK}:{served()['port']}"
    connect = f"openssl s_client -connect {address} </dev/null 2>/dev/null"
    said = until(
        lambda: run(
            *NEIGHBOUR, "sh", "-c", f"{connect} | openssl x509 -noout -fingerprint -sha256"
        ),
        "a certificate",
    )
    fingerprint = said.strip().partition("=")[2]
    if not fingerprint or fingerprint not in told("status"):
        raise Failed(f"{said}\n{told('status')}")
    url = f"https://{address}/eSCL/ScannerCapabilities"
    page = run(*NEIGHBOUR, "curl", "-sSf", "--insecure", url)
    if "ScannerCapabilities" not in page or "localhost" in page:
        raise Failed(page[:500])
    return f"{address}, {fingerprint[:11]}..."


@GROUP.check("CUPS prints over ipps://: same sha256")
def over_tls(_: None) -> str:
    uri = f"ipps://{DESK}:{served()['port']}/ipp/print"
    add_everywhere(SHARED_QUEUE, uri)
    try:
        return f"{uri}: {prints(SHARED_QUEUE)}"
    finally:
        run("lpadmin", "-x", SHARED_QUEUE)


@GROUP.check("without TLS the network gets nothing")
def no_plain_http(_: None) -> None:
    url = f"http://{DESK}:{served()['port']}/eSCL/ScannerCapabilities"
    if page := run(*NEIGHBOUR, "curl", "-sf", url, check=False):
        raise Failed(page[:500])


@GROUP.check("`ippusbd trace` records a print for Wireshark and browsers, without the document")
def traced(_: None) -> str:
    name = str(status()[0]["name"])
    trace = Service(
        "trace", ("/usr/bin/ippusbd", "trace", name, "-o", TRACE), Path("/run/trace.log")
    )
    packets, exchanges = TRACE.with_suffix(".pcapng"), TRACE.with_suffix(".har")
    until(lambda: trace.must_run() and packets.exists(), "the trace")
    prints(QUEUE)
    trace.process.send_signal(signal.SIGINT)
    if trace.process.wait(60):
        raise Failed(trace.words())
    if not packets.read_bytes().startswith(b"\n\r\r\n"):
        raise Failed("no pcapng file")
    entries = json.loads(exchanges.read_text())["log"]["entries"]
    posts = [one for one in entries if one["request"]["method"] == "POST"]
    if not posts or any(one["request"].get("postData", {}).get("text") for one in posts):
        raise Failed(f"{len(entries)} entries: {entries[:2]}")
    return f"{packets.stat().st_size} bytes, {len(posts)} POST requests"


@GROUP.check("`ippusbd doctor` finds no problem")
def doctor(_: None) -> str:
    said = run("ippusbd", "doctor", limit_s=120)  # exit status 0
    if found := re.findall(r"(?m)^FAIL.*", said):
        raise Failed("\n".join(found))
    return f"{len(said.splitlines())} lines"


@GROUP.check("the sandbox lets answers wait in files without a name")
def nameless_file(_: None) -> None:
    how = ("-p", "User=ippusbd", "-p", "AppArmorProfile=ippusbd", "-p", "ProtectSystem=strict")
    where = ("-p", "StateDirectory=ippusbd", "-p", "StateDirectoryMode=0700")
    run(
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        *how,
        *where,
        "/usr/bin/python3",
        "-ISc",
        SPOOLS,
    )


SPOOLS = """
import os
fd = os.open("/var/lib/ippusbd", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
os.pwrite(fd, b"page", 0)
assert os.pread(fd, 4, 0) == b"page"
os.ftruncate(fd, 0)
"""
