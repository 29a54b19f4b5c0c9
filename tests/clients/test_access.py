"""The rules of [access] in CUPS, at a shell, and in a scan program."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.cups import DAEMON_CONF, PrintDesk, print_desk
from support.debian import require
from support.office import pdf

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

REASON = "may not print on this printer"
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
PORT = 61000


@pytest.fixture(scope="module")
def cups() -> Iterator[PrintDesk]:
    require("setpriv", "curl", "ipptool")
    with print_desk() as desk:
        yield desk


class Rules:
    """Starts the daemon with a section [access]."""

    def __init__(self, desk: PrintDesk) -> None:
        self.desk = desk
        self._logged_before = len(desk.log())

    def start(self, access: str) -> PrintDesk:
        config = self.desk.folder / "access.conf"
        config.write_text(f"{DAEMON_CONF}[access]\n{access}\n")
        self.desk.start_daemon("--config", str(config))
        self.desk.wait(lambda: self.web("/")[0] == "200", "the printer, which root may use")
        return self.desk

    def cups_log(self) -> str:
        """What cupsd logged during this test."""
        return self.desk.log()[self._logged_before :]

    def web(self, path: str, *options: str, user: tuple[str, ...] = ()) -> tuple[str, str]:
        """Status and body of a request, by root or another user."""
        url = f"http://localhost:{PORT}{path}"
        argv = [*user, "curl", "-s", "-w", "\n%{http_code}", *options, url]
        body, _, status = self.desk.desktop.run(argv).stdout.rpartition("\n")
        return status, body


@pytest.fixture
def rules(cups: PrintDesk) -> Iterator[Rules]:
    yield Rules(cups)
    cups.desktop.run(["cancel", "-a", "-x"])
    if cups.is_serving:
        cups.stop_daemon()


@pytest.fixture
def document(cups: PrintDesk) -> str:
    path = cups.folder / "page.pdf"  # where everybody may read it
    path.write_bytes(pdf("A page"))
    return str(path)


@pytest.mark.parametrize(
    "uri", [f"ipp://localhost:{PORT}/ipp/print", "ippusb://1209_0001/ipp/print"]
)
def test_cups_holds_a_refused_job_and_logs_the_reason(rules: Rules, document: str, uri: str):
    """Its backends are the user lp, which is not on the list. The queue itself goes on."""
    desk = rules.start('print = ["daemon"]')
    desk.run("lpadmin", "-p", "kept", "-E", "-v", uri, "-m", "raw")
    desk.run("lp", "-d", "kept", document)
    desk.wait(
        lambda: "held-for-authentication" in desk.run("lpstat", "-l", "-o", "kept").stdout,
        "the job held",
    )
    refusal = rf"client-error-not-authorized \(uid 7( gid 7 pid \d+)? {REASON}\)"
    assert re.search(refusal, rules.cups_log()), "a Unix socket tells group and process, too"
    assert "enabled" in desk.queue_state("kept")
    desk.run("cancel", "-a", "-x")
    desk.run("lpadmin", "-x", "kept")
    assert desk.printed() == []


@pytest.mark.parametrize("listed", ['["lp"]', '["@lp"]', "[7]", "[]"])
def test_cups_prints_if_lp_is_allowed(rules: Rules, document: str, listed: str):
    desk = rules.start(f"print = {listed}\nconfig = [1]\nscan = [1]")
    uri = f"ipp://localhost:{PORT}/ipp/print"
    desk.add_everywhere("free", uri)
    assert 'Printer "free" is now available' in rules.cups_log(), "its filters, made again"
    desk.run("lp", "-d", "free", document)
    desk.wait(lambda: len(desk.printed()) == 1, "the page printed")
    assert "client-error-not-authorized" not in rules.cups_log()


def test_ipptool_gets_not_authorized_unless_its_user_is_allowed(rules: Rules, document: str):
    desk = rules.start("print = [1]")
    argv = ["ipptool", "-tv", "-f", document, f"ipp://localhost:{PORT}/ipp/print", "print-job.test"]
    refused = desk.desktop.run([*AS_NOBODY, *argv]).stdout
    assert "client-error-not-authorized" in refused
    assert REASON in refused
    question = [argv[0], "-tv", argv[4], "get-printer-attributes.test"]
    assert "successful-ok" in desk.desktop.run([*AS_NOBODY, *question]).stdout, "it may scan"
    assert "[PASS]" in desk.desktop.run(argv).stdout, "root may"


def test_scanner_and_console_are_refused_with_403_and_logged(rules: Rules):
    desk = rules.start('scan = ["daemon"]\nconfig = ["@daemon"]')
    status, body = rules.web("/", user=AS_NOBODY)
    assert (status, body.splitlines()[0]) == (
        "403",
        "ippusbd: uid 65534 may not configure this printer",
    )
    scan = ["-d", "<x/>", "-H", "Content-Type: text/xml"]
    assert rules.web("/eSCL/ScanJobs", *scan, user=AS_NOBODY)[0] == "403"
    assert rules.web("/eSCL/ScannerCapabilities", user=AS_NOBODY)[0] == "200", "it may print"
    assert "uid 65534 may not scan with this printer" in desk.desktop.logs()


def test_an_unknown_user_prevents_the_start_and_is_named(cups: PrintDesk):
    config = cups.folder / "wrong.conf"
    config.write_text(f'{DAEMON_CONF}[access]\nscan = ["no-such-user"]\n')
    cups.start_daemon("--config", str(config), wait=False)
    cups.desktop.wait(lambda: not cups.is_serving, "its end")
    assert "[access] scan: there is no user no-such-user" in cups.desktop.logs()
