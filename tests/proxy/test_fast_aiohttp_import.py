"""The daemon starts without reading the certificates that it has no use for."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys

import pytest

from ippusbd.proxy.fast_aiohttp_import import no_certificates


def test_there_are_no_certificates_within():
    with no_certificates():
        assert ssl.create_default_context().get_ca_certs() == []


@pytest.mark.parametrize("value", [None, "/some/file"])
def test_the_environment_is_as_before_afterwards(
    monkeypatch: pytest.MonkeyPatch, value: str | None
):
    if value is None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", value)
    with no_certificates():
        assert os.environ["SSL_CERT_FILE"] == os.devnull
    assert os.environ.get("SSL_CERT_FILE") == value


def test_the_server_is_imported_without_them():
    code = (
        "import ippusbd.proxy.server, aiohttp.connector as c;"
        "print(len(c._SSL_CONTEXT_VERIFIED.get_ca_certs()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
