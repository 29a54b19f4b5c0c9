"""The attributes of the virtual printer: enough for IPP Everywhere and AirPrint clients.

Everything constant is a table here, built once; `ipp_printer` adds to each response what
depends on the time or on the client's Host (`printer-state`, URIs, times).

Knows IPP values; names and meanings are those of RFC 8011, PWG 5100.7, 5100.13 and 5100.14.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from ippusbd.virtual.services.jobs import OPERATION_S
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Operation, Value

Table = dict[str, tuple[Value, ...]]

OPERATIONS: Final = (
    Operation.PRINT_JOB,
    Operation.VALIDATE_JOB,
    Operation.CREATE_JOB,
    Operation.SEND_DOCUMENT,
    Operation.CANCEL_JOB,
    Operation.GET_JOB_ATTRIBUTES,
    Operation.GET_JOBS,
    Operation.GET_PRINTER_ATTRIBUTES,
    Operation.CANCEL_MY_JOBS,
    Operation.CLOSE_JOB,
    Operation.IDENTIFY_PRINTER,
)
FORMATS: Final = (
    "application/octet-stream",
    "application/pdf",
    "image/jpeg",
    "image/pwg-raster",
    "image/urf",
)
# name, width and length in hundredths of a millimetre
MEDIA: Final = (
    ("iso_a4_210x297mm", 21000, 29700),
    ("na_letter_8.5x11in", 21590, 27940),
    ("na_legal_8.5x14in", 21590, 35560),
    ("iso_a5_148x210mm", 14800, 21000),
    ("iso_a6_105x148mm", 10500, 14800),
    ("na_index-4x6_4x6in", 10160, 15240),
    ("iso_dl_110x220mm", 11000, 22000),
    ("na_number-10_4.125x9.5in", 10477, 24130),
)
READY: Final = MEDIA[:2]
MEDIA_TYPES: Final = ("stationery", "photographic-glossy", "labels", "envelope")
MEDIA_SOURCES: Final = ("auto", "main", "by-pass-tray")
MARGIN: Final = 423
CREATION: Final = (
    "copies",
    "document-format",
    "finishings",
    "ipp-attribute-fidelity",
    "job-name",
    "job-priority",
    "media",
    "media-col",
    "orientation-requested",
    "output-bin",
    "page-ranges",
    "print-color-mode",
    "print-content-optimize",
    "print-quality",
    "print-rendering-intent",
    "print-scaling",
    "printer-resolution",
    "sides",
)
JOB_TEMPLATE: Final = (
    "copies",
    "finishings",
    "job-hold-until",
    "job-priority",
    "job-sheets",
    "media",
    "media-col",
    "multiple-document-handling",
    "number-up",
    "orientation-requested",
    "output-bin",
    "page-ranges",
    "print-color-mode",
    "print-content-optimize",
    "print-quality",
    "print-rendering-intent",
    "print-scaling",
    "printer-resolution",
    "sides",
)
DOTS: Final = (300, 600)


@dataclass(frozen=True, slots=True)
class PrinterModel:
    """The printer's identity and abilities."""

    name: str  # printer-dns-sd-name and printer-info
    make_and_model: str
    uuid: str
    device_id: str
    location: str = "Virtual desk"
    color: bool = True
    duplex: bool = True
    fax: bool = True


def keywords(names: Iterable[str]) -> tuple[Value, ...]:
    return tuple(ipp.keyword(one) for one in names)


@cache
def is_job_template(name: str) -> bool:
    """Does the group `job-template` include a printer attribute of this name?"""
    base = name
    for suffix in ("-supported", "-default", "-ready", "-database"):
        base = base.removesuffix(suffix)
    return base in JOB_TEMPLATE and base != name


def media_size(width: int, length: int) -> Value:
    return ipp.collection({"x-dimension": ipp.integer(width), "y-dimension": ipp.integer(length)})


def media_col(width: int, length: int, source: str, kind: str) -> Value:
    margins = {
        f"media-{side}-margin": ipp.integer(MARGIN) for side in ("top", "bottom", "left", "right")
    }
    return ipp.collection(
        {
            "media-size": media_size(width, length),
            **margins,
            "media-source": ipp.keyword(source),
            "media-type": ipp.keyword(kind),
        }
    )


def fixed_attributes(model: PrinterModel) -> Table:
    """The attributes that do not change while the printer is on."""
    return {
        **_identity(model),
        **_protocol(),
        **_documents(model),
        **_media(),
        **_job_template(model),
        **_print_quality(),
        **_supplies(),
    }


def _identity(model: PrinterModel) -> Table:
    return {
        "printer-name": (ipp.name(model.name),),
        "printer-info": (ipp.text(model.name),),
        "printer-dns-sd-name": (ipp.name(model.name),),
        "printer-location": (ipp.text(model.location),),
        "printer-make-and-model": (ipp.text(model.make_and_model),),
        "printer-device-id": (ipp.text(model.device_id),),
        "printer-uuid": (ipp.uri(f"urn:uuid:{model.uuid}"),),
        "printer-geo-location": (ipp.unknown(),),
        "printer-organization": (ipp.text(""),),
        "printer-organizational-unit": (ipp.text(""),),
        "printer-kind": keywords(("document", "envelope", "photo")),
        "printer-firmware-name": (ipp.name("virtual"),),
        "printer-firmware-string-version": (ipp.text("1.0"),),
        "printer-firmware-version": (ipp.octets(b"\x01\x00"),),
        "mopria-certified": (ipp.text("1.3"),),
    }


def _protocol() -> Table:
    return {
        "charset-configured": (ipp.charset("utf-8"),),
        "charset-supported": (ipp.charset("us-ascii"), ipp.charset("utf-8")),
        "natural-language-configured": (ipp.language("en"),),
        "generated-natural-language-supported": (ipp.language("en"),),
        "ipp-versions-supported": keywords(("1.1", "2.0")),
        "ipp-features-supported": keywords(("ipp-everywhere", "airprint-1.7")),
        "operations-supported": tuple(ipp.enum(one) for one in OPERATIONS),
        "uri-security-supported": keywords(("none",)),
        "uri-authentication-supported": keywords(("requesting-user-name",)),
        "pdl-override-supported": keywords(("attempted",)),
        "multiple-document-jobs-supported": (ipp.boolean(False),),
        "multiple-operation-time-out": (ipp.integer(round(OPERATION_S)),),
        "multiple-operation-time-out-action": keywords(("abort-job",)),
        "job-ids-supported": (ipp.boolean(True),),
        "preferred-attributes-supported": (ipp.boolean(False),),
        "which-jobs-supported": keywords(
            ("completed", "not-completed", "all", "aborted", "canceled", "pending", "processing")
        ),
        "job-creation-attributes-supported": keywords(CREATION),
        "printer-get-attributes-supported": keywords(("document-format",)),
        "identify-actions-supported": keywords(("display", "flash", "sound")),
        "identify-actions-default": keywords(("display",)),
        "overrides-supported": keywords(("document-number", "pages")),
        "job-account-id-supported": (ipp.boolean(False),),
        "job-accounting-user-id-supported": (ipp.boolean(False),),
    }


def _documents(model: PrinterModel) -> Table:
    raster = ("black_1", "sgray_8", *(("srgb_8",) if model.color else ()))
    urf = ("V1.4", "CP255", "RS300-600", "W8", "PQ3-4-5", "IS1-4", "MT1-2-3-6-10-11", "OB10")
    return {
        "document-format-supported": tuple(ipp.mime(one) for one in FORMATS),
        "document-format-default": (ipp.mime("application/octet-stream"),),
        "compression-supported": keywords(("none", "gzip", "deflate")),
        "color-supported": (ipp.boolean(model.color),),
        "pages-per-minute": (ipp.integer(24),),
        **({"pages-per-minute-color": (ipp.integer(18),)} if model.color else {}),
        "job-k-octets-supported": (ipp.range_(0, 2_000_000),),
        "pdf-versions-supported": keywords(("adobe-1.7", "iso-32000-1_2008")),
        "jpeg-k-octets-supported": (ipp.range_(0, 500_000),),
        "jpeg-x-dimension-supported": (ipp.range_(0, 30_000),),
        "jpeg-y-dimension-supported": (ipp.range_(1, 30_000),),
        "pwg-raster-document-type-supported": keywords(raster),
        "pwg-raster-document-resolution-supported": _resolutions(),
        "pwg-raster-document-sheet-back": keywords(("normal",)),
        "urf-supported": keywords(
            (*urf, *(("SRGB24",) if model.color else ()), *(("DM1",) if model.duplex else ()))
        ),
    }


def _resolutions() -> tuple[Value, ...]:
    return tuple(ipp.resolution(dots, dots) for dots in DOTS)


def _media() -> Table:
    database = tuple(
        media_col(width, length, source, kind)
        for _, width, length in MEDIA
        for source in MEDIA_SOURCES[1:]
        for kind in MEDIA_TYPES[:2]
    )
    ready = tuple(media_col(w, h, "main", "stationery") for _, w, h in READY)
    margin = (ipp.integer(MARGIN),)
    return {
        "media-supported": keywords(name for name, _, _ in MEDIA),
        "media-default": keywords((MEDIA[0][0],)),
        "media-ready": keywords(name for name, _, _ in READY),
        "media-col-supported": keywords(
            (
                "media-bottom-margin",
                "media-left-margin",
                "media-right-margin",
                "media-size",
                "media-source",
                "media-top-margin",
                "media-type",
            )
        ),
        "media-col-default": ready[:1],
        "media-col-ready": ready,
        "media-col-database": database,
        "media-size-supported": tuple(media_size(w, h) for _, w, h in MEDIA),
        "media-source-supported": keywords(MEDIA_SOURCES),
        "media-type-supported": keywords(MEDIA_TYPES),
        "media-top-margin-supported": margin,
        "media-bottom-margin-supported": margin,
        "media-left-margin-supported": margin,
        "media-right-margin-supported": margin,
    }


def _job_template(model: PrinterModel) -> Table:
    colors = ("auto", "monochrome", *(("color",) if model.color else ()))
    sides = ("one-sided",) + (
        ("two-sided-long-edge", "two-sided-short-edge") if model.duplex else ()
    )
    orientations = tuple(ipp.enum(one) for one in (3, 4, 5, 6))
    return {
        "copies-supported": (ipp.range_(1, 99),),
        "copies-default": (ipp.integer(1),),
        "finishings-supported": (ipp.enum(3),),
        "finishings-default": (ipp.enum(3),),
        "job-hold-until-supported": keywords(("no-hold",)),
        "job-hold-until-default": keywords(("no-hold",)),
        "job-priority-supported": (ipp.integer(100),),
        "job-priority-default": (ipp.integer(50),),
        "job-sheets-supported": keywords(("none",)),
        "job-sheets-default": keywords(("none",)),
        "multiple-document-handling-supported": keywords(("separate-documents-collated-copies",)),
        "multiple-document-handling-default": keywords(("separate-documents-collated-copies",)),
        "number-up-supported": (ipp.integer(1),),
        "number-up-default": (ipp.integer(1),),
        "orientation-requested-supported": orientations,
        "orientation-requested-default": orientations[:1],
        "output-bin-supported": keywords(("face-down",)),
        "output-bin-default": keywords(("face-down",)),
        "page-ranges-supported": (ipp.boolean(True),),
        "print-color-mode-supported": keywords(colors),
        "print-color-mode-default": keywords(colors[-1:]),
        "printer-resolution-supported": _resolutions(),
        "printer-resolution-default": (ipp.resolution(600, 600),),
        "sides-supported": keywords(sides),
        "sides-default": keywords(sides[:1]),
    }


def _print_quality() -> Table:
    qualities = tuple(ipp.enum(one) for one in (3, 4, 5))
    return {
        "print-content-optimize-supported": keywords(("auto", "text", "photo")),
        "print-content-optimize-default": keywords(("auto",)),
        "print-quality-supported": qualities,
        "print-quality-default": qualities[1:2],
        "print-rendering-intent-supported": keywords(("auto",)),
        "print-rendering-intent-default": keywords(("auto",)),
        "print-scaling-supported": keywords(("auto", "fill", "fit", "none")),
        "print-scaling-default": keywords(("auto",)),
    }


def _supplies() -> Table:
    colors = ("black", "cyan", "magenta", "yellow")
    levels = (80, 65, 50, 35)
    supplies = tuple(
        ipp.octets(
            f"index={number};class=supplyThatIsConsumed;type=toner;unit=percent;"
            f"maxcapacity=100;level={level};colorantname={color};".encode()
        )
        for number, (color, level) in enumerate(zip(colors, levels, strict=True), 1)
    )
    return {
        "printer-supply": supplies,
        "printer-supply-description": tuple(ipp.text(f"{one.title()} toner") for one in colors),
        "marker-names": tuple(ipp.name(f"{one.title()} toner") for one in colors),
        "marker-types": keywords(("toner",) * 4),
        "marker-colors": tuple(
            ipp.name(one) for one in ("#000000", "#00FFFF", "#FF00FF", "#FFFF00")
        ),
        "marker-levels": tuple(ipp.integer(one) for one in levels),
        "marker-low-levels": (ipp.integer(10),) * 4,
        "marker-high-levels": (ipp.integer(100),) * 4,
    }
