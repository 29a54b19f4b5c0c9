"""How much went over a printer's interfaces, and when.

Noted where the byte moves: an exchange may be over before anybody looks at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Bytes of bodies and heads, both ways, since start; times are the loop's."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    moved_at: float = -math.inf  # a byte of an answer, a document, an upload
    document_at: float = -math.inf  # the last byte of a whole document
    on_document: Callable[[], None] = lambda: None

    def document(self, at: float) -> None:
        """Another document was the last one; -inf: there is none."""
        if at != self.document_at:
            self.document_at = at
            self.on_document()
