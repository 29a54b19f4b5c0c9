"""Ports for one of several test processes: what one binds, the others must find free."""

from __future__ import annotations

import os
from typing import Final

_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FIRST_PORT: Final = 61_000 + 1_000 * _WORKER
