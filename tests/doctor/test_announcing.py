"""What the doctor says of printers on the network that have the name of ours."""

from __future__ import annotations

from ippusbd.dnssd.avahi_browser import Instance
from ippusbd.doctor.announcing import twins


def told(*names: str, suffix: str = " (USB)") -> list[tuple[str, str]]:
    network = [
        Instance(name, kind, "eth0")
        for name in ("Office", "Lobby", "Attic (USB)")
        for kind in ("_ipp._tcp", "_uscan._tcp")
    ]
    return [(each.about, each.remedy) for each in twins(names, network, suffix)]


def test_the_same_device_on_the_network_is_named_once():
    assert told("Office (USB)") == [("Office (USB)", "")]
    assert told("Lobby (USB 2)", "Cellar (USB)") == [("Lobby (USB 2)", "")]
    assert told("Lobby (Kabel)", suffix=" (Kabel)") == [("Lobby (Kabel)", "")]


def test_a_name_that_is_the_same_has_a_remedy():
    for name in ("Office", "Attic (USB)"):
        ((about, remedy),) = told(name, suffix="")
        assert about == name
        assert "set another [dnssd] suffix" in remedy
