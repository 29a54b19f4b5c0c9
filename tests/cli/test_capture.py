"""`ippusbd capture` beside a running daemon: the file makes the same printer again."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.captured import captured

from ippusbd.virtual.model_file import DeviceAnswers, load
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Tag

PRINTER = captured("cups-ippeveprinter-2.4.2", "Get-Printer-Attributes.ipp")
SCANNER = captured("duplex-by-option", "ScannerCapabilities.xml")


def capture(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ippusbd", "capture", *options],
        capture_output=True,
        check=False,
        text=True,
    )


class Device(BaseHTTPRequestHandler):
    """An IP printer that can scan."""

    answers = DeviceAnswers(PRINTER, SCANNER)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.answers.ipp if self.path == "/ipp/print" else b"")

    def do_GET(self) -> None:
        self._answer(self.answers.xml if self.path == "/eSCL/ScannerCapabilities" else b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def device() -> Iterator[type[Device]]:
    """A class whose `answers` the running server sends; `url` is where."""

    class One(Device):
        url = ""

    with HTTPServer(("127.0.0.1", 0), One) as server:
        One.url = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield One
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["http://{}/", "ipp://{}/ipp/print"])
def test_an_ip_printer_is_captured_without_what_identifies_it(
    device: type[Device], tmp_path: Path, url: str
):
    path = tmp_path / "office.model"
    done = capture(url.format(device.url), "-o", str(path))

    assert done.returncode == 0, done.stderr
    assert "replaced  SerialNumber: EX0004711 -> XX0000000" in done.stdout
    assert f"wrote {path}: IPP attributes and scanner capabilities" in done.stdout
    found = load(path)
    assert len(found.xml) == len(SCANNER)
    assert b"EX0004711" not in found.xml
    theirs, ours = (ipp.decode(one)[0].group(Tag.PRINTER) for one in (PRINTER, found.ipp))
    assert [a.name for a in ours.attributes] == [a.name for a in theirs.attributes]
    location = ours.get("printer-location")
    assert location is not None
    assert location.texts == ("Xxxxxx xxxxx",)


def test_a_printer_without_a_scanner_makes_a_file_without_one(device: type[Device], tmp_path: Path):
    device.answers = DeviceAnswers(ipp=PRINTER)
    path = tmp_path / "office.model"
    assert capture(f"http://{device.url}/", "-o", str(path)).returncode == 0
    assert load(path).xml == b""


def test_a_file_that_exists_is_not_overwritten(device: type[Device], tmp_path: Path):
    path = tmp_path / "office.model"
    path.write_text("mine")
    done = capture(f"http://{device.url}/", "-o", str(path))
    assert (done.returncode, path.read_text()) == (1, "mine")
    assert "exists: name a new file" in done.stderr


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("ftp://127.0.0.1/", "must be like ipp://HOST/ipp/print"),
        ("http://127.0.0.1:99999/", "out of range"),
        ("http://127.0.0.1:1/", "refused"),
    ],
)
def test_a_bad_url_is_refused_and_nothing_is_written(tmp_path: Path, url: str, complaint: str):
    done = capture(url, "-o", str(tmp_path / "x"))
    assert done.returncode in (1, 2)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_what_is_neither_printer_nor_scanner_is_refused(device: type[Device], tmp_path: Path):
    device.answers = DeviceAnswers(ipp=b"<html>", xml=b"<html>")
    done = capture(f"http://{device.url}/", "-o", str(tmp_path / "x"))
    assert done.returncode == 1
    assert "neither as an IPP printer nor as an eSCL scanner" in done.stderr


def test_a_served_printer_is_captured_and_becomes_virtual_again(tmp_path: Path):
    first, second = tmp_path / "first.model", tmp_path / "second.model"
    first.write_bytes(DeviceAnswers(PRINTER, SCANNER).packed())
    config = tmp_path / "ippusbd.conf"
    config.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n'
        '[dnssd]\npublisher = "off"\n'
    )
    command = [sys.executable, "-m", "ippusbd", "run", "--config", str(config)]
    options = ["--virtual", "--model-file", str(first)]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as daemon:
        try:
            assert daemon.stdout is not None
            assert any("http://localhost:" in line for line in daemon.stdout)
            done = capture("VIRTUAL1", "-o", str(second), "--config", str(config))
            assert done.returncode == 0, done.stderr
            wrong = capture("Nobody", "-o", str(tmp_path / "x"), "--config", str(config))
            assert "no printer matches 'Nobody'" in wrong.stderr
        finally:
            daemon.terminate()
    theirs, ours = (ipp.decode(load(one).ipp)[0].group(Tag.PRINTER) for one in (first, second))
    assert {a.name for a in ours.attributes} == {a.name for a in theirs.attributes}
