"""A captured device behind the virtual one: what it answered, and what it claims to support.

The IPP answer keeps its version, status, attributes and their order; `requested-attributes`
selects from it, and the printer's present state replaces the captured one, so that jobs print. An
answer that breaks the encoding rules cannot be selected from and is sent whole, as it was captured.

Knows IPP values and eSCL's element names; neither jobs nor HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ippusbd.errors import BadIpp, WrongUsage
from ippusbd.model import Capability
from ippusbd.virtual.model_file import SIZE_MAX, DeviceAnswers
from ippusbd.virtual.services.escl_xml import Abilities
from ippusbd.virtual.services.ipp_attributes import Table
from ippusbd.virtual.services.pictures import FORMATS
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Attribute, Group, Message, Tag

LIMITS: Final = ipp.Limits(size_bytes=SIZE_MAX, items=1 << 20)
DPI: Final = re.compile("[0-9]{1,5}")
RANGE_DPI: Final = 1200  # the highest resolution where a range is claimed
PRESENT: Final = frozenset(
    {
        "printer-state",
        "printer-state-reasons",
        "printer-is-accepting-jobs",
        "queued-job-count",
        "printer-up-time",
    }
)


class CapturedPrinter:
    """The answer to Get-Printer-Attributes. Raises ConfigError if it is not an IPP message."""

    def __init__(self, raw: bytes) -> None:
        try:
            readable, end = ipp.decode(raw, tolerant=True, limits=LIMITS)
        except BadIpp as exc:
            raise WrongUsage(f"model file: the IPP answer cannot be decoded: {exc}") from exc
        self._raw = raw[:end]
        self._message = _strict(self._raw)
        self.attributes: Table = {
            one.name: one.values
            for group in readable.groups
            if group.tag == Tag.PRINTER
            for one in reversed(group.attributes)  # of equal names the first counts
        }

    def text(self, name: str) -> str:
        """An attribute's first string, "" if it has none."""
        values = self.attributes.get(name, ())
        return next((value.text for value in values if value.text), "")

    def answer(self, request: Message, wanted: Callable[[str], bool], present: Table) -> bytes:
        """Encoded; `present` has the current values of attributes in PRESENT."""
        if self._message is None:
            encoded = self._raw
        else:
            groups = tuple(_selected(one, wanted, present) for one in self._message.groups)
            encoded = ipp.encode(replace(self._message, groups=groups))
        return encoded[:4] + request.request_id.to_bytes(4, "big") + encoded[8:]


def _strict(raw: bytes) -> Message | None:
    try:
        return ipp.decode(raw, limits=LIMITS)[0]
    except BadIpp:
        return None


def _selected(group: Group, wanted: Callable[[str], bool], present: Table) -> Group:
    if group.tag != Tag.PRINTER:
        return group
    return Group(
        group.tag,
        tuple(
            Attribute(one.name, present[one.name]) if one.name in present else one
            for one in group.attributes
            if wanted(one.name)
        ),
    )


class CapturedScanner:
    """The ScannerCapabilities, as text that encodes to the same bytes."""

    def __init__(self, raw: bytes) -> None:
        self.text = raw.decode("utf-8", "surrogateescape")
        self.has_platen = self._has("Platen")
        self.has_adf = self._has("Adf")

    def abilities(self) -> Abilities:
        """What it claims, as far as the virtual scanner has a picture for it."""
        resolutions = [int(one) for one in self.values("XResolution") if DPI.fullmatch(one)]
        open_ended = self._has("ResolutionRange") or not resolutions
        claimed = {*self.values("DocumentFormat"), *self.values("DocumentFormatExt")}
        return Abilities(
            formats=claimed & set(FORMATS) or FORMATS,
            color_modes=frozenset(self.values("ColorMode")),
            resolutions=resolutions,
            any_dpi=RANGE_DPI if open_ended else 0,
            source="Platen" if self.has_platen else "Feeder",
        )

    def _has(self, element: str) -> bool:
        return re.search(rf"<(?:[\w.-]+:)?{element}[\s/>]", self.text) is not None

    def values(self, element: str) -> list[str]:
        """The texts of all elements of that name, whatever their namespace's prefix."""
        found = re.findall(rf"<(?:[\w.-]+:)?{element}(?:\s[^>]*)?>([^<]*)<", self.text)
        return [one.strip() for one in found if one.strip()]


class CapturedDevice:
    """All that is known of the device; None: it does not have the function."""

    def __init__(self, answers: DeviceAnswers) -> None:
        self.printer = CapturedPrinter(answers.ipp) if answers.ipp else None
        self.scanner = CapturedScanner(answers.xml) if answers.xml else None

    @property
    def model(self) -> str:
        """Maker and model, "" if neither answer has them."""
        named = self.printer.text("printer-make-and-model") if self.printer else ""
        if not named and self.scanner:
            named = next(iter(self.scanner.values("MakeAndModel")), "")
        return " ".join(named.split())

    @property
    def device_id(self) -> str:
        return self.printer.text("printer-device-id") if self.printer else ""

    @property
    def capabilities(self) -> Capability:
        found = Capability.HTTP
        if self.printer:
            found |= Capability.PRINT
            features = self.printer.attributes.get("ipp-features-supported", ())
            if any(value.text == "faxout" for value in features):  # PWG 5100.15
                found |= Capability.FAX
        if self.scanner:
            found |= Capability.SCAN
        return found
