"""What CUPS calls things."""

from __future__ import annotations

import re


def queue_name(name: str) -> str:
    """The queue that CUPS makes for a DNS-SD name: letters, digits and single underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).removesuffix("_")
