"""Text for a bug report without what identifies its owner: serials, names, addresses.

What is private on this machine is collected first, because a serial number or a printer's name can
stand anywhere; addresses, UUIDs and host names are recognised by their form. Models stay: a report
is about them.

Text in, text out; `people` reads the machine's user database.
"""

from __future__ import annotations

import pwd
import re
import socket
from collections.abc import Iterable, Iterator
from typing import Final

from ippusbd.wire.anonymous import Anonymizer

SHORTEST: Final = 3  # what is shorter stands in other words by chance
FIRST_PERSON: Final = 1000  # the first uid that is a person's
NOBODY: Final = 65534
_GROUPS: Final = r"[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*"
_IPV6: Final = re.compile(
    rf"(?<![\w:.])(?:(?:[0-9a-f]{{1,4}}:){{7}}[0-9a-f]{{1,4}}|(?:{_GROUPS})?::(?:{_GROUPS})?)"
    r"(?:%[\w.-]+)?(?![\w:])",
    re.IGNORECASE,
)
_LOCAL: Final = ("::", "::1")
_FINGERPRINT: Final = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){8,}[0-9A-Fa-f]{2}(?![\w:])")


class Redaction:
    """Replaces private words; `serials` and `names` are those of printers."""

    def __init__(
        self, *, serials: Iterable[str], names: Iterable[str], people: Iterable[str], host: str
    ) -> None:
        words: dict[str, str] = {}
        for what, found in (("SERIAL", serials), ("NAME", names), ("USER", people)):
            for word in dict.fromkeys(found):
                if len(word) >= SHORTEST:
                    words.setdefault(word, f"{what}{len(words) + 1}")
        if len(host) >= SHORTEST and host != "localhost":
            words.setdefault(host, "HOST")
        self._words = words
        longest_first = sorted(words, key=len, reverse=True)
        self._pattern = re.compile(
            "|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest_first) or r"(?!)"
        )
        self._anonymizer = Anonymizer()

    def line(self, text: str) -> str:
        """The text without what is private."""
        text = self._anonymizer.text(text)
        text = _FINGERPRINT.sub("FINGERPRINT", text)
        text = _IPV6.sub(lambda found: found[0] if found[0] in _LOCAL else "ADDRESS", text)
        return self._pattern.sub(lambda found: self._words[found[0]], text)


def people() -> Iterator[str]:
    """Names of this machine's users that are persons."""
    for account in pwd.getpwall():
        if account.pw_uid >= FIRST_PERSON and account.pw_uid != NOBODY:
            yield account.pw_name
            yield account.pw_gecos.partition(",")[0]


def host_name() -> str:
    """This machine's, without its domain."""
    return socket.gethostname().partition(".")[0]
