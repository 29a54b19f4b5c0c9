"""PaperMax: the class of the largest sheet a printer takes (Bonjour Printing 1.2.1, 9.4).

A size belongs to the largest class of which it holds a sheet in portrait:
a roll as wide as a letter is `legal-A4` however long it is. Sizes are in
hundredths of a millimetre, as in IPP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeAlias

Size: TypeAlias = tuple[int, int]  # width and height

LEGAL, A4 = (21590, 35560), (21000, 29700)
TABLOID, A3 = (27940, 43180), (29700, 42000)
C, A2 = (43180, 55880), (42000, 59400)
ROUNDING: Final = 50  # firmware rounds when it converts between inches and millimetres

UNITS: Final = {"in": 2540.0, "mm": 100.0}
# The end of a self-describing media name (PWG 5101.1, 5): na_letter_8.5x11in
_SIZE: Final = re.compile(r"_(\d{1,6}(?:\.\d{1,6})?)x(\d{1,6}(?:\.\d{1,6})?)(in|mm)", re.ASCII)


def paper_max(sizes: Iterable[Size], ranges: Iterable[Size] = ()) -> str:
    """The PaperMax value; empty without any size.

    `ranges`: the largest custom sizes. One that is more than twice as wide and as long as the
    largest of `sizes` is no paper (Canon MF6100 has thousandths of a millimetre there).
    """
    sizes = list(sizes)
    if sizes:
        limits = [2 * max(lengths) for lengths in zip(*sizes, strict=True)]
        ranges = [
            size
            for size in ranges
            if not all(have > most for have, most in zip(size, limits, strict=True))
        ]
    ranks = [_rank(size) for size in (*sizes, *ranges) if min(size) > 0]
    return CLASSES[max(ranks)] if ranks else ""


CLASSES: Final = ("<legal-A4", "legal-A4", "tabloid-A3", "isoC-A2", ">isoC-A2")


def _rank(size: Size) -> int:
    if any(_holds(size, sheet) and _exceeds(size, sheet) for sheet in (C, A2)):
        return 4
    references = ((LEGAL, A4), (TABLOID, A3), (C, A2))
    held = [any(_holds(size, sheet) for sheet in pair) for pair in references]
    return max((rank for rank, fits in enumerate(held, 1) if fits), default=0)


def _holds(size: Size, sheet: Size) -> bool:
    return all(have + ROUNDING >= need for have, need in zip(size, sheet, strict=True))


def _exceeds(size: Size, sheet: Size) -> bool:
    return any(have > need + ROUNDING for have, need in zip(size, sheet, strict=True))


def size_of_name(media_name: str) -> Size | None:
    """The size that a self-describing media name ends with; None: it has none."""
    found = _SIZE.search(media_name)
    if not found or found.end() != len(media_name):
        return None
    scale = UNITS[found[3]]
    return round(float(found[1]) * scale), round(float(found[2]) * scale)
