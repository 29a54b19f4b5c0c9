"""CUPS prints through the daemon: the printer gets what CUPS sent, with every kind of queue."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.office import QUEUE, Office, pdf, sha256

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """A PDF of two pages."""
    path = tmp_path / "document.pdf"
    path.write_bytes(pdf("The first page", "The second page", padding=300_000))
    return path


def has_both_pages(office: Office, path: Path) -> bool:
    """A PDF that poppler reads without complaint, with the text of `document`."""
    info = office.run("pdfinfo", str(path))
    text = office.run("pdftotext", str(path), "-").stdout
    return (
        "Pages:           2" in info.stdout
        and not info.stderr
        and "The first page" in text
        and "The second page" in text
    )


def test_lpinfo_lists_it(office: Office):
    uri, out = "dnssd://Example%20VirtualJet%20900%20(USB)._ipp._tcp.local/", ""
    for _ in range(3):  # CUPS' dnssd backend looks for two seconds only
        if uri not in out:
            out = office.desktop.run(["lpinfo", "-v"], timeout_s=60).stdout
    assert uri in out


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [1, 32_768, 5_000_000])
def test_a_raw_file_arrives_as_it_is(office: Office, tmp_path: Path, family: str, size: int):
    path = tmp_path / "file"
    path.write_bytes(bytes(i % 251 for i in range(251)) * (size // 251) + b"e" * (size % 251))
    uri = office.url(family, "/ipp/print", "ipp")
    office.run("lpadmin", "-p", f"raw-{family}", "-E", "-v", uri, "-m", "raw")

    document, sent = office.print_file(f"raw-{family}", path)

    assert document["sha256"] == sent == sha256(path)
    assert document["size"] == size


def test_an_everywhere_queue_prints_a_pdf(office: Office, document: Path):
    """The filters rewrite the file; what they made arrives as it is, and is the same document."""
    uri = office.url("IPv4", "/ipp/print", "ipp")
    office.add_everywhere("everywhere", uri)

    printed, sent = office.print_file("everywhere", document)

    assert printed["format"] == "application/pdf"
    assert printed["sha256"] == sent
    assert has_both_pages(office, office.stored(printed))


def test_a_queue_of_the_announced_name_prints_a_pdf(office: Office, document: Path):
    uri = "ipp://Example%20VirtualJet%20900%20%28USB%29._ipp._tcp.local/"
    office.add_everywhere("announced", uri)

    printed, sent = office.print_file("announced", document)

    assert printed["sha256"] == sent
    assert has_both_pages(office, office.stored(printed))


def test_a_temporary_queue_prints_a_pdf(office: Office, document: Path):
    office.wait(
        lambda: QUEUE in office.desktop.run(["lpstat", "-e"]).stdout, "lpstat -e names the printer"
    )

    printed, sent = office.print_file(QUEUE, document)

    assert printed["format"] == "application/pdf"
    assert printed["sha256"] == sent
    assert has_both_pages(office, office.stored(printed))


def test_options_reach_the_printer(office: Office, document: Path):
    """What a person picks in a dialogue; the virtual printer does not count pages, we do."""
    office.add_everywhere("choosy", office.url("IPv4", "/ipp/print", "ipp"))
    printed, sent = office.print_file("choosy", document, "-o", "page-ranges=2")

    text = office.run("pdftotext", str(office.stored(printed)), "-").stdout
    assert printed["sha256"] == sent
    filters = [line for line in office.log().splitlines() if "filter" in line or "argv[5]" in line]
    assert "The second page" in text
    assert "The first page" not in text, "\n".join(filters[-12:])


def test_ten_jobs_at_once_all_arrive(office: Office, tmp_path: Path):
    uri = office.url("IPv4", "/ipp/print", "ipp")
    for number in range(3):
        office.run("lpadmin", "-p", f"many{number}", "-E", "-v", uri, "-m", "raw")
    before = {one["sha256"] for one in office.documents()}
    paths = [tmp_path / f"{number}.bin" for number in range(10)]
    for number, path in enumerate(paths):
        path.write_bytes(f"{time.time_ns()} {number}\n".encode() * 5000)
        office.run("lp", "-d", f"many{number % 3}", str(path))

    wanted = {sha256(path) for path in paths}
    office.wait(
        lambda: wanted <= {one["sha256"] for one in office.documents()} - before, "all ten printed"
    )
    office.wait(lambda: not office.pending(), "no job left in CUPS")
    assert sorted(one["sha256"] for one in office.documents()[-10:]) == sorted(wanted)


def test_a_job_without_paper_can_be_cancelled_and_the_next_one_prints(
    office: Office, tmp_path: Path
):
    path = tmp_path / "long"
    path.write_bytes(bytes(8_000_000))
    uri = office.url("IPv4", "/ipp/print", "ipp")
    office.run("lpadmin", "-p", "paper", "-E", "-v", uri, "-m", "raw")
    arrived = len(office.ask_virtual("documents")["documents"])
    office.ask_virtual("paper-out", on=True)
    try:
        office.run("lp", "-d", "paper", str(path))
        office.wait(
            lambda: len(office.ask_virtual("documents")["documents"]) > arrived, "job begun"
        )
        office.run("cancel", "-a", "paper")
        office.wait(lambda: not office.pending(), "the job gone from CUPS")
    finally:
        office.ask_virtual("paper-out", on=False)

    document, sent = office.print_file("paper", path)

    assert document["sha256"] == sent == sha256(path)
    cut = office.ask_virtual("documents")["documents"][arrived]
    assert not cut["completed"], "a cut document was kept as a whole one"


def test_a_job_waits_until_the_printer_is_plugged_in(office: Office, tmp_path: Path):
    path = tmp_path / "patient"
    path.write_bytes(f"patient {time.time_ns()}\n".encode() * 1000)
    uri = office.url("IPv4", "/ipp/print", "ipp")
    office.run("lpadmin", "-p", "patient", "-E", "-v", uri, "-m", "raw")
    port = office.port
    office.ask_virtual("unplug")
    try:
        office.wait(lambda: office.printer["state"] == "away", "unplugged")
        office.run("lp", "-d", "patient", str(path))
        office.wait(lambda: "service-unavailable" in office.log(), "CUPS told to come again")
    finally:
        office.ask_virtual("plug")

    office.wait(
        lambda: sha256(path) in {one["sha256"] for one in office.documents()}, "printed by itself"
    )
    assert office.port == port
    assert "disabled" not in office.queue_state("patient")
