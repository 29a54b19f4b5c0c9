"""A daemon loads what it uses, and keeps no more memory than that takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, Start
from support.ports import FIRST_PORT
from support.waiting import until_true

OWN_MIB = 14.0  # 11.5 are used, and Python versions differ
COMMANDS = {f"ippusbd.cli.{name}" for name in ("common", "main", "output", "run")}
# Nothing is announced or shared, nobody asks for a page, a trace or a diagnosis.
UNWANTED = (
    *("zeroconf", "dbus_fast", "ifaddr", "cryptography", "PIL"),
    *("difflib", "unittest", "multiprocessing", "http.server", "logging.handlers", "pydoc"),
    *("ippusbd.doctor", "ippusbd.setup", "ippusbd.daemon.share", "ippusbd.daemon.single"),
    "ippusbd.users.passwords",
    *("ippusbd.daemon.observe.page", "ippusbd.daemon.observe.trace"),
    *(f"ippusbd.dnssd.{kind}_publisher" for kind in ("auto", "avahi", "static", "zeroconf")),
)
VIRTUAL = ("ippusbd.virtual", "h11")


def imports(daemon: DaemonProcess) -> dict[str, str]:
    """What was imported and by whom, from Python's own list: importers follow, less indented."""
    rows = re.findall(r"^import time: +\d+ \| +\d+ \|( +)(\S+)$", daemon.log, re.MULTILINE)
    importers, found = [""] * 200, dict[str, str]()
    for indent, name in reversed(rows):
        depth = len(indent) // 2
        importers[depth] = name
        found[name] = " < ".join(reversed(importers[:depth]))
    return found


@pytest.mark.parametrize(
    ("options", "unwanted"),
    [(["--virtual"], UNWANTED), ([], (*UNWANTED, *VIRTUAL))],
    ids=["virtual", "usb"],
)
def test_a_daemon_imports_nothing_that_it_does_not_use(
    start: Start, options: list[str], unwanted: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    daemon = start(*options)
    if options:
        daemon.lines("  print  ")
    else:
        until_true(lambda: '"running"' in daemon.command("status", "--json").stdout)
    found = imports(daemon)
    assert "ippusbd.proxy.server" in found
    wrong = [name for name in found if any(f"{name}.".startswith(f"{each}.") for each in unwanted)]
    wrong += [n for n in found if n.startswith("ippusbd.cli.") and n not in COMMANDS]
    assert not {name: found[name] for name in wrong}


def rss_mib(status: str) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def test_a_daemon_takes_little_more_memory_than_its_http_server_alone(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # As installed: where nothing has to be compiled.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "compiled"))
    for _ in range(2):
        daemon = start("--virtual")
        daemon.lines("  print  ")
        rss = rss_mib(Path(f"/proc/{daemon.process.pid}/status").read_text())
        assert daemon.stop() == 0
    code = "import ippusbd.proxy.aiohttp_server; print(open('/proc/self/status').read())"
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = rss - rss_mib(alone.stdout)
    assert own < OWN_MIB


@pytest.mark.parametrize(("shared", "loaded"), [("[]", False), ('["example0"]', True)])
def test_a_daemon_loads_openssl_if_it_shares_printers_only(
    start: Start, tmp_path: Path, shared: str, loaded: bool
):
    config = tmp_path / "shared.conf"
    config.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}"\nruntime_dir = "{tmp_path}"\n'
        f'[listen]\nport_min = {FIRST_PORT}\ninterface = {shared}\n[dnssd]\npublisher = "off"\n'
    )
    daemon = start("--config", str(config))
    daemon.config = config
    until_true(lambda: '"running"' in daemon.command("status", "--json").stdout)
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert ("libssl" in maps, "libcrypto" in maps) == (loaded, loaded)


def test_garbage_is_looked_for_as_usual_but_not_in_what_was_imported(tmp_path: Path):
    config = tmp_path / "ippusbd.conf"
    config.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        f'[listen]\nport_min = {FIRST_PORT}\n[dnssd]\npublisher = "off"\n'
    )
    code = (
        "import gc, sys; from ippusbd.cli.main import main; usual = gc.get_threshold();"
        "main(sys.argv[1:]); print(gc.get_threshold() == usual, gc.get_freeze_count() > 20_000)"
    )
    argv = ["run", "--virtual", "--config", str(config), "--idle-exit", "0.5s"]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, check=True)
    assert done.stdout.endswith(b"True True\n")
