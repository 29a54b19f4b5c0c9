"""What the doctor says of printers on the network that have the name of ours."""

from __future__ import annotations

from ippusbd.dnssd.avahi_browser import Instance
from ippusbd.doctor.announcing import network, twins
from ippusbd.doctor.findings import Level
from ippusbd.kinds import Kind


def told(*names: str, suffix: str = " (USB)") -> list[tuple[str, str]]:
    network = [
        Instance(name, kind, "eth0")
        for name in ("Office", "Lobby", "Attic (USB)")
        for kind in ("_ipp._tcp", "_uscan._tcp")
    ]
    return [(each.about, each.kind) for each in twins(names, network, suffix)]


def test_the_same_device_on_the_network_is_named_once():
    assert told("Office (USB)") == [("Office (USB)", Kind.TWIN.label)]
    assert told("Lobby (USB 2)", "Cellar (USB)") == [("Lobby (USB 2)", Kind.TWIN.label)]
    assert told("Lobby (Kabel)", suffix=" (Kabel)") == [("Lobby (Kabel)", Kind.TWIN.label)]


def test_a_name_that_is_the_same_has_a_remedy():
    for name in ("Office", "Attic (USB)"):
        assert told(name, suffix="") == [(name, Kind.SAME_NAME.label)]
    assert "set another suffix in [dnssd]" in Kind.SAME_NAME.of().remedy


def test_a_network_that_cannot_be_asked_is_no_problem_of_the_printer(tmp_path, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    (finding,) = network(["A Printer (USB)"], " (USB)")
    assert (finding.level, finding.kind) == (Level.NOTE, Kind.NETWORK_UNKNOWN.label)
    assert "no-bus" in finding.text or "D-Bus" in finding.text
    assert finding.remedy
