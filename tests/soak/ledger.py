"""What clients sent and were answered, compared with what the printers have.

A document a client saw accepted is at its printer once, byte for byte; a
document that was cut is kept as completed by nobody, nor is anything else that
no client sent to its end. Every document is different from every other, so its
digest identifies it.

Knows digests and fates; nothing of clients, printers or time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum


class Fate(Enum):
    """What its client knows of a document."""

    UNKNOWN = "no answer"  # the printer may have it
    ACCEPTED = "accepted"
    CANCELLED = "cancelled"  # accepted perhaps, and then called off by its own client
    REFUSED = "refused"
    CUT = "cut"  # its client left in the middle


@dataclass(slots=True)
class Sent:
    """A document on its way to a printer."""

    printer: str
    sha256: str
    size: int
    fate: Fate = Fate.UNKNOWN


@dataclass(frozen=True, slots=True)
class Kept:
    """A document at a printer. `completed`: it is complete and its job not cancelled."""

    printer: str
    sha256: str
    size: int
    completed: bool
    job: str = ""  # in words, for the telling of a fault


class Ledger:
    """All documents since the last check."""

    def __init__(self) -> None:
        self._sent: list[Sent] = []
        self.fates: Counter[Fate] = Counter()  # of all documents that were judged

    def sending(self, printer: str, document: bytes) -> Sent:
        """Note a document before its first byte is sent."""
        sent = Sent(printer, hashlib.sha256(document).hexdigest(), len(document))
        self._sent.append(sent)
        return sent

    def judge(self, kept: Collection[Kept]) -> list[str]:
        """What went wrong, in words; then clear the ledger."""
        wrong = self.wrong(kept)
        self.fates.update(sent.fate for sent in self._sent)
        self._sent.clear()
        return wrong

    def wrong(self, kept: Collection[Kept]) -> list[str]:
        """What is wrong up to now."""
        completed = Counter((one.printer, one.sha256) for one in kept if one.completed)
        whole = {(sent.printer, sent.sha256) for sent in self._sent if sent.fate is not Fate.CUT}
        return [fault for sent in self._sent if (fault := _fault(sent, completed)) is not None] + [
            f"{one.printer} keeps {one.size} bytes as completed that nobody sent: {one.job}"
            for one in kept
            if one.completed and (one.printer, one.sha256) not in whole
        ]


def _fault(sent: Sent, completed: Counter[tuple[str, str]]) -> str | None:
    count = completed[sent.printer, sent.sha256]
    what = f"{sent.printer}: a document of {sent.size} bytes, {sent.fate.value}: {sent.sha256[:12]}"
    if sent.fate is Fate.ACCEPTED and not count:
        return f"{what}: is not there"
    if count > 1:
        return f"{what}: is there {count} times"
    return None
