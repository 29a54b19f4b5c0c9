"""Functions that a device claims to have and did not show when it was asked.

Nothing is lost in silence: each is named with the answer that came and a remedy, and asked for
again. A claim is the class descriptor's (0x21), or IPP's ipp-features-supported; that it prints
is what the interface class says. A descriptor without any capability claims nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ippusbd.daemon.observe.status import MissingStatus
from ippusbd.errors import BadXml, IppUsbError
from ippusbd.kinds import Diagnosis, Kind, Severity
from ippusbd.model import Capability, PrinterFacts

FEATURES: Final = {"scan": "scan", "faxout": "fax"}  # PWG 5100.17, 5100.15 -> our word


@dataclass(frozen=True, slots=True)
class MissingFunction:
    """`later`: it may answer the next time; `silent`: no answer came, so it is not asked again."""

    function: str  # "print", "scan" or "fax"
    claimed_by: str
    reason: Diagnosis  # what came when it was asked for
    later: bool = False
    silent: bool = False

    def status(self) -> MissingStatus:
        return MissingStatus(
            function=self.function,
            claimed_by=self.claimed_by,
            reason=self.reason,
        )


def why_missing(function: str, failure: IppUsbError) -> Diagnosis:
    """What `failure` means for a device that is served for the rest: never the worst."""
    told = failure.diagnosis
    if told.severity is Severity.ERROR:
        told = replace(told, severity=Severity.WARNING)
    if failure.kind not in (Kind.NOT_FOUND, Kind.BAD_ANSWER) or isinstance(failure, BadXml):
        return told
    return Kind.NO_FUNCTION.of(str(failure), **{**told.facts, "function": function})


def claims(capabilities: Capability | None, facts: PrinterFacts | None) -> dict[str, str]:
    """The functions that a device claims, each with what says so."""
    found: dict[str, str] = {}
    if not capabilities or Capability.PRINT in capabilities:
        found["print"] = "its USB interface class"
    for function, bit in (("scan", Capability.SCAN), ("fax", Capability.FAX)):
        if capabilities and bit in capabilities:
            found[function] = "its USB descriptor"
    for feature, function in FEATURES.items():
        if facts is not None and feature in facts.features:
            found.setdefault(function, "its IPP answer")
    return found
