"""Links in answers lead to us, and forms are of one origin."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any

import pytest
from support.http_client import Connection, ask, connected, head
from support.scripted_printer import Served, answer, serve

from ippusbd.errors import TransferFailed
from ippusbd.wire import ipp, links

IPP_TYPE = [("Content-Type", "application/ipp")]
XML_TYPE = [("Content-Type", "text/xml")]
SIZE = ipp.collection({"x-dimension": ipp.integer(21000), "y-dimension": ipp.integer(29700)})


def rewriting(content_type: str, url: str, password: bool, _: int | None) -> links.Rewriter | None:
    return links.rewriter(content_type, url, links.PrinterHosts(), repair=True, password=password)


def served(*answers: bytes, **wiring: Any) -> Any:
    return serve(*answers, rewriter=rewriting, **wiring)


def database(uri: str, sizes: int = 3000) -> bytes:
    named = (
        ipp.attribute("media-col-database", *[SIZE] * sizes),
        ipp.attribute("printer-more-info", ipp.uri(uri)),
    )
    return ipp.encode(ipp.Message(0, 1, (ipp.Group(ipp.Tag.PRINTER, named),)))


LONG = {
    name: (database("http://printer.local/a", sizes), database("http://localhost:1234/a", sizes))
    for name, sizes in (("small", 1), ("large", 6_000))
}


# --- answers


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", ["small", "large"])
async def test_an_answer_of_any_size_is_rewritten(version: str, chunked: bool, size: str):
    said, read = LONG[size]
    async with served(answer(said, headers=IPP_TYPE, chunked=chunked)) as site:
        async with connected(site.port) as client:
            named = [("Host", "localhost:1234")]
            await client.send(head("GET", "/ipp/print", named, version=version))
            reply = await client.reply(timeout_s=30)
        assert reply.complete
        assert reply.body == read


async def test_a_long_answer_is_repaired():
    end = b"\x37\x00\x00\x00\x00"
    good = database("urn:x")
    broken = end.join(good.rsplit(end, 1)[:1]) + good.rsplit(end, 1)[1]
    async with served(answer(broken, headers=IPP_TYPE)) as site:
        assert (await ask(site.port)).body == good


async def test_the_links_of_a_long_xml_document_are_rewritten():
    filling = b"<x>y</x>" * 20_000
    body = b"<a>" + filling + b"<s:AdminURI>../info</s:AdminURI></a>"
    async with served(answer(body, headers=XML_TYPE)) as site:
        fields = [("Host", "localhost:1234")]
        reply = await ask(site.port, "GET", "/eSCL/ScannerCapabilities", headers=fields)
        link = b"http://localhost:1234/info"
        assert reply.body == b"<a>" + filling + b"<s:AdminURI>" + link + b"</s:AdminURI></a>"


async def test_a_coded_answer_is_not_touched():
    coded = gzip.compress(b"<AdminURI>http://p/</AdminURI>")
    fields = [*XML_TYPE, ("Content-Encoding", "gzip")]
    async with served(answer(coded, headers=fields)) as site:
        assert (await ask(site.port)).body == coded


async def test_an_answer_that_is_cut_by_the_printer_does_not_look_complete():
    whole = answer(LONG["large"][0], headers=IPP_TYPE)
    async with served([whole[: len(whole) // 2], TransferFailed("cut")]) as site:
        assert not (await ask(site.port)).complete


# --- forms


def origin_of(site: Served) -> tuple[list[str], list[str]]:
    return site.heard.values("origin"), site.heard.values("referer")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_form_of_our_pages_is_of_the_origin_that_the_printer_knows(name: str):
    async with served(
        answer(status="303 See Other", headers=[("Location", "http://localhost/done")]),
        host="localhost",
    ) as site:
        page = f"http://{name}:{site.port}"
        fields = [("Host", page[7:]), ("Origin", page), ("Referer", f"{page}/form?x=1")]
        if name == "[::1]":
            fields[0] = ("Host", f"127.0.0.1:{site.port}")
            fields[1] = ("Origin", f"http://127.0.0.1:{site.port}")
        reply = await ask(site.port, "POST", "/form", b"a=b", fields)
        assert origin_of(site) == (["http://localhost"], ["http://localhost/form?x=1"])
        assert reply.headers["location"] == f"http://{fields[0][1]}/done"


async def test_a_page_elsewhere_stays_what_it_is():
    fields = [("Referer", "https://maker.example/?http://localhost")]
    async with served(answer()) as site:
        await ask(site.port, "GET", "/", b"", fields)
        assert origin_of(site) == ([], ["https://maker.example/?http://localhost"])


async def test_a_client_of_a_unix_socket_sends_forms_of_one_origin(tmp_path):
    path = str(tmp_path / "printer.sock")
    async with served(answer(), host="localhost") as site:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        await site.site.listen(listening)
        client = Connection(*await asyncio.open_unix_connection(path))
        fields = [("Host", "printer"), ("Origin", "http://printer"), ("Referer", "http://printer/")]
        await client.send(head("GET", "/form", fields))
        assert (await client.reply()).status == 200
        client.leave()
        assert origin_of(site) == (["http://localhost"], ["http://localhost/"])
