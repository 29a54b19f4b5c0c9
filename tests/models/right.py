"""The right values: what follows from the captured answers, and two tables.

`right.toml` has the models of tests/data, `captured.toml` facts about models whose answers are no
part of the project. A value is compared from its beginning.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from ippusbd.virtual.model_file import DeviceAnswers
from ippusbd.wire import ipp
from ippusbd.wire.ipp import Tag


def _table(name: str) -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


RIGHT = _table("right.toml")
CAPTURED = _table("captured.toml")
PDL_BYTES = 251  # of `pdl=...` in a TXT record; a longer list is cut
OURS = "http://localhost:"  # where every link must lead


def wrong(name: str, answers: DeviceAnswers, values: dict[str, str]) -> list[str]:
    """What is not as it must be, or failed where the table does not expect it."""
    table = {**RIGHT, **CAPTURED}.get(name, {})
    expected = {**dict(_printer(answers.ipp)), **dict(_scanner(answers.xml)), **table}
    failed = [
        f"{key}: {value}"
        for key, value in values.items()
        if value.startswith("FAILED") and key not in table
    ]
    return failed + [
        f"{key}: {values.get(key)!r}, right is {right!r}"
        for key, right in expected.items()
        if not (key in values and values[key].startswith(right))
    ]


def _printer(answer: bytes) -> Iterator[tuple[str, str]]:
    """PWG 5100.14 and the Bonjour Printing Specification: which attribute becomes which key."""
    if not answer:
        return
    attributes = ipp.decode(answer, tolerant=True)[0].group(Tag.PRINTER)
    yield "everywhere", "T"
    yield "printed", ""
    if (model := attributes.get("printer-make-and-model")) and model.texts:
        yield "ipp.ty", model.texts[0]
        own_name = attributes.get("printer-dns-sd-name") or model
        yield "ipp.name", f"{own_name.texts[0]} (USB)"
    if formats := attributes.get("document-format-supported"):
        yield "ipp.pdl", ",".join(formats.texts)[:PDL_BYTES].rpartition(",")[0]
    if kind := attributes.get("printer-kind"):
        yield "ipp.kind", ",".join(kind.texts)
    if features := attributes.get("ipp-features-supported"):
        yield "ipp.Fax", "T" if "faxout" in features.texts else "F"
    if color := attributes.get("color-supported"):
        yield "ipp.Color", "T" if color.values[0].boolean else "F"
    if sides := attributes.get("sides-supported"):
        yield "ipp.Duplex", "T" if any(one.startswith("two") for one in sides.texts) else "F"
    if (mopria := attributes.get("mopria-certified")) and mopria.texts:
        yield "ipp.mopria-certified", mopria.texts[0].removeprefix("mopria-certified ")
    if attributes.get("printer-more-info"):
        yield "ipp.adminurl", OURS


def _scanner(xml: bytes) -> Iterator[tuple[str, str]]:
    """Mopria's eSCL specification, the keys of _uscan._tcp."""
    if not xml:
        return
    yield "scan.ty", _text(xml, b"MakeAndModel")
    yield "scan.duplex", "T" if re.search(rb"AdfDuplexInputCaps|AdfOption>Duplex", xml) else "F"
    if _text(xml, b"AdminURI"):
        yield "scan.adminurl", OURS
    if _text(xml, b"IconURI"):
        yield "scan.representation", OURS
    yield "scanned", ""


def _text(xml: bytes, element: bytes) -> str:
    found = re.search(rb"<(?:\w+:)?%b>([^<]*)<" % element, xml)
    return found[1].decode().strip() if found else ""
