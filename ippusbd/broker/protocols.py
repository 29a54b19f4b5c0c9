"""What the broker needs of the daemon, which has the printers.

The daemon's supervisor is behind these; the broker knows no states of printers.
"""

from __future__ import annotations

import socket
from typing import Protocol

from ippusbd.wire.broker import Question


class BrokeredPrinter(Protocol):
    """A printer that is served, or was."""

    async def adopt(self, connection: socket.socket) -> None:
        """Speak HTTP with a client that was accepted elsewhere; returns when that has begun.

        While the printer is not connected, clients get 503. Takes ownership of `connection`.
        """


class Directory(Protocol):
    """Finds printers."""

    async def find(self, question: Question) -> BrokeredPrinter | None:
        """The printer that was asked for; waits while it is being opened or probed.

        None if there is none, or its probe failed. The caller limits the wait.
        """

    def questions(self) -> list[Question]:
        """One for each printer that is connected, ready or not."""
