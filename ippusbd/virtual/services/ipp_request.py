"""An IPP request read from an HTTP request: attributes checked, document still to be read.

`IppFailure` becomes the response to a bad one. Knows the rules that hold for every operation
(RFC 8011, 4.1) and no operation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ippusbd.errors import BadIpp, IncompleteIpp
from ippusbd.virtual.http.messages import HttpRequest, Reader
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Group, Message, Status, Tag


class IppFailure(Exception):
    """The operation ends with this status; `unsupported` lists the attributes at fault."""

    def __init__(self, status: Status, text: str, unsupported: Iterable[Attribute] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.unsupported = tuple(unsupported)


@dataclass(slots=True)
class IppRequest:
    """`raw` are the encoded attributes; `document` reads what follows, piece by piece."""

    http: HttpRequest
    message: Message
    raw: bytes
    document: Reader

    @property
    def queue(self) -> str:
        """The path of the printer the client talks to."""
        return self.http.path.rstrip("/")

    def text(self, name: str) -> str:
        """An operation attribute, "" if absent."""
        return self.message.first_text(Tag.OPERATION, name) or ""

    def integer(self, name: str) -> int | None:
        return self.message.first_integer(Tag.OPERATION, name)

    def boolean(self, name: str) -> bool | None:
        found = self.message.get(Tag.OPERATION, name)
        return found.values[0].boolean if found else None

    def texts(self, name: str) -> tuple[str, ...]:
        found = self.message.get(Tag.OPERATION, name)
        return found.texts if found else ()

    def uri(self, path: str = "") -> str:
        """A URI of the printer that works for this client, by its Host header."""
        return f"ipp://{self.http.header('Host') or 'localhost'}{path or self.queue}"

    def web(self, path: str) -> str:
        return f"{self.http.base_url}{path}"


async def read_request(http: HttpRequest) -> IppRequest:
    """Read until the attributes are complete. Raises BadIpp."""
    data = bytearray()
    while (piece := await http.piece()) is not None:
        data += piece
        try:
            message, offset = ipp.decode(bytes(data))
        except IncompleteIpp:
            continue
        raw, first = bytes(data[:offset]), bytes(data[offset:])
        return IppRequest(http, message, raw, _chained(first, http.piece))
    raise BadIpp("the body ends before the IPP attributes do")


def _chained(first: bytes, rest: Reader) -> Reader:
    pending = [first] if first else []

    async def piece() -> bytes | None:
        return pending.pop() if pending else await rest()

    return piece


def check(message: Message) -> None:
    """The rules that hold for every operation. Raises IppFailure."""
    if message.version[0] not in (1, 2):
        raise IppFailure(Status.VERSION_NOT_SUPPORTED, "IPP 1.1 and 2.0 are supported")
    if message.request_id == 0:
        raise IppFailure(Status.BAD_REQUEST, "request-id is 0")
    group = message.groups[0] if message.groups else Group(0)
    names = [attr.name for attr in group.attributes]
    if group.tag != Tag.OPERATION or names[:2] != [
        "attributes-charset",
        "attributes-natural-language",
    ]:
        raise IppFailure(Status.BAD_REQUEST, "charset and natural language must come first")
    charset = (message.first_text(Tag.OPERATION, "attributes-charset") or "").lower()
    if charset not in ("utf-8", "us-ascii"):
        raise IppFailure(Status.CHARSET_NOT_SUPPORTED, f"charset {charset!r}")
    if not {"printer-uri", "job-uri"} & set(names):
        raise IppFailure(Status.BAD_REQUEST, "no printer-uri")


def answer(
    request: Message, status: Status, groups: Iterable[Group] = (), text: str = ""
) -> Message:
    """A response with the operation attributes that every response has."""
    operation = [
        ipp.attribute("attributes-charset", ipp.charset("utf-8")),
        ipp.attribute("attributes-natural-language", ipp.language("en")),
    ]
    if text:
        operation.append(ipp.attribute("status-message", ipp.text(text[:255])))
    version = request.version if request.version in ((1, 0), (1, 1), (2, 0)) else (2, 0)
    first = Group(Tag.OPERATION, tuple(operation))
    return Message(status, request.request_id, (first, *groups), version)
