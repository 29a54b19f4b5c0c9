"""What `ippusbd run` prints can be pasted into a shell, and works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.cups import IPPUSBD, PrintDesk, print_desk

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

CONFIG = """
[daemon]
state_dir = "/run/ippusbd/state"
runtime_dir = "/run/ippusbd"
[listen]
port_min = 62000
"""


@pytest.fixture(scope="module", params=["with Avahi", "without D-Bus and Avahi"])
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrintDesk]:
    sane = tmp_path_factory.mktemp("sane")
    (sane / "dll.conf").write_text("airscan\n")  # the others search for half a minute
    (sane / "airscan.conf").write_text("[options]\nws-discovery = off\n")
    with print_desk(binds={"/etc/sane.d": sane}) as desk:
        if request.param == "with Avahi":
            desk.desktop.start_bus()
            desk.desktop.start_avahi()
        yield desk


@pytest.fixture(scope="module")
def commands(desk: PrintDesk) -> Iterator[dict[str, str]]:
    """The lines of the first of two virtual printers, by their first word."""
    config, said = desk.folder / "run.conf", desk.folder / "said"
    config.write_text(CONFIG)
    with said.open("w") as out:
        daemon = desk.desktop.popen(
            [
                *(str(IPPUSBD), "run", "--config", str(config), "--virtual", "2"),
                *(
                    "--store",
                    str(desk.store),
                    "--virtual-control",
                    str(desk.folder / "virtual.sock"),
                ),
            ],
            stdout=out,
        )
    desk.wait(lambda: said.read_text().count("  print  ") == 2, "two printers")
    block = said.read_text().strip().split("\n\n")[0].splitlines()[1:]
    yield dict(line.strip().split(maxsplit=1) for line in block)
    desk.desktop.stop(daemon)


def paste(desk: PrintDesk, line: str) -> str:
    return desk.run("sh", "-c", f"cd {desk.folder} && {line}", timeout_s=90).stdout


def documents(desk: PrintDesk) -> list[dict[str, Any]]:
    """Those that arrived whole, at either printer."""
    both = [desk.ask_virtual("documents", printer=f"VIRTUAL{n}")["documents"] for n in (1, 2)]
    return [document for one in both for document in one if document["completed"]]


def test_curl_shows_the_printers_page(desk: PrintDesk, commands: dict[str, str]):
    assert "VirtualJet" in paste(desk, commands["look"])


def test_ipptool_lists_its_attributes(desk: PrintDesk, commands: dict[str, str]):
    assert "[PASS]" in paste(desk, commands["ask"])


def test_lp_prints_the_document_through_a_queue(desk: PrintDesk, commands: dict[str, str]):

    (desk.folder / "FILE.pdf").write_bytes(minimal_pdf())
    if "queue" in commands:
        paste(desk, commands["queue"])
    paste(desk, commands["print"])
    desk.wait(lambda: documents(desk), "the document at the printer")
    (document,) = documents(desk)
    # CUPS' filters may have written the PDF anew, so its bytes are not compared here.
    assert document["format"] == "application/pdf"


def test_scanimage_scans_a_page_from_this_printer(desk: PrintDesk, commands: dict[str, str]):
    if "add" in commands:
        paste(desk, commands["add"])
    paste(desk, commands["scan"])
    assert (desk.folder / "page.png").read_bytes().startswith(b"\x89PNG")


def minimal_pdf() -> bytes:
    """One empty A4 page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % o for o in offsets)
    return out + b"trailer << /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start
