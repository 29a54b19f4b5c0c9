"""What the log says of documents in either direction: never a byte of them, not even at DEBUG."""

from __future__ import annotations

import logging

import pytest
from support.http_client import IPP_TYPE, connected, head, ipp_request, message
from support.scripted_printer import answer, serve

from ippusbd.wire.ipp import Operation

CHUNKED = ("Transfer-Encoding", "chunked")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"
SCANS = {
    "chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\nsecret page\r\n",
    "chunk end": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nsecret page\r\n",
    "trailer": OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"secret: page\r\n" * 1000,
    "status line": b"HTTP/secret page\r\n\r\n",
    "version": b"HTTP/9.9 200 secret page\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: secret\r\n\r\n",
    "coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: secret\r\n\r\n",
    "surplus": OK + b"Content-Length: 2\r\n\r\nOKsecret page",
    "before the head": b"secret page" + OK + b"Content-Length: 2\r\n\r\nOK",
    "nothing but a page": b"secret page" * 10_000,
    "not IPP": OK.replace(b"image/jpeg", b"application/ipp") + b"Content-Length: 6\r\n\r\nsecret",
}
PRINTS = {
    "chunk size, small": [b"secret\r\n"],
    "chunk size, streamed": [b"%x\r\n%b\r\n" % (100_000, bytes(100_000)), b"secret\r\n"],
    "chunk end, streamed": [b"%x\r\n%b\r\n" % (100_000, bytes(100_000)), b"2\r\nsecret\r\n"],
    "not IPP": [b"6\r\nsecret\r\n0\r\n\r\n"],
}


@pytest.mark.parametrize("said", SCANS.values(), ids=SCANS)
async def test_no_byte_of_a_scan_is_logged(caplog: pytest.LogCaptureFixture, said: bytes):
    caplog.set_level(logging.DEBUG)
    async with serve(said) as served, connected(served.port) as client:
        await client.send(message("GET", "/eSCL/ScanJobs/1/NextDocument"))
        await client.reply()
    assert "secret" not in caplog.text


@pytest.mark.parametrize("said", PRINTS.values(), ids=PRINTS)
async def test_no_byte_of_a_print_is_logged(caplog: pytest.LogCaptureFixture, said: list[bytes]):
    caplog.set_level(logging.DEBUG)
    start = b"" if said[0].startswith(b"6") else ipp_request(Operation.PRINT_JOB)
    async with serve(answer()) as served, connected(served.port) as client:
        await client.send(head("POST", "/ipp/print", [*IPP_TYPE, CHUNKED]))
        if start:
            await client.send(b"%x\r\n%b\r\n" % (len(start), start))
        for part in said:
            await client.send(part)
        await client.reply("POST")
    assert "secret" not in caplog.text
