"""Printers whose answers clients cannot use; each class's docstring names the model and its fault.

The kinds of answer that a scanner, a web console or an IPP printer gives instead of the expected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ippusbd.virtual.http.messages import HttpRequest, HttpResponse, plain
from ippusbd.virtual.personalities.base import Personality
from ippusbd.wire.ipp import Message, Tag

FIRST_VALUE: Final = 0x10
PAGE: Final = (
    "<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Log in</body></html>\n"
)


def _items(answer: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, name, and all bytes of each item; of a delimiter its tag alone."""
    at = 8
    while at < len(answer):
        start, tag, name = at, answer[at], b""
        at += 1
        if tag >= FIRST_VALUE:
            size = int.from_bytes(answer[at : at + 2], "big")
            name = answer[at + 2 : at + 2 + size]
            at += 2 + size
            at += 2 + int.from_bytes(answer[at : at + 2], "big")
        yield tag, name, answer[start:at]


class UnclosedCollections(Personality):
    """Canon MF262dw II: the collections of media-col-default and media-col-ready have no end."""

    name = "unclosed-collections"
    unclosed: Final = (b"media-col-default", b"media-col-ready")

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        out, attribute, depth = bytearray(answer[:8]), b"", 0
        for tag, name, raw in _items(answer):
            attribute = name or attribute
            depth += (tag == Tag.BEG_COLLECTION) - (tag == Tag.END_COLLECTION)
            if tag != Tag.END_COLLECTION or depth or attribute not in self.unclosed:
                out += raw
        return bytes(out)


class MembersOutsideCollections(Personality):
    """Kyocera FS-4200DN: collections end after their first member; the others stand outside."""

    name = "members-outside-collections"

    def ipp_bytes(self, request: Message, answer: bytes) -> bytes:
        out, depth, members = bytearray(answer[:8]), 0, 0
        for tag, _, raw in _items(answer):
            if tag == Tag.BEG_COLLECTION:
                members = 0 if not depth else members
                depth += 1
            elif tag == Tag.END_COLLECTION:
                depth -= 1
            elif tag == Tag.MEMBER_NAME and depth == 1:
                members += 1
                if members == 2:
                    out += bytes((Tag.END_COLLECTION, 0, 0, 0, 0))
            out += raw
        return bytes(out)


class _AllButIpp(Personality):
    """Something else than the scanner and the web console answers."""

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return None if request.path.startswith("/ipp") else self.instead(request)

    def instead(self, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError


class RedirectsToHttps(_AllButIpp):
    """HP with "HTTPS enforcement": scanner and web console redirect to https, which USB has not."""

    name = "redirects-to-https"

    def instead(self, request: HttpRequest) -> HttpResponse:
        host = request.header("Host").partition(":")[0]
        location = f"https://{host}{request.target}"
        return plain(301, "Moved Permanently\n").with_header("Location", location)


class LoginRequired(_AllButIpp):
    """The scanner and the web console ask for a password: 401, and 403 for a wrong one."""

    name = "login-required"
    right = "Basic YWRtaW46c2VjcmV0"  # admin:secret

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return None if request.header("Authorization") == self.right else super().answer(request)

    def instead(self, request: HttpRequest) -> HttpResponse:
        if request.header("Authorization"):
            return plain(403, "Forbidden\n")
        return plain(401, "Unauthorized\n").with_header("WWW-Authenticate", 'Basic realm="printer"')


class UpgradeRequired(Personality):
    """Answers 426 to everything: it insists on TLS."""

    name = "upgrade-required"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        return plain(426, "Upgrade Required\n").with_header("Upgrade", "TLS/1.2, HTTP/1.1")


class HtmlInsteadOfXml(Personality):
    """The scanner answers with the log-in page of the web console, and status 200."""

    name = "html-instead-of-xml"

    def answer(self, request: HttpRequest) -> HttpResponse | None:
        if not request.path.startswith("/eSCL"):
            return None
        return HttpResponse(200, [("Content-Type", "text/html")], PAGE.encode())


class BomAndBlankBeforeXml(Personality):
    """A byte order mark and a blank line stand before the XML declaration."""

    name = "bom-and-blank-before-xml"

    def xml(self, path: str, document: str) -> str:
        return "\ufeff\r\n" + document


class RawAmpersandInXml(Personality):
    """The scanner's model has an ampersand that is not escaped."""

    name = "raw-ampersand-in-xml"

    def xml(self, path: str, document: str) -> str:
        return document.replace("</pwg:MakeAndModel>", " Scan & Copy</pwg:MakeAndModel>")
