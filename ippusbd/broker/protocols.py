"""What the broker demands of whoever has the printers.

The daemon's supervisor implements these; the broker never learns what a
printer's life looks like.
"""

from __future__ import annotations

import socket
from typing import Protocol

from ippusbd.wire.broker import Question


class BrokeredPrinter(Protocol):
    """A printer that answers, or did."""

    async def adopt(self, connection: socket.socket) -> None:
        """Speak HTTP with a client that was accepted elsewhere; returns when that has begun.

        While the printer is away its clients are told so (503). Takes `connection` over.
        """


class Directory(Protocol):
    """Finds printers."""

    async def find(self, question: Question) -> BrokeredPrinter | None:
        """The printer asked for, once it answers; waits while it is being opened or probed.

        None when there is none, or its probe failed. The caller bounds the wait.
        """

    def questions(self) -> list[Question]:
        """One for each printer that is plugged in, ready or not."""
