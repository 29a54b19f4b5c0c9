"""The records of a shared printer for a network, made from those of this machine.

There it is `_ipps._tcp` and `_uscans._tcp`, under a name that includes the machine's, without
links to localhost, which other machines cannot open. Pages are linked only if the console is open
to the network. Records for drivers of this machine (`_ipp-usb._tcp`) are not announced there.

Pure. Knows the records that `txt` makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ippusbd.model import ServiceRecord, ServiceSet
from ippusbd.wire.text import clip
from ippusbd.wire.txt import ITEM_BYTES, NAME_BYTES, Txt

TLS: Final = "1.2"  # the least version that clients need
_SECURE: Final = {"_ipp._tcp": "_ipps._tcp", "_uscan._tcp": "_uscans._tcp"}
_LINKS: Final = frozenset({"adminurl", "representation"})


def shared(
    services: ServiceSet, *, machine: str, host: str, console: bool, passwords: bool
) -> ServiceSet:
    """`services` for a network on which this machine is called `host` (`desk.local`).

    `machine` goes into the name; `console`: all paths may be opened; `passwords`: clients need one.
    """
    name = _name(services.name, machine)
    records = []
    for record in services.records:
        kind = _SECURE.get(record.type)
        if kind is not None:
            txt = tuple(_items(record, host, console=console, passwords=passwords))
            records.append(ServiceRecord(name, kind, record.port, record.subtypes, txt))
    if any(record.type == "_ipps._tcp" for record in records):
        # The flagship record of Bonjour printing reserves the name for printers; port 0: no LPD.
        records.append(ServiceRecord(name, "_printer._tcp", 0))
    return ServiceSet(name, tuple(records))


def _name(name: str, machine: str) -> str:
    where = f" @ {clip(machine, 24)}"
    return clip(name, NAME_BYTES - len(where.encode())) + where


def _items(
    record: ServiceRecord, host: str, *, console: bool, passwords: bool
) -> Iterator[tuple[str, str]]:
    for key, value in record.txt:
        if key == "air":
            yield key, "username,password" if passwords else "none"
        elif key not in _LINKS:
            yield key, value
        elif console:
            yield from _link(record, key, value, host)
    if record.type == "_ipp._tcp":
        yield "TLS", TLS


def _link(record: ServiceRecord, key: str, value: str, host: str) -> Txt:
    here = f":{record.port}/"
    link = f"https://{host}{here}{value.partition(here)[2]}"
    fits = here in value and len(f"{key}={link}".encode()) <= ITEM_BYTES
    return ((key, link),) if fits else ()
