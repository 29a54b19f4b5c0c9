"""The console lists the documents; `/big` matches its sha256."""

from __future__ import annotations

import hashlib
import io

from PIL import Image
from support.usb_client import UsbClient

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.services.console import pseudo_random, pseudo_random_sha256


def test_the_page_names_the_printer_and_its_documents(
    client: UsbClient, printer: VirtualPrinter
) -> None:
    client.ipp(0x02, document=b"%PDF")
    page = client.ask().body.decode()

    assert "<h1>Example VirtualJet 900</h1>" in page
    assert hashlib.sha256(b"%PDF").hexdigest() in page
    assert printer.documents[0].sha256 in page


def test_icons_have_the_size_in_their_name(client: UsbClient) -> None:
    for size in (128, 512):
        answer = client.ask(path=f"/icon-{size}.png")
        assert Image.open(io.BytesIO(answer.body)).size == (size, size)


def test_pseudo_random_bytes_are_reproducible_and_no_piece_repeats() -> None:
    data = b"".join(pseudo_random(3_000_000))
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]

    assert len(data) == 3_000_000
    assert hashlib.sha256(data).hexdigest() == pseudo_random_sha256(3_000_000)
    assert len(set(pieces)) == len(pieces)


def test_wrong_requests_get_an_explanation(client: UsbClient) -> None:
    assert client.ask(path="/big").status == 400
    assert client.ask(path="/big?bytes=-1").status == 400
    assert client.ask(path="/sink").status == 405
