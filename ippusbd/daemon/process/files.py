"""As many open files as the system allows us.

The usual limit of 1,024 is there for programs that call select(2). Each printer has places for
hundreds of clients (`[http] max_clients`), and one without files for them accepts nobody.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Final

ENOUGH: Final = 65536


def allow_many_files(
    enough: int = ENOUGH, limits: Callable[[int], tuple[int, int]] = resource.getrlimit
) -> None:
    """Raise the limit; a sandbox that forbids this has set the limit itself."""
    with suppress(OSError, ValueError):
        soft, hard = limits(resource.RLIMIT_NOFILE)
        wanted = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
