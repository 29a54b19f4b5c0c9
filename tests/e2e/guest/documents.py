"""Documents that checks print, and their comparison at the printer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from programs import run, until
from report import Failed

FOLDER = Path("/run/documents")


def jpeg() -> Path:
    """A photo; CUPS passes it on as it is to a printer that takes JPEG."""
    path = FOLDER / "photo.jpg"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        picture = Image.effect_noise((800, 600), 90).convert("RGB")
        ImageDraw.Draw(picture).ellipse((100, 100, 700, 500), fill=(200, 30, 30))
        picture.save(path, quality=85)
    return path


def pdf() -> Path:
    """Two pages with text."""
    path = FOLDER / "letter.pdf"
    if not path.exists():
        FOLDER.mkdir(exist_ok=True)
        source = FOLDER / "letter.ps"
        source.write_text(
            "%!PS\n/Helvetica findfont 24 scalefont setfont\n"
            "72 700 moveto (First page of the letter) show showpage\n"
            "72 700 moveto (Second page of the letter) show showpage\n"
        )
        run("gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", f"-o{path}", source)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrived(documents: Callable[[], list[dict[str, Any]]], before: int) -> dict[str, Any]:
    """The one document that the printer completed since there were `before` of them."""

    def complete() -> list[dict[str, Any]]:
        return [one for one in documents()[before:] if one["completed"]]

    return until(complete, "a document at the printer", 90)[0]


def must_be(document: dict[str, Any], path: Path) -> str:
    """Check that it has the very bytes of `path`; returns how many."""
    if document["sha256"] != sha256(path):
        raise Failed(f"{path.name} arrived as something else: {document}")
    return f"{document['size']} bytes of {document['format']}, same sha256"
