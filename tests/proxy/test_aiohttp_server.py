"""aiohttp reads no certificates here, and the bytes of its clients are not logged."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from support.http_client import connected
from support.scripted_printer import answer, serve

MALFORMED = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nnonsense \x1b[31msecret\r\n\r\n",
    b"GET /\r\nsecret HTTP/9.9\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5secret\r\n\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nsecret document\r\n",
    b"POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ipp\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nsecret document\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nsecret field\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nsecret field: 1\r\n\r\n",
    b"\x16\x03\x01secret",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic secret" + b"x" * 100_000,
    b"GET /secret" + b"x" * 100_000,
)


@pytest.mark.parametrize("said", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_request_is_logged_in_one_short_line_that_quotes_nothing(
    caplog: pytest.LogCaptureFixture, said: bytes
):
    caplog.set_level(logging.DEBUG)
    async with serve(answer()) as served, connected(served.port) as client:
        await client.send(said)
        with suppress(ConnectionResetError):  # the server does not read the rest of a long header
            while await client.reader.read(4096):
                pass
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "secret" not in caplog.text
    assert "\x1b" not in caplog.text
    assert caplog.text.count("malformed") <= 1


@pytest.mark.parametrize("before", ["", "/some/file"])
def test_it_is_imported_without_the_systems_certificates(before: str):
    code = (
        "import os, ippusbd.proxy.server, aiohttp.connector as c;"
        "print(len(c._SSL_CONTEXT_VERIFIED.get_ca_certs()), os.environ.get('SSL_CERT_FILE', ''))"
    )
    environ = {k: v for k, v in os.environ.items() if k != "SSL_CERT_FILE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ | ({"SSL_CERT_FILE": before} if before else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"0 {before}".strip()


def test_it_does_not_load_the_library_of_c_plus_plus():
    code = (
        "import os, ippusbd.proxy.server; maps = open('/proc/self/maps').read();"
        "print('stdc++' in maps, 'FROZENLIST_NO_EXTENSIONS' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
