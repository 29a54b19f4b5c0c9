"""What lies on the virtual scanner's glass, as real image files.

Every region of the sheet looks different, so that a test can tell which region, colour mode
and page it got. Pillow is imported for the first picture: a printer that never scans does not
need it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ippusbd.errors import IppUsbError

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET: Final = (2550, 3508)  # of 1/300 inch: Letter's width, A4's length
DRAWN_AT: Final = 75  # dpi
FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "application/pdf": "PDF"}
MODES: Final = {"BlackAndWhite1": "1", "Grayscale8": "L", "RGB24": "RGB"}
CORNER: Final = 40  # pixels of DRAWN_AT


class NoPillow(IppUsbError):
    """Pictures need a package that is not installed."""

    http_status = 500


@dataclass(frozen=True, slots=True)
class Region:
    """Where on the sheet, in 1/300 inch."""

    x: int = 0
    y: int = 0
    width: int = SHEET[0]
    height: int = SHEET[1]

    def clipped(self) -> Region:
        """The part that lies on the sheet; at least one unit each way."""
        x, y = min(self.x, SHEET[0] - 1), min(self.y, SHEET[1] - 1)
        width = max(1, min(self.width, SHEET[0] - x))
        return Region(x, y, width, max(1, min(self.height, SHEET[1] - y)))


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """One page as requested; resolutions in dots per inch."""

    page: int
    region: Region
    x_dpi: int
    y_dpi: int
    color_mode: str  # eSCL's name
    format: str  # a key of FORMATS

    @property
    def size(self) -> tuple[int, int]:
        """Pixels across and down."""
        width = max(1, self.region.width * self.x_dpi // 300)
        return width, max(1, self.region.height * self.y_dpi // 300)


@lru_cache(maxsize=4)
def _sheet(page: int) -> Image:
    """The sheet: a gradient each way, coloured corners, the page's number in the middle."""
    try:
        from PIL import Image, ImageDraw
    except ModuleNotFoundError as exc:
        raise NoPillow("pictures need Pillow: pip install 'ippusbd[virtual]'") from exc
    size = (SHEET[0] * DRAWN_AT // 300, SHEET[1] * DRAWN_AT // 300)
    down = Image.linear_gradient("L").resize(size)
    across = Image.linear_gradient("L").rotate(90).resize(size)
    sheet = Image.merge("RGB", (across, down, Image.new("L", size, 160)))
    draw = ImageDraw.Draw(sheet)
    right, bottom = size[0] - CORNER, size[1] - CORNER
    for at, color in (
        ((0, 0), "red"),
        ((right, 0), "lime"),
        ((0, bottom), "blue"),
        ((right, bottom), "black"),
    ):
        draw.rectangle((at, (at[0] + CORNER, at[1] + CORNER)), fill=color)
    draw.rectangle((size[0] // 4, size[1] // 3, size[0] * 3 // 4, size[1] // 2), fill="white")
    draw.text((size[0] // 3, size[1] * 3 // 8), f"page {page}", fill="black")
    return sheet


@lru_cache(maxsize=4)
def picture(spec: PictureSpec) -> bytes:
    """The file. Raises NoPillow."""
    sheet = _sheet(spec.page)
    scale = DRAWN_AT / 300
    area = spec.region
    box = (
        area.x * scale,
        area.y * scale,
        min((area.x + area.width) * scale, sheet.width),
        min((area.y + area.height) * scale, sheet.height),
    )
    gray = "L" if spec.color_mode.startswith("Gray") else "RGB"
    mode = MODES.get(spec.color_mode, gray)  # 16 bits a channel are drawn with 8
    image = sheet.resize(spec.size, box=box)
    if mode == "1" and spec.format == "image/jpeg":
        mode = "L"  # JPEG has no bilevel
    if mode != "RGB":
        image = image.convert(mode)
    out = io.BytesIO()
    options = {"image/png": {"compress_level": 1}, "image/jpeg": {"quality": 85}}
    image.save(
        out,
        FORMATS[spec.format],
        **({"resolution": spec.x_dpi} if spec.format == "application/pdf" else {}),
        **({"dpi": (spec.x_dpi, spec.y_dpi)} if spec.format != "application/pdf" else {}),
        **options.get(spec.format, {}),
    )
    return out.getvalue()
