"""What a printer sees of a client's request, and a client of the printer's answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
from dataclasses import replace

import pytest
from support.http_client import (
    IPP_TYPE,
    Connection,
    ask,
    connected,
    head,
    ipp_request,
    message,
)
from support.scripted_printer import SETTINGS, answer, serve
from support.waiting import until

from ippusbd.errors import DeviceGone, TransferFailed
from ippusbd.kinds import Kind
from ippusbd.proxy.admission.listeners import bind
from ippusbd.usbio.pool import Lane
from ippusbd.wire import ipp, links

LARGE = bytes(range(256)) * 1024  # 256 KB: more than is kept back


# --- towards the printer


async def test_the_printer_sees_localhost_and_our_port_as_its_host():
    settings = replace(SETTINGS, hosts=frozenset({"printer.local"}))
    async with serve(answer(), settings=settings) as served:
        await ask(served.port, headers=[("Host", "printer.local:631")])
        assert served.heard.values("host") == [f"localhost:{served.port}"]
        assert served.heard.names[0] == "Host"


async def test_a_quirk_may_give_another_host():
    async with serve(answer(), host="localhost") as served:
        await ask(served.port)
        assert served.heard.values("host") == ["localhost"]


async def test_hop_by_hop_fields_are_not_forwarded():
    fields = [
        ("Connection", "close, X-Mine"),
        ("X-Mine", "1"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Trailer", "X-Sum"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Proxy-Connection", "keep-alive"),
        ("Accept", "*/*"),
    ]
    async with serve(answer()) as served:
        await ask(served.port, headers=fields)
        assert served.heard.names == ["Host", "Accept"]


async def test_an_upgrade_is_not_offered_to_the_printer():
    fields = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "")]
    async with serve(answer(b"plain")) as served:
        reply = await ask(served.port, headers=fields)
        assert (reply.status, reply.body) == (200, b"plain")
        assert served.heard.names == ["Host"]


async def test_names_reach_the_printer_in_title_case_and_order_with_duplicates():
    fields = [("accept", "a/b"), ("x-one", "1"), ("accept", "c/d"), ("USER-AGENT", "t")]
    async with serve(answer()) as served:
        await ask(served.port, headers=fields)
        assert served.heard.headers[1:] == [
            ("Accept", "a/b"), ("X-One", "1"), ("Accept", "c/d"), ("User-Agent", "t")
        ]  # fmt: skip


async def test_bytes_of_a_header_value_reach_the_printer_unchanged():
    async with serve(answer()) as served:
        await ask(served.port, headers=[("X-Name", "B\xe4r")])
        assert served.heard.values("x-name") == ["B\xe4r"]


@pytest.mark.parametrize("coding", ["utf-8", "latin-1"])
async def test_header_values_of_the_printer_reach_the_client_in_utf_8(coding: str):
    told = answer(headers=[("X-Name", "Müller".encode(coding).decode("latin-1"))])
    async with serve(told) as served:
        reply = await ask(served.port)
        assert dict(reply.raw_headers)[b"X-Name"] == "Müller".encode()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_a_quirk_may_demand_a_connection_header(connection: str):
    async with serve(answer(b"1"), answer(b"2"), connection=connection) as served:
        for _ in range(2):
            assert (await ask(served.port, headers=[("Connection", "x")])).status == 200
        assert [one.values("connection") for one in served.printer.heard] == [[connection]] * 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_small_body_is_sent_with_its_length(chunked: bool):
    async with serve(answer()) as served:
        await ask(served.port, "POST", "/", b"x" * 32_768, chunked=chunked)
        assert served.heard.values("content-length") == ["32768"]
        assert served.heard.values("transfer-encoding") == []
        assert served.heard.body == b"x" * 32_768


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_body_is_sent_in_chunks(chunked: bool):
    async with serve(answer()) as served:
        await ask(served.port, "POST", "/", LARGE, chunked=chunked)
        assert served.heard.values("content-length") == []
        assert served.heard.values("transfer-encoding") == ["chunked"]
        assert served.heard.body == LARGE


async def test_a_post_without_a_body_has_a_content_length_of_0():
    async with serve(answer()) as served:
        await ask(served.port, "POST")
        assert served.heard.values("content-length") == ["0"]


async def test_a_get_has_no_body_framing():
    async with serve(answer()) as served:
        await ask(served.port)
        assert not served.heard.values("content-length")
        assert not served.heard.values("transfer-encoding")


async def test_a_delete_passes():
    async with serve(answer(status="204 No Content", headers=())) as served:
        reply = await ask(served.port, "DELETE", "/eSCL/ScanJobs/1")
        assert (reply.status, served.heard.method) == (204, "DELETE")


@pytest.mark.parametrize("size", [100, 200_000])
async def test_a_compressed_body_is_not_touched(size: int):
    packed = gzip.compress(LARGE[:size] * 3, compresslevel=0)
    async with serve(answer()) as served:
        await ask(served.port, "POST", "/", packed, [("Content-Encoding", "gzip")])
        assert served.heard.body == packed
        assert served.heard.values("content-encoding") == ["gzip"]


async def test_a_query_and_escapes_reach_the_printer_as_written():
    async with serve(answer()) as served:
        await ask(served.port, target="/a%2fb/%7e?x=%20y&z=1+2")
        assert served.heard.target == "/a%2fb/%7e?x=%20y&z=1+2"


async def test_an_absolute_target_becomes_a_path():
    async with serve(answer()) as served:
        await ask(served.port, target="http://printer.example:631/ipp/print?a=1")
        assert served.heard.target == "/ipp/print?a=1"
        assert served.heard.values("host") == [f"localhost:{served.port}"]


@pytest.mark.parametrize(
    ("method", "target"), [("CONNECT", "example.org:80"), ("OPTIONS", "*"), ("GET", "ftp://x/y")]
)
async def test_requests_that_are_not_for_a_printer_are_refused(method: str, target: str):
    async with serve() as served, connected(served.port) as connection:
        await connection.send(head(method, target))
        assert (await connection.reply(method)).status == 400
        assert served.printer.heard == []


async def test_header_fields_without_end_are_refused():
    async with serve() as served, connected(served.port) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000)
        assert (await connection.reply()).status == 400
        assert served.printer.heard == []


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 5\r\nHost: y\r\n",
    ],
)
async def test_a_request_that_may_hide_another_is_refused(framing: bytes):
    async with serve(answer()) as served, connected(served.port) as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n0\r\n\r\nhidden")
        assert (await connection.reply()).status == 400
        assert served.printer.heard == []


async def test_a_client_that_expects_100_continue_gets_it():
    fields = [("Expect", "100-continue"), ("Content-Length", str(len(LARGE)))]
    async with serve(answer(b"done")) as served, connected(served.port) as connection:
        await connection.send(head("POST", "/ipp/print", fields))
        assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await connection.send(LARGE)
        assert (await connection.reply("POST")).body == b"done"
        assert served.heard.values("expect") == []
        assert served.heard.body == LARGE


async def test_pipelined_requests_are_answered_in_their_order():
    both = message("GET", "/1") + message("GET", "/2")
    async with (
        serve(answer(b"one"), answer(b"two"), interfaces=2) as served,
        connected(served.port) as connection,
    ):
        await connection.send(both)
        data = b""
        while not data.endswith(b"two"):
            data += await connection.reader.read(65536)
        assert data.index(b"one") < data.index(b"two")
        assert [one.target for one in served.printer.heard] == ["/1", "/2"]


# --- towards the client


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 10, 65_536, 65_537, len(LARGE)])
async def test_an_answer_arrives_whole_in_either_framing(size: int, chunked: bool):
    async with serve(answer(LARGE[:size], chunked=chunked)) as served:
        reply = await ask(served.port)
        assert (reply.status, reply.complete, reply.body) == (200, True, LARGE[:size])


async def test_a_large_answer_keeps_its_framing():
    async with serve(answer(LARGE), answer(LARGE, chunked=True)) as served:
        with_length = await ask(served.port)
        in_chunks = await ask(served.port)
        assert with_length.headers["content-length"] == str(len(LARGE))
        assert in_chunks.headers["transfer-encoding"] == "chunked"


async def test_an_answer_without_framing_ends_with_silence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ippusbd.exchange.exchange.EOF_QUIET_S", 0.05)
    async with serve(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<body/>") as served:
        reply = await ask(served.port)
        assert (reply.body, reply.complete) == (b"<body/>", True)


async def test_status_reason_and_fields_of_the_answer_are_the_printers():
    fields = [("Content-Type", "a/b"), ("Set-Cookie", "x=1"), ("Set-Cookie", "y=2")]
    async with serve(answer(b".", status="207 Quite Fine", headers=fields)) as served:
        reply = await ask(served.port)
        assert reply.status == 207
        cookies = [v for n, v in reply.raw_headers if n.lower() == b"set-cookie"]
        assert cookies == [b"x=1", b"y=2"]
        assert reply.headers["content-type"] == "a/b"


@pytest.mark.parametrize("size", [6, len(LARGE)])
async def test_no_content_type_and_no_server_field_are_invented(size: int):
    async with serve(answer(LARGE[:size], headers=())) as served:
        reply = await ask(served.port)
        assert set(reply.headers) == {"content-length", "date"}


async def test_the_printers_own_server_field_is_kept():
    async with serve(answer(headers=[("Server", "HP HTTP Server")])) as served:
        assert (await ask(served.port)).headers["server"] == "HP HTTP Server"


async def test_the_printers_hop_by_hop_fields_do_not_reach_the_client():
    fields = [("Connection", "close, X-Hop"), ("Keep-Alive", "timeout=1"), ("X-Hop", "1")]
    async with (
        serve(answer(b"1", headers=fields), answer(b"2")) as served,
        connected(served.port) as connection,
    ):
        await connection.send(message("GET", "/"))
        first = await connection.reply()
        assert "x-hop" not in first.headers
        assert first.headers.get("connection") != "close"
        await connection.send(message("GET", "/"))
        assert (await connection.reply()).body == b"2"


async def test_a_compressed_answer_is_not_touched():
    packed = gzip.compress(b"page" * 1000)
    async with serve(answer(packed, headers=[("Content-Encoding", "gzip")])) as served:
        reply = await ask(served.port, headers=[("Accept-Encoding", "gzip")])
        assert (reply.body, reply.headers["content-encoding"]) == (packed, "gzip")
        assert served.heard.values("accept-encoding") == ["gzip"]


async def test_a_head_has_a_length_and_no_body():
    told = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\n"
    async with serve(told, answer(b"next")) as served, connected(served.port) as connection:
        await connection.send(message("HEAD", "/"))
        reply = await connection.reply("HEAD")
        assert (reply.body, reply.headers["content-length"]) == (b"", "5000")
        await connection.send(message("GET", "/"))
        assert (await connection.reply()).body == b"next"


async def test_a_head_of_a_chunked_page_has_no_body():
    told = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serve(told, answer(b"next")) as served, connected(served.port) as connection:
        await connection.send(message("HEAD", "/"))
        assert (await connection.reply("HEAD")).body == b""
        await connection.send(message("GET", "/"))
        assert (await connection.reply()).body == b"next"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_that_never_have_a_body_have_none(status: str):
    told = f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode()
    async with serve(told, answer(b"next")) as served, connected(served.port) as connection:
        await connection.send(message("GET", "/"))
        reply = await connection.reply()
        assert (str(reply.status), reply.body) == (status[:3], b"")
        await connection.send(message("GET", "/"))
        assert (await connection.reply()).body == b"next"


async def test_interim_answers_are_not_passed_on():
    told = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + answer(b"final")
    async with serve(told) as served:
        assert (await ask(served.port)).body == b"final"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [10, len(LARGE)])
async def test_a_client_of_http_1_0_gets_a_body_without_chunks(size: int, chunked: bool):
    async with (
        serve(answer(LARGE[:size], chunked=chunked)) as served,
        connected(served.port) as connection,
    ):
        await connection.send(b"GET / HTTP/1.0\r\n\r\n")
        data = await connection.reader.read(-1)
        start, _, body = data.partition(b"\r\n\r\n")
        assert b"chunked" not in start.lower()
        assert body == LARGE[:size]


async def test_a_client_of_http_1_0_may_send_a_body():
    async with serve(answer(b"ok")) as served, connected(served.port) as connection:
        fields = (("Content-Length", str(len(LARGE))),)
        await connection.send(head("POST", "/", fields, version="1.0") + LARGE)
        assert (await connection.reader.read(-1)).endswith(b"ok")
        assert served.heard.body == LARGE


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ("http://192.0.2.53:8080/eSCL/ScanJobs/7", "http://{us}/eSCL/ScanJobs/7"),
        ("https://printer.local/x?y=1", "http://{us}/x?y=1"),
        ("//printer/x", "http://{us}/x"),
        ("/eSCL/ScanJobs/7", "/eSCL/ScanJobs/7"),
        ("ScanJobs/7", "ScanJobs/7"),
    ],
)
async def test_links_lead_back_to_where_the_client_came_from(name: str, told: str, seen: str):
    async with serve(answer(status="201 Created", headers=[(name, told)])) as served:
        us = f"127.0.0.1:{served.port}"
        reply = await ask(served.port, "POST", "/eSCL/ScanJobs", headers=[("Host", us)])
        assert reply.headers[name.lower()] == seen.format(us=us)


# --- when the printer is not there, busy, or fails


async def test_while_the_printer_is_away_clients_get_503_with_retry_after():
    async with serve() as served:
        served.site.disconnect(Kind.UNPLUGGED.of())
        reply = await ask(served.port)
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
        assert b"it is not plugged in" in reply.body


async def test_no_100_continue_is_sent_for_a_body_that_no_printer_will_get():
    fields = [("Expect", "100-continue"), ("Content-Length", "1000000")]
    async with serve() as served, connected(served.port) as connection:
        served.site.disconnect(Kind.UNPLUGGED.of())
        await connection.send(head("POST", "/", fields))
        assert (await connection.reader.readline()).startswith(b"HTTP/1.1 503 ")


async def test_when_all_interfaces_stay_busy_a_client_gets_503_with_retry_after():
    async with serve(settings=replace(SETTINGS, lease_wait_s=0.05)) as served:
        async with served.pool.lease(wait_s=1):
            reply = await ask(served.port)
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
        assert served.printer.heard == []


@pytest.mark.parametrize(
    ("failure", "status"),
    [(DeviceGone("unplugged"), 503), (TransferFailed("EIO"), 503)],
)
async def test_a_failure_before_the_answer_becomes_an_error_response(
    failure: Exception, status: int
):
    async with serve([b"HTTP/1.1 200 O", failure]) as served:
        reply = await ask(served.port)
        assert (reply.status, reply.complete) == (status, True)
        assert reply.headers["retry-after"] == "7"


async def test_an_invalid_response_of_the_printer_is_a_bad_gateway():
    async with serve(b"NONSENSE\r\n" * 100_000) as served:
        assert (await ask(served.port)).status == 502


async def test_a_small_answer_that_is_cut_never_begins():
    cut = answer(b"x" * 1000)[:-1]
    async with serve([cut, TransferFailed("EIO")]) as served:
        assert (await ask(served.port)).status == 503


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_answer_that_is_cut_does_not_look_complete(chunked: bool):
    cut = answer(LARGE, chunked=chunked)[:-5]
    async with serve([cut, TransferFailed("EIO")]) as served, connected(served.port) as connection:
        await connection.send(message("GET", "/"))
        reply = await connection.reply()
        assert reply.status == 200
        assert not reply.complete
        assert len(reply.body) <= len(LARGE)
        assert await connection.reader.read() == b""


async def test_a_large_answer_that_is_cut_is_closed_for_http_1_0_too():
    cut = answer(LARGE)[:-5]
    async with serve([cut, TransferFailed("EIO")]) as served, connected(served.port) as connection:
        await connection.send(b"GET / HTTP/1.0\r\n\r\n")
        data = await connection.reader.read(-1)
        assert f"Content-Length: {len(LARGE)}".encode() in data
        assert len(data.partition(b"\r\n\r\n")[2]) < len(LARGE)


async def test_an_early_refusal_reaches_the_client_before_its_body_was_taken():
    """The printer answers 401 to the head and takes no more of the body."""
    async with serve() as served, connected(served.port) as connection:
        channel = served.printer.channels[0]
        refused = answer(b"no", status="401 Unauthorized")

        def hear(channel, data):
            if data.startswith(b"POST"):
                channel.say(refused)
                channel.stop_taking()

        channel.hear = hear
        await connection.send(head("POST", "/", [("Content-Length", "10000000")]) + LARGE)
        reply = await connection.reply("POST")
        assert (reply.status, reply.body) == (401, b"no")
        channel.take_again()
        connection.leave()
        await until(lambda: served.pool.idle)
        assert bytes(channel.sent).endswith(b"\r\n0\r\n\r\n"), "its framing was left open"
        assert served.pool.recovered == 0


async def test_an_ipp_error_reaches_the_client_although_the_printer_takes_no_more():
    """HTTP 200 with an IPP error, and the rest of the document is never read."""
    denied = ipp.encode(ipp.Message(ipp.Status.DOCUMENT_FORMAT_NOT_SUPPORTED, 1))
    async with serve() as served, connected(served.port) as connection:
        channel = served.printer.channels[0]

        def hear(channel, data):
            if data.startswith(b"POST"):
                channel.say(answer(denied, headers=IPP_TYPE))
                channel.stop_taking()

        channel.hear = hear
        start = ipp_request(ipp.Operation.PRINT_JOB)
        fields = [*IPP_TYPE, ("Content-Length", "10000000")]
        await connection.send(head("POST", "/ipp/print", fields) + start + LARGE)
        reply = await connection.reply("POST")
        assert (reply.status, reply.body) == (200, denied)
        channel.take_again()
        connection.leave()
        await until(lambda: served.pool.idle)
        assert served.pool.recovered == 0
        assert b"Cancel" not in channel.sent


@pytest.mark.parametrize("early", ["all of it", "its head", "half of it"])
async def test_an_early_success_waits_for_the_end_of_the_document(early: str):
    """CUPS ends a document at the first byte of a success: it would be printed in half."""
    done = ipp.encode(ipp.Message(ipp.Status.OK, 1))
    said = answer(done, headers=IPP_TYPE)
    size = {"all of it": len(said), "its head": len(said) - len(done), "half of it": len(said) - 4}
    at = size[early]
    settings = replace(SETTINGS, silence_s=0.02)
    async with (
        serve(settings=settings) as served,
        connected(served.port) as connection,
    ):
        channel = served.printer.channels[0]
        reads = channel.hear
        begun = asyncio.Event()

        def hear(channel, data):
            reads(channel, data)
            if data.startswith(b"POST"):
                channel.say(said[:at])
                begun.set()

        channel.hear = hear
        start = ipp_request(ipp.Operation.PRINT_JOB)
        fields = [*IPP_TYPE, ("Content-Length", str(len(start) + 2 * len(LARGE)))]
        await connection.send(head("POST", "/ipp/print", fields) + start + LARGE)
        await begun.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10 * settings.silence_s):
                await connection.reader.read(1)
        await connection.send(LARGE)
        await until(lambda: served.printer.heard)
        channel.say(said[at:])
        reply = await connection.reply("POST")
        assert (reply.status, reply.body) == (200, done)
        assert served.heard.body == start + 2 * LARGE


async def test_the_head_of_an_early_success_is_handed_on_after_the_document():
    """Its body comes when the page is out: the client sees meanwhile that it was taken."""
    settings = replace(SETTINGS, silence_s=0.02)
    begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: 8\r\n\r\n"
    async with serve(begun, settings=settings) as served, connected(served.port) as connection:
        start = ipp_request(ipp.Operation.PRINT_JOB)
        fields = [*IPP_TYPE, ("Content-Length", str(len(start) + len(LARGE)))]
        await connection.send(head("POST", "/ipp/print", fields) + start + LARGE)
        assert (await connection.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_created_whose_body_never_comes_reaches_the_client():
    """What matters is in its head; the pool waits for the rest, and deletes no scan job."""
    created = (
        b"HTTP/1.1 201 Created\r\nLocation: http://localhost/eSCL/ScanJobs/1\r\n"
        b"Content-Length: 100\r\n\r\n"
    )
    settings = replace(SETTINGS, silence_s=0.05)
    async with serve(created, settings=settings) as served:
        reply = await ask(served.port, "POST", "/eSCL/ScanJobs", b"<scan/>")
        assert (reply.status, reply.body, reply.complete) == (201, b"", True)
        assert reply.headers["location"].endswith("/eSCL/ScanJobs/1")
        assert served.pool.status().draining == 1
        served.printer.channels[0].say(bytes(100))
        await until(lambda: served.pool.idle)
        assert [heard.method for heard in served.printer.heard] == ["POST"]
        assert served.pool.recovered == 0


@pytest.mark.parametrize("kind", ["text/plain", "text/xml"])
async def test_a_head_reaches_the_client_before_its_late_body(kind: str):
    """A body is rewritten although its head went out before."""

    def rewriter(
        content_type: str, url: str, password: bool, _: int | None
    ) -> links.Rewriter | None:
        return links.rewriter(content_type, url, links.PrinterHosts())

    start = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 50\r\n\r\n".encode()
    link = b"<s:AdminURI>http://localhost:80/admin</s:AdminURI>"
    settings = replace(SETTINGS, silence_s=0.05)
    async with (
        serve(start, settings=settings, rewriter=rewriter) as served,
        connected(served.port) as client,
    ):
        await client.send(message("GET", "/eSCL/ScannerCapabilities"))
        async with asyncio.timeout(5):
            await client.reader.readuntil(b"\r\n\r\n")
        served.printer.channels[0].say(link)
        body = await client.reader.readuntil(b"</s:AdminURI>")
        assert (b"127.0.0.1/admin" in body) == (kind == "text/xml")
        await until(lambda: served.pool.idle)


async def test_a_printer_that_fails_after_its_head_was_sent_cuts_the_connection():
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 50\r\n\r\n<half"
    settings = replace(SETTINGS, silence_s=0.05)
    async with serve(start, settings=settings) as served, connected(served.port) as client:
        await client.send(message("GET", "/eSCL/ScannerCapabilities"))
        await client.reader.readuntil(b"\r\n\r\n")
        served.printer.channels[0].fail(TransferFailed("unplugged"))
        assert b"0\r\n\r\n" not in await client.reader.read()


# --- clients that leave or stall


async def test_a_job_that_was_answered_before_its_upload_was_cut_is_cancelled():
    job = ipp.Group(ipp.Tag.JOB, (ipp.attribute("job-id", ipp.integer(77)),))
    took_it = answer(ipp.encode(ipp.Message(0, 1, (job,))))
    async with serve() as served, connected(served.port) as connection:
        channel = served.printer.channels[0]
        read = channel.hear

        def hear(channel, data):
            if data.startswith(b"POST") and not served.printer.heard:
                channel.say(took_it)
            read(channel, data)

        channel.hear = hear
        fields = (*IPP_TYPE, ("Content-Length", "10000000"))
        start = ipp_request(ipp.Operation.PRINT_JOB)
        await connection.send(head("POST", "/ipp/print", fields) + start + LARGE)
        await until(lambda: served.site.traffic.bytes_in)
        served.printer.answers += [b"", answer(ipp.encode(ipp.Message(0, 1)))]
        connection.kill()
        await until(lambda: len(served.printer.heard) == 2 and served.pool.idle)
        cut, cancel = served.printer.heard
        assert cut.body == start + LARGE
        message_, _ = ipp.decode(cancel.body)
        assert message_.code == ipp.Operation.CANCEL_JOB
        assert message_.first_integer(ipp.Tag.OPERATION, "job-id") == 77
        assert served.pool.recovered == 0


async def test_the_answer_of_a_client_that_left_is_drained_by_the_pool():
    async with serve() as served:
        async with connected(served.port) as connection:
            await connection.send(message("GET", "/1"))
            await until(lambda: served.printer.heard)
            connection.kill()
        served.printer.answers.append(answer(b"second"))
        second = asyncio.create_task(ask(served.port, target="/2"))
        await asyncio.sleep(0.02)
        served.printer.channels[0].say(answer(b"first"))
        assert (await second).body == b"second"
        assert (served.pool.finished, served.pool.recovered) == (1, 0)


async def test_a_client_that_reads_nothing_is_disconnected_when_others_wait():
    endless = answer(bytes(30_000_000))
    settings = replace(SETTINGS, client_stall_s=0.1)
    async with (
        serve(endless, answer(b"next"), settings=settings) as served,
        connected(served.port) as stalled,
    ):
        _read_nothing(stalled)
        await stalled.send(message("GET", "/big"))
        await until(lambda: served.printer.heard)
        reply = await ask(served.port, target="/next")
        assert reply.body == b"next"


async def test_a_client_that_reads_nothing_is_kept_while_nobody_waits():
    endless = answer(bytes(30_000_000))
    settings = replace(SETTINGS, client_stall_s=0.02)
    async with serve(endless, settings=settings) as served, connected(served.port) as stalled:
        _read_nothing(stalled)
        await stalled.send(message("GET", "/big"))
        await asyncio.sleep(0.3)
        reply = await stalled.reply()
        assert (reply.complete, len(reply.body)) == (True, 30_000_000)


async def test_a_path_whose_answer_was_large_leaves_one_interface_to_others_the_next_time():
    big = answer(bytes(100_000))
    async with serve(big, answer(b"status"), big, interfaces=2) as served:
        await ask(served.port, target="/firmware?1")
        async with served.pool.lease(wait_s=1, lane=Lane.LONG):  # a document
            second = asyncio.create_task(ask(served.port, target="/firmware?2"))
            await until(lambda: served.pool.status().waiting)
            assert (await ask(served.port, target="/status")).body == b"status"
        assert len((await second).body) == 100_000


# --- where it listens


async def test_ipv6_and_unix_sockets_are_served_too(tmp_path):
    path = tmp_path / "printer.sock"
    async with serve(answer(b"six"), answer(b"unix")) as served:
        bound = bind("::1", 0)
        six = bound.getsockname()[1]
        await served.site.listen(bound)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        await served.site.listen(listening)
        assert (await ask(six, host="::1")).body == b"six"
        reader, writer = await asyncio.open_unix_connection(path)
        connection = Connection(reader, writer)
        await connection.send(message("GET", "/"))
        assert (await connection.reply()).body == b"unix"
        writer.close()
        await writer.wait_closed()


async def test_a_client_accepted_elsewhere_is_served():
    ours, theirs = socket.socketpair()
    async with serve(answer(b"adopted")) as served:
        await served.site.adopt(theirs)
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        connection = Connection(reader, writer)
        await connection.send(message("GET", "/"))
        assert (await connection.reply()).body == b"adopted"
        writer.close()
        await writer.wait_closed()


async def test_a_site_that_closes_lets_an_exchange_finish():
    async with serve() as served, connected(served.port) as connection:
        await connection.send(message("GET", "/"))
        await until(lambda: served.printer.heard)
        closing = asyncio.create_task(served.site.close())
        await asyncio.sleep(0.02)
        served.printer.channels[0].say(answer(b"finished"))
        assert (await connection.reply()).body == b"finished"
        await closing


async def test_requests_and_bytes_are_counted():
    async with serve(answer(b"x" * 100), answer(b"y" * 200)) as served:
        await ask(served.port)
        await ask(served.port, "POST", "/", b"z" * 50)
        traffic = served.site.traffic
        assert traffic.requests == 2
        assert traffic.bytes_in > 300
        assert traffic.bytes_out > 50


def _read_nothing(connection: Connection) -> None:
    """Until it is resumed: kernel and client take some megabytes, then no more."""
    connection.reader._transport.pause_reading()  # type: ignore[attr-defined]
    connection.reader._paused = True  # type: ignore[attr-defined]  # the next read resumes it


# --- web pages that have no business here


async def test_a_request_with_a_foreign_host_is_refused_and_not_forwarded():
    async with serve(answer()) as served:
        reply = await ask(served.port, headers=[("Host", f"evil.example:{served.port}")])
        assert reply.status == 421
        assert b"evil.example" in reply.body
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert served.printer.heard == []


async def test_a_form_of_another_site_is_refused_and_one_of_our_own_is_not():
    foreign = [("Host", "localhost:1"), ("Origin", "http://evil.example")]
    async with serve(answer()) as served:
        assert (await ask(served.port, "POST", "/", b"x=1", foreign)).status == 403
        assert served.printer.heard == []
        own = [("Host", "localhost:1"), ("Origin", "http://localhost:1")]
        assert (await ask(served.port, "POST", "/", b"x=1", own)).status == 200


async def test_a_client_of_a_unix_socket_may_name_any_host():
    """CUPS names the socket's path; no web page can open one."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    async with serve(answer(b"unix")) as served:
        await served.site.adopt(theirs)
        connection = Connection(*await asyncio.open_connection(sock=ours))
        await connection.send(message("GET", "/", headers=[("Host", "%2Frun%2Fippusb%2Fx")]))
        assert (await connection.reply()).body == b"unix"
        connection.leave()
        await connection.writer.wait_closed()


@pytest.mark.parametrize("size", [33_000, 40_000, 60_000])
async def test_a_streamed_body_that_came_all_at_once_is_forwarded(size: int):
    async with serve(answer()) as served:
        reply = await ask(served.port, "POST", "/ipp/print", bytes(size))
        assert reply.status == 200
        assert served.heard.body == bytes(size)
