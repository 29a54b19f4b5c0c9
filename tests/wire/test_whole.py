"""Which last bytes end a document."""

from __future__ import annotations

import pytest

from ippusbd.wire.whole import looks_whole


@pytest.mark.parametrize(
    ("content_type", "tail", "whole"),
    [
        ("application/ipp", b"\x00\x00\x03", True),
        ("application/ipp", b"\x00\x00", False),
        ("text/xml; charset=utf-8", b"</scan:ScannerCapabilities>\r\n", True),
        ("text/xml", b"<scan:Plat", False),
        ("text/html", b"</body></html>\n", True),
        ("text/html", b"</p>", False),
        ("IMAGE/JPEG", b"\x00\xff\xd9", True),
        ("image/jpeg", b"\x00\xff", False),
        ("application/pdf", b"%%EOF\n", True),
        ("application/octet-stream", b"anything", False),
        ("", b"", False),
    ],
)
def test_the_end_of_a_document_is_known_by_its_type(content_type: str, tail: bytes, whole: bool):
    assert looks_whole(content_type, tail) is whole
