"""Requests that two parsers may split differently.

Each is either refused, and then the printer gets nothing of it, or forwarded, and then it is one
request with one framing on the cable; h11 reads the cable. The connection after a refusal is
closed, so nothing that was behind it is taken for a request.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from support.crowd import one_printer
from support.daemon import run_daemon
from support.http_client import IPP_TYPE, Connection, connected, head, ipp_request, message
from support.tap import Cable, tapped

from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.wire.ipp import Operation

HOST = b"Host: localhost\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED = ("Transfer-Encoding", "chunked")
HI = b"2\r\nhi\r\n0\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(fields: bytes, body: bytes = b"hi", *, line: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /sink " + line + b"\r\n" + HOST + fields + b"\r\n" + body


REFUSED = {
    "length and chunked": post(b"Content-Length: 6\r\n" + TE, b"0\r\n\r\n" + HIDDEN),
    "chunked and length": post(TE + b"Content-Length: 6\r\n", b"0\r\n\r\n" + HIDDEN),
    "two equal lengths": post(b"Content-Length: 2\r\nContent-Length: 2\r\n"),
    "two lengths": post(b"Content-Length: 2\r\nContent-Length: 44\r\n", b"hi" + HIDDEN),
    "list of lengths": post(b"Content-Length: 2, 2\r\n"),
    "length +2": post(b"Content-Length: +2\r\n"),
    "length -2": post(b"Content-Length: -2\r\n"),
    "length 0x2": post(b"Content-Length: 0x2\r\n"),
    "length 1_0": post(b"Content-Length: 1_0\r\n"),
    "empty length": post(b"Content-Length: \r\n"),
    "endless length": post(b"Content-Length: 99999999999999999999999\r\n"),
    "vertical tab in length": post(b"Content-Length: \x0b2\r\n"),
    "blank before the colon of length": post(b"Content-Length : 2\r\n"),
    "blank before the colon of coding": post(b"Transfer-Encoding : chunked\r\n", HI),
    "underscore length": post(b"Content_Length: 44\r\nContent-Length: 2\r\n", b"hi" + HIDDEN),
    "folded field": post(b"X: a\r\n b\r\nContent-Length: 2\r\n"),
    "folded coding": post(b"Transfer-Encoding:\r\n chunked\r\n", HI),
    "length in a fold": post(
        b"X: a\r\n Content-Length: 44\r\nContent-Length: 2\r\n", b"hi" + HIDDEN
    ),
    "bare CR": post(b"X: a\rContent-Length: 44\r\nContent-Length: 2\r\n", b"hi" + HIDDEN),
    "bare LF": post(b"X: a\nContent-Length: 2\r\n"),
    "nothing but LF": b"POST /sink HTTP/1.1\nHost: localhost\nContent-Length: 2\n\nhi",
    "LF ends the head": b"POST /sink HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\nhi",
    "NUL": post(b"X: a\0b\r\nContent-Length: 2\r\n"),
    "two hosts": post(b"Host: localhost:1\r\nContent-Length: 2\r\n"),
    "the same host twice": post(HOST + b"Content-Length: 2\r\n"),
    "no host": b"POST /sink HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
    "coding xchunked": post(b"Transfer-Encoding: xchunked\r\n", HI),
    "coding chunked, x": post(b"Transfer-Encoding: chunked, x\r\n", HI),
    "coding gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", HI),
    "coding twice": post(TE + TE, HI),
    "coding identity": post(b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n"),
    "coding in quotes": post(b'Transfer-Encoding: "chunked"\r\n', HI),
    "coding behind a vertical tab": post(b"Transfer-Encoding:\x0bchunked\r\n", HI),
    "coding with a Kelvin sign": post("Transfer-Encoding: chun\u212aed\r\n".encode(), HI),
    "extension with a line end": post(TE, b'2;a="b\r\nc"\r\nhi\r\n0\r\n\r\n'),
    "extension with a bare LF": post(TE, b"2;\nxx\r\n2c\r\n0\r\n\r\n" + HIDDEN),
    "chunks with bare LF": post(TE, b"2\nhi\n0\n\n"),
    "chunk shorter than it says": post(TE, b"3\r\nhi\r\n0\r\n\r\n"),
    "chunk longer than it says": post(TE, b"2\r\nhi!\r\n0\r\n\r\n"),
    "chunk without its end": post(TE, b"2\r\nhi0\r\n\r\n"),
    "chunk size 0x2": post(TE, b"0x2\r\nhi\r\n0\r\n\r\n"),
    "chunk size -2": post(TE, b"-2\r\nhi\r\n0\r\n\r\n"),
    "chunk size +2": post(TE, b"+2\r\nhi\r\n0\r\n\r\n"),
    "chunk size 0_2": post(TE, b"0_2\r\nhi\r\n0\r\n\r\n"),
    "chunk size with a blank": post(TE, b"2 \r\nhi\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": post(TE, b"10000000000000002\r\nhi\r\n0\r\n\r\n"),
    "trailer that sets a length": post(TE, b"2\r\nhi\r\n0\r\nContent-Length: 9\r\n\r\n"),
    "trailer that is a request": post(TE, b"2\r\nhi\r\n0\r\n" + HIDDEN),
    "blank in a name": post(b"X Y: a\r\nContent-Length: 2\r\n"),
    "no name": post(b": a\r\nContent-Length: 2\r\n"),
    "blank before the first field": b"POST /sink HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "blank in the target": b"POST /sink /hidden HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs in the first line": b"POST\t/sink\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /sink\r\n\r\n" + HIDDEN,
    "HTTP/1.2": post(b"Content-Length: 2\r\n", line=b"HTTP/1.2"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
FORWARDED = {
    "length with zeros": post(b"Content-Length: 0002\r\n"),
    "coding in capitals": post(b"Transfer-Encoding: CHUNKED\r\n", HI),
    "coding behind a tab": post(b"Transfer-Encoding:\tchunked\r\n", HI),
    "chunk size with zeros": post(TE, b"0000002\r\nhi\r\n0\r\n\r\n"),
    "chunk extension": post(TE, b"2;a=b;c\r\nhi\r\n0\r\n\r\n"),
    "one byte a chunk": post(TE, b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"),
    "HTTP/1.0 in chunks": post(TE, HI, line=b"HTTP/1.0"),
    "empty lines first": b"\r\n\r\n" + post(b"Content-Length: 2\r\n"),
    "an upgrade with a body": post(
        b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n"
    ),
    "GET with a body": post(b"Content-Length: 2\r\n").replace(b"POST", b"GET", 1),
}


async def refused(port: int, raw: bytes) -> str:
    """The status of the only answer, after which the connection is closed."""
    async with connected(port) as client:
        await client.send(raw)
        data = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while more := await client.reader.read(65536):
                    data += more
                return data.partition(b"\r\n")[0].decode()[9:12]
    return f"still open after {data!r}"


async def test_ambiguous_framing_is_refused_and_not_forwarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    printer = VirtualPrinter()
    with tapped(monkeypatch) as cable:
        async with run_daemon(printer, state_path=tmp_path / "state") as daemon:
            answers = {name: await refused(daemon.port(), raw) for name, raw in REFUSED.items()}
    printer.close()
    assert {name: status for name, status in answers.items() if status != "400"} == {}
    assert cable.requests("/sink") + cable.requests("/hidden") == []
    assert printer.stats["broken_http"] == 0


async def test_a_forwarded_request_has_exactly_one_framing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    printer = VirtualPrinter()
    with tapped(monkeypatch) as cable:
        async with run_daemon(printer, state_path=tmp_path / "state") as daemon:
            for name, raw in FORWARDED.items():
                async with connected(daemon.port()) as client:
                    await client.send(raw)
                    await client.reply("POST")
                    assert only_one(cable), name
                    cable.bytes.clear()
    printer.close()
    assert printer.stats["broken_http"] == 0


def only_one(cable: Cable) -> bool:
    (one,) = cable.requests("/sink")
    assert one.body == b"hi"
    assert one.values("content-length") == ["2"]
    assert one.values("transfer-encoding") == []
    return True


@pytest.mark.parametrize("late", [False, True])
async def test_bytes_after_a_body_are_not_a_request_and_end_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
):
    """With the body, all is refused; later, only the bytes after it."""
    printer = VirtualPrinter()
    with tapped(monkeypatch) as cable:
        async with run_daemon(printer, state_path=tmp_path / "state") as daemon:
            async with connected(daemon.port()) as client:
                await client.send(
                    post(b"Content-Length: 2\r\n", b"hi" if late else b"hi, more\r\n\r\n")
                )
                if late:
                    assert (await client.reply("POST")).status == 200
                    await client.send(b", more\r\n\r\n")
                assert (await client.reader.read()).startswith(b"HTTP/1.0 400 ")
            assert [one.body for one in cable.requests("/sink")] == [b"hi"] * late
            await still_works(daemon.port())
    printer.close()
    assert printer.stats["broken_http"] == 0


@pytest.mark.parametrize("declared", [100, 1_000_000])
async def test_a_body_shorter_than_declared_leaves_no_half_request_at_the_printer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: int
):
    """Both for a body sent in one piece and for a stream in progress."""
    printer = VirtualPrinter(interfaces=1)
    with tapped(monkeypatch) as cable:
        async with run_daemon(printer, state_path=tmp_path / "state") as daemon:
            async with connected(daemon.port()) as client:
                await client.send(post(b"Content-Length: %d\r\n" % declared))
            await still_works(daemon.port())
    printer.close()
    assert printer.stats["broken_http"] == 0
    assert [one.body for one in cable.requests("/sink")] in ([], [b"hi"], [b""])


async def test_pipelined_requests_are_answered_in_their_order(tmp_path: Path):
    printer = VirtualPrinter()
    sizes = [50_000, 1, 300_000, 2, 70_000, 3]
    async with (
        run_daemon(printer, state_path=tmp_path / "state") as daemon,
        connected(daemon.port()) as client,
    ):
        await client.send(b"".join(message("GET", f"/big?bytes={size}") for size in sizes))
        assert await lengths(client, len(sizes)) == sizes
    printer.close()


async def lengths(client: Connection, count: int) -> list[int]:
    found = []
    for _ in range(count):
        head = await client.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:-2])
        if b"content-length" in fields:
            size = int(fields[b"content-length"])
            await client.reader.readexactly(size)
        else:
            size = await chunks(client)
        found.append(size)
    return found


async def chunks(client: Connection) -> int:
    total = 0
    while size := int(await client.reader.readuntil(b"\r\n"), 16):
        await client.reader.readexactly(size + 2)
        total += size
    await client.reader.readexactly(2)
    return total


async def still_works(port: int) -> None:
    async with connected(port) as client:
        await client.send(message("GET", "/big?bytes=5"))
        assert (await client.reply()).body


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nabcdefgh", b"0\r\nnot a trailer\r\n\r\n"])
async def test_an_upload_whose_framing_breaks_is_answered_400_and_its_job_is_cancelled(
    tmp_path: Path, broken: bytes
):
    async with one_printer(tmp_path / "state") as (printer, daemon):
        async with connected(daemon.port()) as client:
            await client.send(head("POST", "/ipp/print", [*IPP_TYPE, CHUNKED]))
            for part in (ipp_request(Operation.PRINT_JOB), bytes(100_000)):
                await client.send(b"%x\r\n%b\r\n" % (len(part), part))
            await daemon.until(lambda: printer.stats["bytes_in"] > 50_000)
            await client.send(broken)
            reply = await client.reply("POST")
            assert reply.status == 400
            assert reply.headers["connection"] == "close"
            await daemon.until_idle()
        assert [document.completed for document in printer.documents] == [False]
        assert printer.stats["broken_http"] == 0
        await still_works(daemon.port())


async def test_a_request_behind_another_whose_framing_breaks_never_begins(tmp_path: Path):
    async with one_printer(tmp_path / "state") as (printer, daemon):
        async with connected(daemon.port()) as client:
            await client.send(message("GET", "/big?bytes=300000"))
            await client.send(head("POST", "/ipp/print", [*IPP_TYPE, CHUNKED]))
            await client.send(b"%x\r\n%b\r\n" % (70_000, bytes(70_000)))
            await client.send(b"zz\r\n")
            assert await lengths(client, 1) == [300_000]
            assert (await client.reply("POST")).status == 400
        await daemon.until_idle()
        assert printer.documents == []
