"""The documents that checks print, and their comparison at the printer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from programs import until
from report import Failed

FOLDER = Path("/var/lib/e2e-paper")


def jpeg() -> Path:
    """A photo; CUPS passes it on as it is to a printer that takes JPEG."""
    path = FOLDER / "photo.jpg"
    if not path.exists():
        from PIL import Image

        FOLDER.mkdir(exist_ok=True)
        Image.effect_noise((800, 600), 90).convert("RGB").save(path, quality=85)
        FOLDER.chmod(0o755)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrived(
    documents: Callable[[], list[dict[str, Any]]], before: int, limit_s: float = 90.0
) -> dict[str, Any]:
    """The first document that the printer completed since there were `before` of them."""

    def complete() -> list[dict[str, Any]]:
        return [one for one in documents()[before:] if one["completed"]]

    return until(complete, "a document at the printer", limit_s)[0]


def must_be(document: dict[str, Any], path: Path) -> str:
    """Check that it has the very bytes of `path`; returns how many."""
    if document["sha256"] != sha256(path):
        raise Failed(f"{path.name} arrived as something else: {document}")
    return f"{document['size']} bytes of {document['format']}, same sha256"


def picture_hash(path: Path) -> str:
    """Of a scanned page that is a page."""
    from PIL import Image

    page = Image.open(path)
    page.load()
    if min(page.size) < 500 or len(set(page.resize((40, 40)).getdata())) < 3:
        raise Failed(f"an empty picture of size {page.size}")
    return sha256(path)
