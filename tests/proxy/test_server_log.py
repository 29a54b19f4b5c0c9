"""A client that babbles fills no log, and what it said stands in none."""

from __future__ import annotations

import logging

import pytest
from support.http_client import connected
from support.scripted_printer import answer, serve

MALFORMED = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense \x1b[31msecret\r\n\r\n",
    b"GET /\r\nsecret HTTP/9.9\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5secret\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nsecret document\r\n",
    b"\x16\x03\x01secret",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic secret" + b"x" * 100_000,
    b"GET /secret" + b"x" * 100_000,
)


@pytest.mark.parametrize("said", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_no_request_is_one_short_line_that_quotes_nothing(
    caplog: pytest.LogCaptureFixture, said: bytes
):
    caplog.set_level(logging.DEBUG)
    async with serve(answer()) as served, connected(served.port) as client:
        await client.send(said)
        while await client.reader.read(4096):
            pass
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "secret" not in caplog.text
    assert "\x1b" not in caplog.text
    assert caplog.text.count("malformed") <= 1
