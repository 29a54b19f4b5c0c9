"""What the HTTP server under us logs, in our words.

To aiohttp a malformed request is an exception, logged as an error with its
traceback and the client's own bytes: any client could fill the journal so, and
a document whose framing is broken would stand in it. It is a line of info that
says what was wrong and quotes nothing. Real errors stay errors.

Knows logging; which exceptions are the client's is its maker's to say.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from ippusbd.wire.text import one_line

MESSAGE_LIMIT: Final = 120
_QUOTED: Final = re.compile(r"\n\n|\bb['\"]|bytearray\(")


class ServerLog(logging.Logger):
    """A logger for aiohttp's server that passes all to `log`."""

    def __init__(self, log: logging.Logger, client_errors: type[Exception]) -> None:
        super().__init__(log.name)
        self.parent = log
        self._log_of_site = log
        self._client_errors = client_errors

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        if not self._is_clients(kwargs.get("exc_info")):
            super().exception(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        if not self._is_clients(kwargs.get("exc_info")):
            super().debug(msg, *args, **kwargs)

    def _is_clients(self, exc: object) -> bool:
        """Whether this was a client's doing; it is told then."""
        if not isinstance(exc, self._client_errors):
            return False
        self._log_of_site.info("a malformed request was refused: %s", _without_quotes(exc))
        return True


def _without_quotes(exc: Exception) -> str:
    """The server quotes what it could not read after an empty line, or as Python shows bytes."""
    return one_line(_QUOTED.split(str(exc))[0], MESSAGE_LIMIT)
