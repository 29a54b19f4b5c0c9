"""The doctor with a real Avahi and CUPS, each with a different problem."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cups import IPPUSBD, PrintDesk, print_desk
from support.desktop import Desktop
from support.office import QUEUE, Office

from ippusbd.kinds import Kind

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

AVAHI_CONF = "[server]\nhost-name=desk\n{server}\n[publish]\n{publish}\n"
CONFIG = '[daemon]\nruntime_dir = "/run/ippusbd"\n'
Findings = dict[str, dict[str, Any]]


def findings(desktop: Desktop, config: Path | None = None) -> Findings:
    """What the doctor says inside, by check; of the worst, where a check says several things."""
    if config is None:
        config = desktop.folder / "doctor.conf"
        config.write_text(CONFIG)
    done = desktop.run([str(IPPUSBD), "doctor", "--json", "--config", str(config)], timeout_s=60)
    told = json.loads(done.stdout)
    order = ["ok", "note", "problem"]
    told.sort(key=lambda each: order.index(each["level"]))
    assert (done.returncode == 1) == any(each["level"] == "problem" for each in told)
    return {each["check"]: each for each in told}


@contextmanager
def avahi(tmp_path: Path, *, server: str = "", publish: str = "") -> Iterator[Desktop]:
    """A desktop whose Avahi is configured so."""
    conf = tmp_path / "avahi-daemon.conf"
    conf.write_text(AVAHI_CONF.format(server=server, publish=publish))
    binds = {"/etc/avahi/avahi-daemon.conf": conf}
    with Desktop(binds=binds, second_interface=True) as desktop:
        desktop.start_bus()
        doors = ["--no-drop-root", "--no-chroot", "--no-rlimits"]
        desktop.popen(["avahi-daemon", f"--file={conf}", *doors])
        desktop.wait(desktop.avahi_is_there, "Avahi")
        yield desktop


def test_without_a_printer_nothing_that_does_not_run_is_a_problem():
    with Desktop() as desktop:
        told = findings(desktop)
        assert {each["level"] for each in told.values()} == {"ok", "note"}
        assert told["avahi"]["kind"] == Kind.NO_AVAHI.label
        assert told["daemon"]["kind"] == Kind.NOT_NEEDED.label
        assert told["cups"]["kind"] == Kind.NO_CUPS.label
        assert told["cups"]["text"] == "CUPS does not run"


def test_a_working_avahi_is_ok(tmp_path: Path):
    with avahi(tmp_path) as desktop:
        told = findings(desktop)
        assert told["avahi"] == {
            "level": "ok", "check": "avahi", "text": "Avahi announces on loopback",
            "remedy": "", "about": "", "kind": "",
        }  # fmt: skip


def test_a_refusal_of_avahi_is_quoted_and_explained(tmp_path: Path):
    with avahi(tmp_path, publish="disable-user-service-publishing=yes") as desktop:
        told = findings(desktop)
        assert told["avahi"]["level"] == "problem"
        assert "Avahi refuses" in told["avahi"]["text"]
        assert "disable-user-service-publishing=yes" in told["avahi-configuration"]["text"]
        change = "sed -i 's/^disable-user-service-publishing *=/#&/'"
        assert change in told["avahi-configuration"]["remedy"]


def test_an_avahi_without_loopback_is_reported(tmp_path: Path):
    with avahi(tmp_path, server="allow-interfaces=net0") as desktop:
        told = findings(desktop)
        assert told["avahi-lo"]["level"] == "problem"
        assert told["avahi-lo"]["kind"] == Kind.AVAHI_LINE.label
        assert "add lo to it" in told["avahi-lo"]["remedy"]


def test_a_hanging_avahi_is_reported(tmp_path: Path):
    with Desktop() as desktop:
        desktop.start_bus()
        desktop.start_avahi()
        desktop.pause_avahi()
        told = findings(desktop)
        desktop.resume_avahi()
        assert told["avahi"]["level"] == "problem"
        assert told["avahi"]["text"].startswith("Avahi refuses: ")


def test_a_working_office_has_no_problem(office: Office):
    office.wait(lambda: QUEUE in office.run("lpstat", "-e").stdout, "the queue listed")
    told = findings(office.desktop, office.folder / "ippusbd.conf")
    assert [each for each in told.values() if each["level"] == "problem"] == []
    # As what it was announced, or as a queue that another story made by hand.
    assert told["queue"]["text"].startswith((f"CUPS lists it as {QUEUE}", "CUPS prints to it as "))
    assert told["daemon"]["level"] == told["printer"]["level"] == "ok"


@pytest.fixture(scope="module")
def desk() -> Iterator[PrintDesk]:
    """CUPS and the daemon, which announces nothing."""
    with print_desk() as desk:
        desk.start_daemon()
        yield desk


def test_a_printer_that_cups_does_not_list_is_found_and_the_remedy_helps(desk: PrintDesk):
    config = desk.folder / "ippusbd.conf"
    config.write_text(config.read_text().replace('publisher = "off"', 'publisher = "avahi"'))
    told: Findings = {}

    def seen() -> bool:
        told.clear()
        told.update(findings(desk.desktop, config))
        return "queue" in told

    desk.wait(seen, "the printer ready")
    assert told["queue"]["kind"] == Kind.NOT_LISTED.label
    remedy = told["queue"]["remedy"]
    command = remedy[remedy.index("lpadmin") :].split()
    desk.run(*command)
    assert findings(desk.desktop, config)["queue"]["level"] == "ok"
    desk.run("lpadmin", "-x", command[2])
