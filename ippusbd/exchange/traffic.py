"""How much went over a printer's interfaces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Traffic:
    """Bytes of bodies and heads, both ways, since start."""

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
