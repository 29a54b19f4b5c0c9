"""The status page in a real browser: wide, narrow as a phone, light, dark."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from html import unescape
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from support.browser import chromium, shown
from support.daemon import run_daemon
from support.http_client import ask
from support.page_status import STATUS

from ippusbd.config import Config
from ippusbd.daemon.observe.endpoints import Endpoints
from ippusbd.daemon.observe.page_style import PALETTE
from ippusbd.daemon.observe.status import Status
from ippusbd.proxy.admission.listeners import bind
from ippusbd.virtual.printer import VirtualPrinter

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

HEIGHT = 1400
DARK = ("--force-dark-mode", "--enable-features=WebUIDarkMode")


async def served(stack: AsyncExitStack, status: Callable[[], Status]) -> str:
    """The page's URL, until the end of `stack`."""
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    await Endpoints(Config(page=True, page_port=port, listen_ipv6=""), status).start(stack)
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        yield await served(stack, lambda: STATUS)


def rgb(name: str, dark: bool) -> tuple[int, int, int]:
    colour = PALETTE[name][int(dark)]
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
async def test_it_fits_the_window_and_shows_its_colours(
    url: str, tmp_path: Path, width: int, dark: bool
):
    shot = tmp_path / "page.png"
    await chromium(
        *(DARK if dark else ()),
        f"--screenshot={shot}",
        f"--window-size={width},{HEIGHT}",
        url,
        profile=tmp_path / "profile",
    )
    with Image.open(shot) as picture:
        pixels = picture.convert("RGB")
    assert pixels.width == width
    seen = {colour for _, colour in pixels.getcolors(1 << 24) or ()}
    for name in ("ground", "card", "ink", "bad-ground", "soon-ground", "good-ground"):
        assert rgb(name, dark) in seen, name
    edges = {pixels.getpixel((x, y)) for x in (0, width - 1) for y in range(HEIGHT)}
    assert edges == {rgb("ground", dark)}, "something is wider than the window"


# axe-core's rules, in the page itself: it has no scripts, so its file gets them beside it.
AUDIT = """
<script src="axe.min.js"></script>
<script>
axe.run().then(found => {
  const ids = each => each.map(one => one.id);
  const where = one => [one.id, one.help, ...one.nodes.map(node => node.html)];
  document.body.textContent = JSON.stringify(
    {passes: ids(found.passes), violations: found.violations.map(where)});
});
</script>
</body>"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
async def test_axe_finds_no_barrier_for_keyboards_and_screen_readers(
    url: str, tmp_path: Path, width: int, dark: bool
):
    page = (await ask(urlsplit(url).port)).body.decode()
    shutil.copy(files("axe_core_python") / "axe.min.js", tmp_path)
    (tmp_path / "page.html").write_text(page.replace("</body>", AUDIT))
    size, where = f"--window-size={width},{HEIGHT}", (tmp_path / "page.html").as_uri()
    dom = await shown(where, *(DARK if dark else ()), size, profile=tmp_path / "profile")
    found = json.loads(unescape(re.search(r"<body[^>]*>(.*)</body>", dom, re.DOTALL)[1]))
    assert {"color-contrast", "document-title", "region", "list"} <= set(found["passes"])
    assert found["violations"] == []


async def test_device_strings_are_text_in_the_browser(url: str, tmp_path: Path):
    page = await chromium("--dump-dom", url, profile=tmp_path / "profile")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_from_the_page_a_click_leads_to_the_printers_own_console(tmp_path: Path):
    printer = VirtualPrinter()
    async with run_daemon(printer, state_path=tmp_path / "s") as daemon, AsyncExitStack() as stack:
        await daemon.until(lambda: daemon.row()["condition"])
        page = await chromium(
            "--dump-dom", await served(stack, daemon.status), profile=tmp_path / "profile"
        )
        link = f'<a href="http://localhost:{daemon.port()}/">'
        assert link in page
        assert "80 %" in page
        console = await chromium(
            "--dump-dom", f"http://localhost:{daemon.port()}/", profile=tmp_path / "p2"
        )
        assert "<h1>Example VirtualJet 900</h1>" in console
    await asyncio.to_thread(printer.close)
