"""Every misbehaviour of field-notes 4, by name."""

from __future__ import annotations

from typing import Final

from ippusbd.virtual.hooks import Personality

REGISTRY: Final[dict[str, type[Personality]]] = {}
