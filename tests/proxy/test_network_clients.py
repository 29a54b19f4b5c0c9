"""Clients that come over TLS: what the printer sees of them, and they of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.http_client import Connection, Reply
from support.scripted_printer import SETTINGS, Answer, Served, answer, serve

from ippusbd.daemon.share import certificate
from ippusbd.proxy.access.network import BasicAuth, Network
from ippusbd.proxy.admission.listeners import bind
from ippusbd.proxy.admission.tls_listener import TlsListener
from ippusbd.proxy.server import SiteSettings
from ippusbd.users.passwords import Users, line
from ippusbd.wire import links

LARGE = bytes(range(256)) * 8192  # 2 MB
SECRET = "Basic " + b64encode(b"anna:geheim").decode()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return certificate.own(tmp_path_factory.mktemp("tls"), "desk", [])


@pytest.fixture
def guarded(tmp_path: Path) -> SiteSettings:
    users = tmp_path / "users"
    users.write_text(line("anna", "geheim"))
    return replace(SETTINGS, network=Network(gate=BasicAuth(Users(users))))


@asynccontextmanager
async def shared(
    tls: ssl.SSLContext, *answers: Answer, settings: SiteSettings = SETTINGS, **wiring: Any
) -> AsyncIterator[tuple[Served, int]]:
    """A site with a TLS listener, and that one's port."""
    async with serve(*answers, settings=settings, **wiring) as served:
        listening = bind("127.0.0.1", 0)

        async def greet(connection: socket.socket) -> None:
            await served.site.adopt(connection, tls)

        listener = TlsListener(listening, lambda address: True, greet)
        try:
            yield served, listening.getsockname()[1]
        finally:
            await listener.close()


async def ask(port: int, data: bytes, method: str = "GET") -> Reply:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        connection = Connection(reader, writer)
        sending = asyncio.create_task(connection.send(data))
        reply = await connection.reply(method)
        sending.cancel()
        await asyncio.wait([sending])
        return reply
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *fields, "", "")).encode()


async def test_our_password_is_not_forwarded_to_the_printer(
    tls: ssl.SSLContext, guarded: SiteSettings
):
    async with shared(tls, answer(b"yes"), settings=guarded) as (served, port):
        reply = await ask(port, get("/eSCL/x", f"Authorization: {SECRET}", "Accept: */*"))
        assert reply.body == b"yes"
        assert served.heard.names == ["Host", "Accept"]


async def test_the_printers_own_password_is_forwarded_where_we_require_none(tls: ssl.SSLContext):
    settings = replace(SETTINGS, network=Network(console=True))
    async with shared(tls, answer(), settings=settings) as (served, port):
        await ask(port, get("/admin", f"Authorization: {SECRET}"))
        assert served.heard.values("authorization") == [SECRET]


async def test_a_client_without_password_is_challenged_before_its_document_is_read(
    tls: ssl.SSLContext, guarded: SiteSettings
):
    fields = "Host: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n"
    async with shared(tls, settings=guarded) as (served, port):
        reply = await ask(port, f"POST /ipp/print HTTP/1.1\r\n{fields}".encode(), "POST")
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Basic realm=")
        assert reply.headers["connection"] == "close"
        assert served.printer.heard == []


async def test_on_loopback_no_password_is_required_and_every_path_is_open(
    tls: ssl.SSLContext, guarded: SiteSettings
):
    async with shared(tls, answer(b"console"), settings=guarded) as (served, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        await Connection(reader, writer).send(get("/"))
        assert (await Connection(reader, writer).reply()).body == b"console"
        writer.close()
        await writer.wait_closed()


async def test_documents_and_pictures_come_through_whole(tls: ssl.SSLContext):
    async with shared(tls, answer(LARGE, chunked=True)) as (served, port):
        head = f"POST /ipp/print HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(LARGE)}"
        reply = await ask(port, head.encode() + b"\r\n\r\n" + LARGE, "POST")
        assert reply.complete
        assert reply.body == LARGE
        assert served.heard.body == LARGE


@pytest.mark.parametrize(
    ("origin", "status"), [("https://127.0.0.1", 200), ("http://127.0.0.1", 403)]
)
async def test_only_pages_loaded_over_tls_are_of_our_own_site(
    tls: ssl.SSLContext, origin: str, status: int
):
    async with shared(tls, answer()) as (_, port):
        assert (await ask(port, get("/eSCL/x", f"Origin: {origin}"))).status == status


async def test_forms_are_of_the_origin_that_the_printer_knows(tls: ssl.SSLContext):
    page = "https://127.0.0.1"
    async with shared(tls, answer(), host="localhost") as (served, port):
        await ask(port, get("/eSCL/x", f"Origin: {page}\r\nReferer: {page}/form"))
        assert served.heard.values("origin") == ["http://localhost"]
        assert served.heard.values("referer") == ["http://localhost/form"]


async def test_links_of_the_scanner_lead_back_over_tls(tls: ssl.SSLContext):
    body = b"<s:AdminURI>http://localhost:80/admin</s:AdminURI>"
    xml = [("Content-Type", "text/xml")]
    async with serve_rewriting(tls, answer(body, headers=xml)) as port:
        reply = await ask(port, get("/eSCL/ScannerCapabilities"))
        assert reply.body == b"<s:AdminURI>https://127.0.0.1/admin</s:AdminURI>"


@asynccontextmanager
async def serve_rewriting(tls: ssl.SSLContext, said: Answer) -> AsyncIterator[int]:
    def rewriter(
        content_type: str, url: str, password: bool, _: int | None
    ) -> links.Rewriter | None:
        return links.rewriter(content_type, url, links.PrinterHosts(), password=password)

    async with shared(tls, said, rewriter=rewriter) as (_, port):
        yield port


async def test_a_client_without_tls_is_disconnected_and_the_next_one_served(tls: ssl.SSLContext):
    async with shared(tls, answer(b"yes")) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/eSCL/x"))
        with suppress(ConnectionError):
            assert not (await reader.read()).startswith(b"HTTP")
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        assert (await ask(port, get("/eSCL/x"))).body == b"yes"


async def test_a_client_that_vanishes_in_the_middle_of_a_picture_delays_nobody(tls: ssl.SSLContext):
    async with shared(tls, answer(LARGE), answer(b"yes")) as (served, port):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(get("/eSCL/ScanJobs/1/NextDocument"))
        await reader.readline()
        writer.transport.abort()
        assert (await ask(port, get("/eSCL/x"))).body == b"yes"
        with suppress(OSError):
            await writer.wait_closed()
        assert len(served.printer.heard) == 2


async def test_many_clients_are_served_one_after_the_other(tls: ssl.SSLContext):
    bodies = [b"%d" % number for number in range(30)]
    async with shared(tls, *(answer(body) for body in bodies)) as (served, port):
        replies = await asyncio.gather(*(ask(port, get(f"/eSCL/{n}")) for n in range(30)))
        heard = [int(request.target.rpartition("/")[2]) for request in served.printer.heard]
        # Whoever was heard as the nth got the nth answer.
        assert [replies[identity].body for identity in heard] == bodies
