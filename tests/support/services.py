"""Sets of services as a printer has them."""

from __future__ import annotations

from itertools import count
from os import getpid

from ippusbd.model import ServiceRecord, ServiceSet

TXT = (
    ("txtvers", "1"),
    ("ty", "Drucker für alle"),
    ("note", 'a "quoted" \\ place; with = and , inside'),
    ("pdl", "application/pdf,image/urf"),
    ("air", ""),
)


def make_services(name: str, *, port: int = 60000, mark: str = "0102") -> ServiceSet:
    """A printer's records."""
    return ServiceSet(
        name,
        (
            ServiceRecord(name, "_ipp._tcp", port, ("_universal", "_print"), TXT),
            ServiceRecord(name, "_uscan._tcp", port, (), (("txtvers", "1"), ("rs", "eSCL"))),
            ServiceRecord(name, "_http._tcp", port),
        ),
        (ServiceRecord(mark, "_ipp-usb._tcp", port),),
    )


_serial = count(1)


def fresh_name(kind: str = "Printer") -> str:
    """A name that no other test uses, not even one that runs beside this one."""
    return f"{kind} {getpid()}-{next(_serial)}"


def fresh_mark() -> str:
    """As `fresh_name`, for the record with a name of its own."""
    return f"{getpid():06X}{next(_serial):02X}"
