"""What avahi/ shows an administrator is what the daemon announces."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.desktop import Desktop

from ippusbd.model import (
    BusAddress,
    DeviceFacts,
    PrinterFacts,
    ProbeResult,
    ScannerFacts,
    ServiceRecord,
    UsbId,
)
from ippusbd.wire import txt

AVAHI = Path(__file__).parents[2] / "avahi"
CHECK = AVAHI / "check-avahi"

EXAMPLE = ProbeResult(
    device=DeviceFacts(
        UsbId(0x1209, 0x0001), BusAddress(1, 5, "1-2"), "Example", "MFP 4711", "EX0004711"
    ),
    printer=PrinterFacts(
        dns_sd_name="Example MFP 4711",
        make_and_model="Example MFP 4711",
        location="Second floor",
        uuid="00112233-4455-6677-8899-aabbccddeeff",
        pdl=("application/pdf", "image/urf", "image/pwg-raster", "image/jpeg"),
        urf=("V1.5", "W8", "SRGB24", "RS600", "DM1"),
        color=True,
        duplex=True,
        kind=("document", "envelope"),
        paper_max="legal-A4",
        more_info="http://192.0.2.7/",
        mopria="2.1",
        device_id="MFG:Example;MDL:MFP 4711;CMD:PDF,PWGRaster,URF;",
    ),
    scanner=ScannerFacts(
        version="2.63",
        make_and_model="Example MFP 4711",
        icon_uri="http://192.0.2.7/icon.png",
        pdl=("image/jpeg", "application/pdf"),
        color_spaces=("color", "grayscale", "binary"),
        sources=("platen", "adf"),
        duplex=True,
    ),
    fax=True,
)
SERVICES = txt.services(EXAMPLE, port=60000)


def read_example(name: str) -> list[ServiceRecord]:
    group = ElementTree.parse(AVAHI / "services" / name).getroot()
    return [
        ServiceRecord(
            name=group.findtext("name", ""),
            type=service.findtext("type", ""),
            port=int(service.findtext("port", "")),
            subtypes=tuple(
                (subtype.text or "").partition("._sub.")[0]
                for subtype in service.findall("subtype")
            ),
            txt=tuple(_item(item.text or "") for item in service.findall("txt-record")),
        )
        for service in group.findall("service")
    ]


def _item(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


# --- the examples


def test_the_example_of_a_printer_is_what_the_code_announces():
    assert read_example("example-mfp.service") == list(SERVICES.records)


def test_the_example_for_legacy_drivers_is_what_the_code_announces():
    assert read_example("example-mfp-taken.service") == list(SERVICES.fixed)


@pytest.mark.parametrize("example", ["example-mfp.service", "example-mfp-taken.service"])
def test_the_examples_are_valid_for_avahis_own_description(example):
    # No xmllint is needed to see it: the elements that avahi-service.dtd has, in its order.
    order = ["type", "subtype", "domain-name", "host-name", "port", "txt-record"]
    group = ElementTree.parse(AVAHI / "services" / example).getroot()
    assert [child.tag for child in group][:2] == ["name", "service"]
    for service in group.findall("service"):
        places = [order.index(child.tag) for child in service]
        assert places == sorted(places)


def test_avahi_can_hold_packages_no_python_ever_imports():
    # `import avahi` must stay free for Debian's package of that name.
    assert not list(AVAHI.rglob("*.py"))


def test_the_example_configuration_lets_the_loopback_through():
    config = configparser.ConfigParser()
    config.read(AVAHI / "avahi-daemon.conf.example")
    assert config["server"]["allow-interfaces"] == "lo"
    assert config["server"]["host-name"] == "localhost"
    assert "deny-interfaces" not in config["server"]
    assert config["publish"]["disable-publishing"] == "no"


# --- the check script, on configurations alone


def check_config(folder: Path, config: str) -> subprocess.CompletedProcess[str]:
    file = folder / "avahi-daemon.conf"
    file.write_text(config)
    return subprocess.run(
        ["sh", CHECK, "--config-only", file], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "config",
    [
        "[server]\nuse-ipv4=yes\n",
        "[server]\nallow-interfaces=eth0, lo\ndeny-interfaces=eth1,lo2\n",
        "#[server]\n; deny-interfaces=lo\n[publish]\ndisable-publishing=no\n",
        (AVAHI / "avahi-daemon.conf.example").read_text(),
    ],
)
def test_the_check_is_content_with_a_good_configuration(tmp_path, config):
    done = check_config(tmp_path, config)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("[server]\nallow-interfaces = eth0,eth1\n", "allow-interfaces"),
        ("[server]\ndeny-interfaces=eth0, lo\n", "deny-interfaces"),
        ("[server]\nuse-ipv4=no\n", "use-ipv4"),
        ("[server]\nenable-dbus=no\n", "enable-dbus"),
        ("[publish]\ndisable-publishing=yes\n", "disable-publishing"),
        ("[publish]\ndisable-user-service-publishing=yes\n", "disable-user-service-publishing"),
    ],
)
def test_the_check_names_what_stands_in_the_way(tmp_path, config, named):
    done = check_config(tmp_path, config)
    assert done.returncode == 1
    [failure] = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert named in failure
    assert f"{tmp_path}/avahi-daemon.conf" in failure


def test_the_check_names_a_missing_configuration(tmp_path):
    done = subprocess.run(
        ["sh", CHECK, "--config-only", tmp_path / "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be read" in done.stdout


def test_the_check_explains_its_use():
    done = subprocess.run(["sh", CHECK, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "usage: check-avahi" in done.stdout
    done = subprocess.run(["sh", CHECK, "--wrong"], capture_output=True, text=True, check=False)
    assert done.returncode == 2


# --- the real daemon


@pytest.mark.clients
def test_a_real_avahi_serves_the_examples_and_the_check_finds_them():
    with Desktop(only_lo=True, host_name="localhost") as desk:
        desk.start_bus()
        desk.start_avahi()
        config = desk.folder / "avahi.conf"

        empty = desk.run(["sh", str(CHECK), str(config)])
        assert empty.returncode == 1
        assert "FAIL: no USB printer is announced" in empty.stdout

        for example in (AVAHI / "services").iterdir():
            shutil.copy(example, desk.services)
        desk.run(["avahi-daemon", f"--file={config}", "--reload"])
        desk.wait(lambda: "60000" in _browse(desk, "_ipp._tcp"), "the examples announced")
        desk.popen(["python3", "-m", "http.server", "60000", "--bind", "127.0.0.1"])
        answers = ["curl", "-so", "/dev/null", "http://127.0.0.1:60000/"]
        desk.wait(lambda: desk.run(answers).returncode == 0, "a web server")

        found = desk.run(["sh", str(CHECK), str(config)])
        assert found.returncode == 0, found.stdout + found.stderr
        assert "ok: Example MFP 4711 (USB), port 60000, answers" in found.stdout

        browsed = _browse(desk, "_ipp._tcp")
        for key, value in SERVICES.records[0].txt:
            assert f'"{key}={value}"' in browsed
        assert ";localhost.local;127.0.0.1;60000;" in browsed


def _browse(desk: Desktop, service: str) -> str:
    return desk.run(["avahi-browse", "-rptk", service]).stdout
