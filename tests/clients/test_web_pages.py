"""Web pages against a printer, in a real browser: another site's, a rebound one, the printer's own.

Chromium is told that evil.example is this machine, as an attacker's DNS server would after the
page was loaded. What reached the printer is read from its cable.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.browser import leads_to, shown
from support.crowd import one_printer
from support.tap import Cable, tapped

from ippusbd.proxy.access.origin import refused_browser
from ippusbd.virtual.http.messages import HttpRequest, HttpResponse
from ippusbd.virtual.services.console import Console

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

EVIL = "--host-resolver-rules=MAP evil.example 127.0.0.1,MAP localhost.local 127.0.0.1"
ATTACK = """<!doctype html><title>begun</title>
<img src="PRINTER/big?bytes=1&attack=img">
<iframe src="PRINTER/big?bytes=1&attack=frame"></iframe>
<script src="PRINTER/big?bytes=1&attack=script"></script>
<iframe name="one"></iframe><iframe name="two"></iframe>
<form id="form" method="post" action="PRINTER/sink?attack=form" target="one">
<input name="x" value="y"></form>
<form id="text" method="post" action="PRINTER/ipp/print?attack=form" target="two"
 enctype="text/plain"><input name="x" value="y"></form>
<script>
document.getElementById("form").submit();
document.getElementById("text").submit();
const ask = (path, options) => fetch("PRINTER" + path + "attack=fetch", options);
Promise.allSettled([
  ask("/big?bytes=1&"),
  ask("/eSCL/ScannerCapabilities?", {mode: "no-cors"}),
  ask("/sink?", {method: "POST", mode: "no-cors", body: "x"}),
  ask("/ipp/print?", {method: "POST", body: "x", headers: {"Content-Type": "application/ipp"}}),
  ask("/eSCL/ScanJobs/1?", {method: "DELETE"}),
]).then(() => document.title = "over");
</script>"""
LINK = """<!doctype html><meta http-equiv="refresh" content="0; url=PRINTER/">"""
OWN_FORM = b"""<!doctype html><form id="f" method="post" action="/sink"><input name="x" value="y">
</form><script>document.getElementById("f").submit()</script>"""
OWN_FORM_SILENT = b"<!doctype html><meta name=referrer content=no-referrer>" + OWN_FORM


@asynccontextmanager
async def site(page: str) -> AsyncIterator[int]:
    """Another web site; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = page.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def attacks(cable: Cable) -> list[str]:
    return [one.target for one in cable.requests() if "attack" in one.target]


@pytest.mark.parametrize("host", ["evil.example", "localhost", "localhost.local"])
@pytest.mark.parametrize("name", ["localhost", "localhost.local", "127.0.0.1"])
async def test_a_page_of_another_site_or_port_reaches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, name: str
):
    with tapped(monkeypatch) as cable:
        async with one_printer(tmp_path / "state") as (_, daemon):
            printer = f"http://{name}:{daemon.port()}"
            async with site(ATTACK.replace("PRINTER", printer)) as port:
                page = await shown(f"http://{host}:{port}/", EVIL, profile=tmp_path / "profile")
    assert "<title>over</title>" in page, "the attack was tried to its end"
    assert attacks(cable) == []


async def test_without_the_check_the_attack_would_reach_the_printer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else the test above would prove nothing."""
    monkeypatch.setattr("ippusbd.proxy.responder.refused_site", lambda *_: None)
    with tapped(monkeypatch) as cable:
        async with one_printer(tmp_path / "state") as (_, daemon):
            printer = f"http://localhost:{daemon.port()}"
            async with site(ATTACK.replace("PRINTER", printer)) as port:
                await shown(f"http://evil.example:{port}/", EVIL, profile=tmp_path / "profile")
    assert {"/sink?attack=form", "/sink?attack=fetch"} <= set(attacks(cable))


async def test_a_page_that_uses_dns_rebinding_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with tapped(monkeypatch) as cable:
        async with one_printer(tmp_path / "state") as (_, daemon):
            url = f"http://evil.example:{daemon.port()}/big?bytes=1&attack=rebound"
            page = await shown(url, EVIL, profile=tmp_path / "profile")
    assert "the name 'evil.example' is refused" in page
    assert attacks(cable) == []


async def test_a_page_under_the_announced_name_reaches_nothing_after_rebinding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another host claimed localhost.local, served a page, and left the name to us."""

    async def index(_: Console, request: HttpRequest) -> HttpResponse:
        body = ATTACK.replace("PRINTER", "").encode()
        return HttpResponse(200, [("Content-Type", "text/html")], body)

    monkeypatch.setattr(Console, "index", index)
    checks = iter([lambda *_: None])  # the page itself stands for that of the other host
    monkeypatch.setattr(
        "ippusbd.proxy.responder.refused_browser", lambda *a: next(checks, refused_browser)(*a)
    )
    with tapped(monkeypatch) as cable:
        async with one_printer(tmp_path / "state") as (_, daemon):
            url = f"http://localhost.local:{daemon.port()}/"
            page = await shown(url, EVIL, profile=tmp_path / "profile")
    assert "<title>over</title>" in page, "the attack was tried to its end"
    assert attacks(cable) == []


@pytest.mark.parametrize("name", ["localhost", "localhost.local"])
async def test_a_link_on_another_site_leads_to_the_printers_page(tmp_path: Path, name: str):
    async with one_printer(tmp_path / "state") as (_, daemon):
        printer = f"http://{name}:{daemon.port()}"
        async with site(LINK.replace("PRINTER", printer)) as port:
            url = f"http://evil.example:{port}/"
            await leads_to("Example VirtualJet 900", url, EVIL, profile=tmp_path / "profile")


@pytest.mark.parametrize(
    ("host", "form"),
    [
        ("localhost", OWN_FORM),
        ("127.0.0.1", OWN_FORM),
        ("localhost.local", OWN_FORM),
        ("localhost", OWN_FORM_SILENT),
        ("127.0.0.1", OWN_FORM_SILENT),
        ("localhost.local", OWN_FORM_SILENT),
    ],
    ids=[
        *("localhost", "address", "announced"),
        *("localhost-no-referrer", "address-no-referrer", "announced-no-referrer"),
    ],
)
async def test_the_printers_own_forms_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: bytes, host: str
):
    async def index(_: Console, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, [("Content-Type", "text/html")], form)

    monkeypatch.setattr(Console, "index", index)
    rules = "--host-resolver-rules=MAP localhost.local 127.0.0.1"
    async with one_printer(tmp_path / "state") as (_, daemon):
        url = f"http://{host}:{daemon.port()}/"
        page = await shown(url, rules, profile=tmp_path / "profile")
    assert '"bytes": 3' in page, page
