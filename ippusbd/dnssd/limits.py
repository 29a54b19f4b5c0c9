"""Limits of DNS-SD that every publisher enforces alike, before anything is announced.

Avahi, zeroconf and a static file each fail differently on a name or TXT item that is too long,
some of them silently. So a set is checked here, and the error names the record and what is wrong
with it. Limits: RFC 6763, 4.1.1 (instance), 6.1 (TXT item), 7 (service names), 7.1 (subtypes).

Knows the values of `model`; nothing of any publisher.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

LABEL_BYTES = 63
TXT_ITEM_BYTES = 255
PORT_MAX = 65535
TYPE = re.compile(r"_[A-Za-z0-9](?:[A-Za-z0-9-]{0,13}[A-Za-z0-9])?\._(?:tcp|udp)")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NOT_SUBTYPE = re.compile(r"[\x00-\x1f\x7f.]")
SURROGATE = re.compile("[\ud800-\udfff]")
KEY = re.compile(r"[\x20-\x3c\x3e-\x7e]+")  # printable ASCII without "="


def check(services: ServiceSet) -> None:
    """Raise PublishError, naming the record, if `services` cannot be announced by DNS-SD."""
    for record in (*services.records, *services.fixed):
        for complaint in _complaints(record):
            raise PublishError(f"{describe(record)}: {complaint}")
    for record in services.records:
        if record.name != services.name:
            raise PublishError(f"{describe(record)}: not under the set's name, {services.name!r}")


def describe(record: ServiceRecord) -> str:
    """A record in messages."""
    return f"{record.name!r} {record.type}"


def txt_items(record: ServiceRecord) -> list[bytes]:
    """The TXT record's strings as they go on the wire."""
    return [f"{key}={value}".encode() for key, value in record.txt]


def _complaints(record: ServiceRecord) -> Iterator[str]:
    texts = (record.name, *record.subtypes, *(text for pair in record.txt for text in pair))
    if any(SURROGATE.search(text) for text in texts):
        yield "contains a lone surrogate, which UTF-8 cannot encode"
    length = len(record.name.encode())
    if not 1 <= length <= LABEL_BYTES:
        yield f"the name has {length} bytes, 1 to {LABEL_BYTES} are allowed"
    if CONTROL.search(record.name):
        yield "the name has a control character"
    if not TYPE.fullmatch(record.type):
        yield "not a service type like _ipp._tcp"
    if not 0 <= record.port <= PORT_MAX:
        yield f"port {record.port} is not from 0 to {PORT_MAX}"
    for subtype in record.subtypes:
        if not 1 <= len(subtype.encode()) <= LABEL_BYTES or NOT_SUBTYPE.search(subtype):
            yield f"subtype {subtype!r} is not a label of at most {LABEL_BYTES} bytes"
    yield from _txt_complaints(record)


def _txt_complaints(record: ServiceRecord) -> Iterator[str]:
    for (key, _), item in zip(record.txt, txt_items(record), strict=True):
        if not KEY.fullmatch(key):
            yield f"TXT key {key!r} is not printable ASCII without '='"
        if len(item) > TXT_ITEM_BYTES:
            yield f"TXT item {key!r} has {len(item)} bytes, at most {TXT_ITEM_BYTES} are allowed"
