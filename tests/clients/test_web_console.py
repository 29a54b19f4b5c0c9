"""The printer's own web console, through the proxy, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from support.browser import chromium
from support.daemon import run_daemon

from ippusbd.virtual.printer import VirtualPrinter

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


@pytest.mark.parametrize("width", [1280, 400])
async def test_a_browser_shows_the_printers_web_console(tmp_path: Path, width: int):
    printer = VirtualPrinter()
    async with run_daemon(printer, state_path=tmp_path / "state") as daemon:
        url = f"http://localhost:{daemon.port()}/"
        shot = tmp_path / "console.png"
        page = await chromium("--dump-dom", url, profile=tmp_path / "p1")
        await chromium(
            f"--screenshot={shot}", f"--window-size={width},800", url, profile=tmp_path / "p2"
        )
    printer.close()

    assert "<h1>Example VirtualJet 900</h1>" in page
    with Image.open(shot) as picture:
        assert picture.width == width
        colours = picture.convert("L").getcolors(256)
        assert colours is not None
        assert len(colours) > 8  # text, drawn with its edges smoothed, and not an empty page
