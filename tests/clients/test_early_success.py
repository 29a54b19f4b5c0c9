"""A printer that answers before it has the whole document still gets all of it from CUPS."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_channel import FakeChannel
from support.scripted_printer import SETTINGS, serve

from ippusbd.wire import ipp

pytestmark = [pytest.mark.clients, pytest.mark.timeout(60)]

JOB = """{
  OPERATION Print-Job
  GROUP operation-attributes-tag
  ATTR charset attributes-charset utf-8
  ATTR naturalLanguage attributes-natural-language en
  ATTR uri printer-uri $uri
  ATTR mimeMediaType document-format application/octet-stream
  FILE $filename
  STATUS successful-ok
}
"""
SILENCE_S = 0.05
DONE = ipp.encode(ipp.Message(ipp.Status.OK, 1, (ipp.Group(ipp.Tag.OPERATION, ()),)))
HEAD = (
    f"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: {len(DONE)}\r\n\r\n"
).encode()


async def test_cups_sends_its_whole_document_to_a_printer_that_answers_early(tmp_path: Path):
    """Its client library ends the document at the first byte of a success."""
    document = bytes(range(256)) * 40_000  # 10 MB: more than the sockets between them hold
    (tmp_path / "document").write_bytes(document)
    (tmp_path / "job.test").write_text(JOB)
    async with serve(DONE, settings=replace(SETTINGS, silence_s=SILENCE_S)) as site:
        channel = site.printer.channels[0]
        reads = channel.hear
        assert reads is not None

        def hear(channel: FakeChannel, data: bytes) -> None:
            reads(channel, data)
            if data.startswith(b"POST"):
                channel.say(HEAD)
                channel.stop_taking()
                asyncio.get_running_loop().call_later(10 * SILENCE_S, channel.take_again)

        channel.hear = hear
        client = await asyncio.create_subprocess_exec(
            *("ipptool", "-tv", "-f", str(tmp_path / "document")),
            *(f"ipp://127.0.0.1:{site.port}/ipp/print", str(tmp_path / "job.test")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await client.communicate()
        assert "status-code = successful-ok" in out.decode()
        whole = site.heard.body.endswith(document)
        assert whole, f"the printer has {len(site.heard.body)} bytes, not over {len(document)}"
