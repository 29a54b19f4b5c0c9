"""The messages between ChromeOS's printing stack and the broker (ippusb_manager).

A message is a length byte that counts the text and its NUL, the text, the NUL.
The question names a printer, `VID_PID` in lower-case hexadecimal; the answer
is the base name of a Unix socket beside the broker's, or `Device not found`.
Beyond the original, `VID_PID_SERIAL` distinguishes identical printers.

Invariant: whatever the question or a serial number holds, every answer has only
letters, digits, `_`, `.`, `-` and blanks, and a socket's name matches
`[0-9A-Fa-f_-]+\\.sock`: clients check both. Knows `UsbId`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from ippusbd.errors import BadRequest
from ippusbd.model import UsbId

NOT_FOUND: Final = "Device not found"
KEEP_ALIVE: Final = "keep-alive"
KEEP_ALIVE_ANSWER: Final = "ack"
MAX_TEXT: Final = 254  # bytes; with its NUL it fills the length byte
MAX_MESSAGE: Final = MAX_TEXT + 2

_QUESTION: Final = re.compile(r"([0-9A-Fa-f]{4})_([0-9A-Fa-f]{4})(?:_(.+))?")
# A client takes only `[0-9A-Fa-f_-]+\.sock`, and a Unix socket's path is short.
_PLAIN_SERIAL: Final = re.compile(r"[0-9A-Fa-f]{1,32}")
_DIGEST_DIGITS: Final = 24


@dataclass(frozen=True, slots=True)
class Question:
    """The printer that is asked for; an empty serial: any of that vendor and product."""

    usb_id: UsbId
    serial: str = ""


def encode(text: str) -> bytes:
    """One message. Raises BadRequest for a text that cannot be one."""
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_TEXT or b"\0" in data:
        raise BadRequest(f"not the text of a message: {text[:40]!r}")
    return bytes((len(data) + 1,)) + data + b"\0"


def next_message(buffer: bytes) -> tuple[str, bytes] | None:
    """The first text in `buffer` and the bytes after it; None: it is incomplete.

    Raises BadRequest as soon as the bytes cannot become a message.
    """
    if not buffer:
        return None
    size = buffer[0]
    body = buffer[1 : 1 + size]
    if not size or b"\0" in body[: size - 1]:
        raise BadRequest("a message whose length is not that of its text")
    if len(body) < size:
        return None
    if body[-1]:
        raise BadRequest("a message that does not end in NUL")
    try:
        return body[:-1].decode("utf-8"), buffer[1 + size :]
    except UnicodeDecodeError as exc:
        raise BadRequest("a message that is not UTF-8") from exc


def parse_question(text: str) -> Question:
    """`VID_PID` or `VID_PID_SERIAL`; raises BadRequest for anything else."""
    match = _QUESTION.fullmatch(text)
    if match is None or not text.isprintable():
        raise BadRequest(f"not a question for a printer: {text[:40]!r}")
    return Question(UsbId(int(match[1], 16), int(match[2], 16)), match[3] or "")


def socket_name(usb_id: UsbId, serial: str = "") -> str:
    """The base name of a printer's HTTP socket, `VID_PID.sock`, or one for this serial alone."""
    return f"{_stem(usb_id, serial)}.sock"


def keep_alive_name(usb_id: UsbId, serial: str = "") -> str:
    """The base name of the socket that takes `keep-alive` for this printer."""
    return f"{_stem(usb_id, serial)}_keep_alive.sock"


def _stem(usb_id: UsbId, serial: str) -> str:
    if not serial:
        return usb_id.underscored
    if _PLAIN_SERIAL.fullmatch(serial):
        return f"{usb_id.underscored}_{serial}"
    # The hyphen keeps digests apart from serials that are hexadecimal themselves.
    digest = hashlib.sha256(serial.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{usb_id.underscored}_-{digest[:_DIGEST_DIGITS]}"
