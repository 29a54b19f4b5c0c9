"""The XML of eSCL: capabilities and status out, scan settings in.

Templates and one parser; `escl_scanner` acts on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape  # xml.sax.saxutils would import half of urllib
from typing import Final
from xml.etree import ElementTree

from ippusbd.virtual.services.pictures import SHEET, Region

SCAN: Final = "http://schemas.hp.com/imaging/escl/2011/05/03"
PWG: Final = "http://www.pwg.org/schemas/2010/12/sm"
HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACES: Final = f'xmlns:scan="{SCAN}" xmlns:pwg="{PWG}"'
VERSION: Final = "2.63"
RESOLUTIONS: Final = (75, 100, 150, 200, 300, 600)
FORMATS: Final = ("image/jpeg", "image/png", "application/pdf")
COLOR_MODES: Final = ("BlackAndWhite1", "Grayscale8", "RGB24")
BEYOND_LIMITS: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Abilities:
    """What scan settings may request; other resolutions up to `any_dpi` are allowed, too."""

    formats: Iterable[str] = FORMATS
    color_modes: Iterable[str] = COLOR_MODES
    resolutions: Iterable[int] = RESOLUTIONS
    any_dpi: int = 0
    source: str = "Platen"  # where the settings name none

    def scan_at(self, dpi: int) -> bool:
        return dpi in self.resolutions or 0 < dpi <= self.any_dpi


class BadSettings(Exception):
    """The scan settings are not XML, or request what the scanner cannot do."""


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What a client requests, with the scanner's defaults filled in."""

    source: str  # "Platen" or "Feeder"
    duplex: bool
    color_mode: str
    format: str
    x_dpi: int
    y_dpi: int
    region: Region


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job in ScannerStatus."""

    uri: str
    uuid: str
    age_s: int
    completed: int
    to_transfer: int
    state: str
    reason: str


def _many(tag: str, values: Iterable[object]) -> str:
    return "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in values)


def _profile() -> str:
    resolutions = "".join(
        "<scan:DiscreteResolution>"
        f"<scan:XResolution>{dpi}</scan:XResolution><scan:YResolution>{dpi}</scan:YResolution>"
        "</scan:DiscreteResolution>"
        for dpi in RESOLUTIONS
    )
    return (
        '<scan:SettingProfile name="p1">'
        f"<scan:ColorModes>{_many('scan:ColorMode', COLOR_MODES)}</scan:ColorModes>"
        "<scan:DocumentFormats>"
        f"{_many('pwg:DocumentFormat', FORMATS)}{_many('scan:DocumentFormatExt', FORMATS)}"
        "</scan:DocumentFormats>"
        "<scan:SupportedResolutions><scan:DiscreteResolutions>"
        f"{resolutions}</scan:DiscreteResolutions></scan:SupportedResolutions>"
        "<scan:ColorSpaces><scan:ColorSpace>sRGB</scan:ColorSpace></scan:ColorSpaces>"
        "</scan:SettingProfile>"
    )


def _input_caps(tag: str) -> str:
    return (
        f"<scan:{tag}><scan:MinWidth>16</scan:MinWidth><scan:MaxWidth>{SHEET[0]}</scan:MaxWidth>"
        f"<scan:MinHeight>16</scan:MinHeight><scan:MaxHeight>{SHEET[1]}</scan:MaxHeight>"
        "<scan:MaxScanRegions>1</scan:MaxScanRegions>"
        f"<scan:SettingProfiles>{_profile()}</scan:SettingProfiles>"
        "<scan:SupportedIntents><scan:Intent>Document</scan:Intent>"
        "<scan:Intent>Photo</scan:Intent></scan:SupportedIntents>"
        "<scan:MaxOpticalXResolution>600</scan:MaxOpticalXResolution>"
        "<scan:MaxOpticalYResolution>600</scan:MaxOpticalYResolution>"
        f"</scan:{tag}>"
    )


def capabilities(make_and_model: str, serial: str, uuid: str, base_url: str, adf: bool) -> str:
    """ScannerCapabilities."""
    feeder = (
        "<scan:Adf>"
        f"{_input_caps('AdfSimplexInputCaps')}{_input_caps('AdfDuplexInputCaps')}"
        "<scan:FeederCapacity>35</scan:FeederCapacity><scan:AdfOptions>"
        "<scan:AdfOption>DetectPaperLoaded</scan:AdfOption><scan:AdfOption>Duplex</scan:AdfOption>"
        "</scan:AdfOptions></scan:Adf>"
    )
    return (
        f"{HEAD}<scan:ScannerCapabilities {NAMESPACES}>"
        f"<pwg:Version>{VERSION}</pwg:Version>"
        f"<pwg:MakeAndModel>{escape(make_and_model)}</pwg:MakeAndModel>"
        f"<pwg:SerialNumber>{escape(serial)}</pwg:SerialNumber>"
        f"<scan:UUID>{uuid}</scan:UUID>"
        f"<scan:AdminURI>{escape(base_url)}/</scan:AdminURI>"
        f"<scan:IconURI>{escape(base_url)}/icon-128.png</scan:IconURI>"
        f"<scan:Platen>{_input_caps('PlatenInputCaps')}</scan:Platen>"
        f"{feeder if adf else ''}</scan:ScannerCapabilities>\n"
    )


def status(state: str, adf_state: str, jobs: Iterable[JobLine]) -> str:
    """ScannerStatus; `jobs` newest first."""
    lines = "".join(
        f"<scan:JobInfo><pwg:JobUri>{job.uri}</pwg:JobUri><pwg:JobUuid>{job.uuid}</pwg:JobUuid>"
        f"<scan:Age>{job.age_s}</scan:Age>"
        f"<pwg:ImagesCompleted>{job.completed}</pwg:ImagesCompleted>"
        f"<pwg:ImagesToTransfer>{job.to_transfer}</pwg:ImagesToTransfer>"
        f"<pwg:JobState>{job.state}</pwg:JobState><pwg:JobStateReasons>"
        f"<pwg:JobStateReason>{job.reason}</pwg:JobStateReason></pwg:JobStateReasons>"
        "</scan:JobInfo>"
        for job in jobs
    )
    adf = f"<scan:AdfState>{adf_state}</scan:AdfState>" if adf_state else ""
    return (
        f"{HEAD}<scan:ScannerStatus {NAMESPACES}><pwg:Version>{VERSION}</pwg:Version>"
        f"<pwg:State>{state}</pwg:State>{adf}<scan:Jobs>{lines}</scan:Jobs></scan:ScannerStatus>\n"
    )


def image_info(uri: str, uuid: str, width: int, height: int, line_bytes: int) -> str:
    """ScanImageInfo of the page sent last."""
    return (
        f"{HEAD}<scan:ScanImageInfo {NAMESPACES}><pwg:JobUri>{uri}</pwg:JobUri>"
        f"<pwg:JobUuid>{uuid}</pwg:JobUuid><scan:ActualWidth>{width}</scan:ActualWidth>"
        f"<scan:ActualHeight>{height}</scan:ActualHeight>"
        f"<scan:ActualBytesPerLine>{line_bytes}</scan:ActualBytesPerLine></scan:ScanImageInfo>\n"
    )


def parse_settings(data: bytes, can: Abilities) -> ScanSettings:
    """Raises BadSettings."""
    if b"<!DOCTYPE" in data:
        raise BadSettings("a document type is not allowed")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as exc:
        raise BadSettings(f"not XML: {exc}") from exc
    texts = {one.tag.rpartition("}")[2]: (one.text or "").strip() for one in root.iter()}
    doc_format = texts.get("DocumentFormatExt") or texts.get("DocumentFormat") or FORMATS[0]
    color_mode = texts.get("ColorMode") or "RGB24"
    x_dpi = _number(texts, "XResolution", 300)
    y_dpi = _number(texts, "YResolution", x_dpi)
    if doc_format not in can.formats or color_mode not in can.color_modes:
        raise BadSettings(f"{color_mode} {doc_format} is not supported")
    if not (can.scan_at(x_dpi) and can.scan_at(y_dpi)):
        raise BadSettings(f"{x_dpi}x{y_dpi} dpi is not supported")
    region = Region(
        _number(texts, "XOffset", 0),
        _number(texts, "YOffset", 0),
        _number(texts, "Width", SHEET[0]),
        _number(texts, "Height", SHEET[1]),
    )
    source = texts.get("InputSource") or can.source
    source = "Feeder" if source == "Feeder" else "Platen"
    duplex = texts.get("Duplex") == "true" and source == "Feeder"
    return ScanSettings(source, duplex, color_mode, doc_format, x_dpi, y_dpi, region.clipped())


def _number(texts: dict[str, str], name: str, default: int) -> int:
    text = texts.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) > BEYOND_LIMITS:
        raise BadSettings(f"{name} is {text!r}")
    return int(text)
