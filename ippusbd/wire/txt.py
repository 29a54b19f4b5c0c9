"""The DNS-SD records of a printer, and their TXT keys.

Which records, and when, on loopback (`txt_shared` has those of a network; the flagship record
`_printer._tcp` is only there, because CUPS would list it as an unknown LPD device):

    NAME  _ipp._tcp       it prints     _universal, _print
    NAME  _uscan._tcp     it scans
    NAME  _http._tcp      always
    BBPP  _ipp-usb._tcp   always        bus and port: legacy drivers leave this device alone

Every item is `key=value` of at most 255 bytes, without control characters,
whatever the facts hold; URLs name our host and port; the UUID is the
device's own or derived from what never changes about it. Never `printer-type`:
it marks a CUPS share. Sources: Bonjour Printing 1.2.1, PWG 5100.14, Mopria eSCL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, chain, count, islice
from typing import Final, TypeAlias
from urllib.parse import quote, urljoin, urlsplit
from uuid import UUID, uuid5

from ippusbd.model import (
    BusAddress,
    DeviceFacts,
    PrinterFacts,
    ProbeResult,
    ScannerFacts,
    ServiceRecord,
    ServiceSet,
)
from ippusbd.wire.descriptors import device_id_fields
from ippusbd.wire.text import clip, utf8_line

Txt: TypeAlias = tuple[tuple[str, str], ...]

NAME_BYTES: Final = 63
ITEM_BYTES: Final = 255
# CUPS hides a printer that has none of these in `pdl`.
SEEN_BY_CUPS: Final = frozenset({"application/pdf", "image/pwg-raster", "image/urf"})
# Derived UUIDs depend on this one: changing it gives every printer another identity.
NAMESPACE: Final = UUID("efb88dc1-8c28-48cd-af50-27770c5e0037")

# Ends every name: the same device, or another of its model, may announce its bare name on the
# network, where CUPS and SANE would take the two for one.
SUFFIX: Final = " (USB)"
NAMES_KEPT: Final = 32  # the further names that a printer may have been given in a collision

_LAST_NUMBER: Final = re.compile(r"[0-9]{1,3}$", re.ASCII)
_URL_SAFE: Final = "/%:@!$&'()*+,;=~-._?"


def services(
    probe: ProbeResult, *, port: int, suffix: str = SUFFIX, host: str = "localhost"
) -> ServiceSet:
    """All records of one printer that serves on `port`, under the first of its `names`.

    `host`: what our own URLs call this machine.
    """
    name = next(names(base_name(probe), suffix))
    fixed = ServiceRecord(_bus_position(probe.device.address), "_ipp-usb._tcp", port)
    records = _records(probe, name, port, f"http://{host}:{port}/")
    return ServiceSet(name, tuple(records), (fixed,), suffix)


def _records(probe: ProbeResult, name: str, port: int, root: str) -> Iterator[ServiceRecord]:
    if probe.printer:
        txt = _printer_txt(probe, probe.printer, root)
        yield ServiceRecord(name, "_ipp._tcp", port, ("_universal", "_print"), txt)
    if probe.scanner:
        txt = _scanner_txt(probe, probe.scanner, root)
        yield ServiceRecord(name, "_uscan._tcp", port, (), txt)
    yield ServiceRecord(name, "_http._tcp", port)


# --- names


def base_name(probe: ProbeResult) -> str:
    """The device's name without a suffix."""
    return next(_own_names(probe))


def _own_names(probe: ProbeResult) -> Iterator[str]:
    """The printer's DNS-SD name, model, info, then USB strings."""
    printer, scanner = probe.printer or PrinterFacts(), probe.scanner or ScannerFacts()
    candidates = (
        printer.dns_sd_name,
        printer.make_and_model,
        printer.info,
        probe.device.model,
        scanner.make_and_model,
        f"USB printer {probe.device.usb_id}",
    )
    return filter(None, map(utf8_line, candidates))


def names(base: str, suffix: str = SUFFIX) -> Iterator[str]:
    """`NAME (USB)`, `NAME (USB 2)` and so on, each at most 63 bytes; without `suffix`, NAME first.

    A base with such a suffix continues from there.
    """
    plain, start = utf8_line(base) or "USB printer", 1
    head, tail = map(re.escape, _halves(suffix or SUFFIX))
    numbered = re.fullmatch(rf"(.+){head}(?: ([2-9]|[1-9]\d{{1,3}}))?{tail}", plain, re.ASCII)
    if numbered:
        plain, start = numbered[1], int(numbered[2] or 1)
    elif not suffix:
        yield clip(plain, NAME_BYTES)
    yield from (_numbered(plain, suffix or SUFFIX, number) for number in count(start))


def may_keep(name: str, probe: ProbeResult, suffix: str, *, taken_over: bool) -> bool:
    """Whether a printer keeps the `name` it had: its own name and `suffix` have not changed.

    A name `taken_over` from ipp-usb is kept whatever its suffix: print queues refer to it.
    """
    if taken_over and any(map(name.startswith, _own_names(probe))):
        return True
    return is_made_of(base_name(probe), name, suffix)


def is_made_of(base: str, name: str, suffix: str) -> bool:
    """Whether `name` is one of those for `base`."""
    return name in islice(names(base, suffix), NAMES_KEPT)


def _halves(suffix: str) -> tuple[str, str]:
    """What stands before the number and after it: ` (USB` and `)`."""
    return (suffix[:-1], ")") if suffix.endswith(")") else (suffix, "")


def _numbered(plain: str, suffix: str, number: int) -> str:
    head, tail = _halves(suffix)
    ending = suffix if number == 1 else f"{head} {number}{tail}"
    return clip(plain, NAME_BYTES - len(ending.encode())) + ending


def _bus_position(address: BusAddress) -> str:
    """BBPP: bus and port in hexadecimal; the port is the last hub's, as legacy drivers expect."""
    last = _LAST_NUMBER.search(address.port_path)
    port = int(last[0]) if last else address.address
    return f"{address.bus:02X}{port:02X}"


# --- identity


def derived_uuid(device: DeviceFacts) -> str:
    """A UUID of vendor, product and serial, else of vendor, product and bus position."""
    identity = (
        f"{device.usb_id}:{device.serial}"
        if device.serial
        else f"{device.usb_id}@{device.address.place}"
    )
    return str(uuid5(NAMESPACE, identity.encode("utf-8", "backslashreplace").decode()))


def _usb_txt(device: DeviceFacts) -> Iterator[tuple[str, str]]:
    """What tells which USB device this is (the peer's format, so that its readers understand)."""
    if device.serial:
        yield "usb_SER", device.serial
    yield "usb_HWID", f"{device.usb_id.vendor:04x}&{device.usb_id.product:04x}"


# --- TXT records


def _printer_txt(probe: ProbeResult, printer: PrinterFacts, root: str) -> Txt:
    model = printer.make_and_model or probe.device.model or printer.info
    ids = device_id_fields(printer.device_id or probe.device.device_id)
    return _items(
        ("txtvers", "1"),
        ("qtotal", "1"),
        ("priority", "50"),
        ("rp", "ipp/print"),
        ("air", "none"),
        ("ty", model or None),
        ("product", f"({_clean('product', model, 2)})" if model else None),
        ("note", printer.location),
        ("pdl", _formats(printer.pdl)),
        ("URF", _listed("URF", printer.urf)),
        ("UUID", printer.uuid or derived_uuid(probe.device)),
        ("Color", _flag(printer.color)),
        ("Duplex", _flag(printer.duplex)),
        ("Scan", _flag(probe.scanner is not None)),
        ("Fax", _flag(probe.fax)),
        ("rfo", "ipp/faxout" if probe.fax else None),
        ("kind", _listed("kind", printer.kind)),
        ("PaperMax", printer.paper_max or None),
        ("adminurl", _first_url("adminurl", root, model, printer.more_info) or root),
        ("mopria-certified", printer.mopria or None),
        ("usb_MFG", ids.get("MFG")),
        ("usb_MDL", ids.get("MDL")),
        ("usb_CMD", _listed("usb_CMD", (ids.get("CMD", ""),))),
        *_usb_txt(probe.device),
    )


def _scanner_txt(probe: ProbeResult, scanner: ScannerFacts, root: str) -> Txt:
    printer = probe.printer or PrinterFacts()
    model, more_info, icon = _scanner_model(probe, scanner), printer.more_info, printer.icon
    return _items(
        ("txtvers", "1"),
        ("vers", scanner.version or "2.0"),
        ("rs", "eSCL"),
        ("ty", model or None),
        ("pdl", _listed("pdl", scanner.pdl)),
        ("cs", _listed("cs", scanner.color_spaces)),
        ("is", _listed("is", scanner.sources)),
        ("duplex", _flag(scanner.duplex)),
        ("UUID", scanner.uuid or printer.uuid or derived_uuid(probe.device)),
        ("adminurl", _first_url("adminurl", root, model, scanner.admin_uri, more_info) or root),
        ("representation", _first_url("representation", root, model, scanner.icon_uri, icon)),
        *_usb_txt(probe.device),
    )


def _scanner_model(probe: ProbeResult, scanner: ScannerFacts) -> str:
    """eSCL's MakeAndModel, unless it is a code name of the firmware (`pst_p04f`)."""
    printed = probe.printer.make_and_model if probe.printer else ""
    known = f"{printed} {probe.device.model}"
    if known.isspace() or _words(scanner.make_and_model) & _words(known):
        return scanner.make_and_model
    return printed or probe.device.model


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower().replace("_", " ")))


def _items(*pairs: tuple[str, str | None]) -> Txt:
    """The pairs that have a value, cleaned and cut to the limit."""
    return tuple((key, _clean(key, value)) for key, value in pairs if value is not None)


def _room(key: str) -> int:
    """The most bytes that the value of `key` may have."""
    return ITEM_BYTES - len(key) - 1


def _clean(key: str, value: str, reserved_bytes: int = 0) -> str:
    return utf8_line(value, _room(key) - reserved_bytes)


def _flag(truth: bool | None) -> str | None:
    return None if truth is None else "FT"[truth]


def _first_url(key: str, root: str, model: str, *urls: str) -> str | None:
    """The first of the `urls` of a printer of that model that is usable."""
    return next(filter(None, (_local_url(key, url, root, model) for url in urls)), None)


def _local_url(key: str, url: str, root: str, model: str) -> str | None:
    """The printer's URL below our `root`; None if it is the maker's, or too long.

    Relative ones are those of ScannerCapabilities; "none" is none of them.
    """
    try:
        url = utf8_line(url)
        parts = urlsplit(urljoin(f"{root}eSCL/", url) if "/" in url else url)
        host = parts.hostname or ""
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or _is_makers_site(host, model):
        return None
    tail = quote(parts.path.lstrip("/"), safe=_URL_SAFE)
    query = f"?{quote(parts.query, safe=_URL_SAFE)}" if parts.query else ""
    fragment = f"#{quote(parts.fragment, safe=_URL_SAFE)}" if parts.fragment else ""
    local = f"{root}{tail}{query}{fragment}"
    return local if len(local) <= _room(key) else None


def _is_makers_site(host: str, model: str) -> bool:
    """`www.example.com`, or `support.example.com` of an "Example 4711"."""
    *labels, last = host.rstrip(".").lower().split(".")
    domain = set(labels[1:] or labels)  # without the host's own label: "printer"
    return labels[:1] == ["www"] or (last != "local" and bool(_words(model) & domain))


def _formats(pdl: Iterable[str]) -> str | None:
    """The first formats that fit; first those that CUPS needs, if they would be cut off."""
    formats = _entries("pdl", pdl)
    seen = [entry for entry in formats if entry.lower() in SEEN_BY_CUPS]
    fitting = _fitting("pdl", formats)
    if not set(seen) <= set(fitting):
        fitting = _fitting("pdl", list(dict.fromkeys(chain(seen, formats))))
    return ",".join(fitting) or None


def _listed(key: str, entries: Iterable[str]) -> str | None:
    """A comma-separated list of the first entries that fit; None if there is none."""
    return ",".join(_fitting(key, _entries(key, entries))) or None


def _entries(key: str, values: Iterable[str]) -> list[str]:
    """Single entries without duplicates; some firmware puts several into one value."""
    parts = (utf8_line(part) for value in values for part in value.split(","))
    return [part for part in dict.fromkeys(parts) if 0 < len(part.encode()) <= _room(key)]


def _fitting(key: str, entries: list[str]) -> list[str]:
    """As many of the first entries as fit, with a comma between them."""
    ends = accumulate(len(entry.encode()) + 1 for entry in entries)
    return [entry for entry, end in zip(entries, ends, strict=True) if end - 1 <= _room(key)]
