"""The INI files of ipp-usb (configuration, quirks, state), read as ipp-usb reads them.

    [a section]              ; a comment, as after #
      key = "a # in quotes"  # quoted text may have escapes as in C
      other = a, \\
              b              # a value that continues

A line that cannot be read becomes a `Line` with an error; it never ends the reading, and nothing
is skipped silently. After a section line that cannot be read, lines belong to no section.

Pure: text in, lines out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_BLANKS: Final = " \t\r"
_ESCAPED: Final = re.compile(r"[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.)", re.DOTALL)
_LETTERS: Final = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n"} | {
    "r": "\r",
    "t": "\t",
    "v": "\v",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A section's line (`key` is empty), a setting in `section`, or one with an `error`."""

    number: int
    section: str = ""
    key: str = ""
    value: str = ""
    error: str = ""
    text: str = ""  # as it stands in the file


def lines(document: str) -> Iterator[Line]:
    """Every line that is neither empty nor a comment."""
    rows = enumerate(document.split("\n"), 1)
    section = ""
    for number, row in rows:
        text = row.strip(_BLANKS)
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            name, rest, error = _token(text[1:], "]")
            if rest is None:
                name, error = "", error or "a section must end with ]"
            section = name
            yield Line(number, section, error=error, text=text)
            continue
        key, rest, error = _token(text, "=")
        if rest is None or not key:
            error = error or "must be KEY = VALUE"
            yield Line(number, section, key, error=error, text=text)
            continue
        value, after, error = _token(rest.lstrip(_BLANKS), "")
        while after == "\\":  # the value continues on the next line
            more, after, error = _token(next(rows, (0, ""))[1].strip(_BLANKS), "")
            value += more
        yield Line(number, section, key, value, error, text)


def _token(text: str, end: str) -> tuple[str, str | None, str]:
    r"""The token up to `end`, outside quotes and comments; the rest; an error.

    The rest is None if there is no `end`. Of a value (`end` is empty) the rest is `\` if it
    continues on the next line.
    """
    found: list[str] = []
    length, quoted, at = 0, False, 0  # `length`: without blanks at its end
    while at < len(text):
        letter = text[at]
        at += 1
        if quoted and letter == "\\" and (match := _ESCAPED.match(text, at)):
            found.append(_unescaped(match))
            at = match.end()
        elif letter == '"':
            quoted = not quoted
            del found[length:]
        elif quoted:
            found.append(letter)
        elif letter == end:
            return "".join(found[:length]), text[at:], ""
        elif letter in "#;":
            break
        elif letter == "\\" and not end:
            if not text[at:].strip(_BLANKS):
                return "".join(found[:length]), "\\", ""
            continue
        elif found or letter not in _BLANKS:
            found.append(letter)
        if quoted or letter not in _BLANKS:
            length = len(found)
    return "".join(found[:length]), None, "a quoted text must end with a quote" if quoted else ""


def _unescaped(match: re.Match[str]) -> str:
    hexadecimal, octal, letter = match.groups()
    if letter:
        return _LETTERS.get(letter, letter)
    return chr(int(hexadecimal, 16) if hexadecimal else int(octal, 8) & 0xFF)
