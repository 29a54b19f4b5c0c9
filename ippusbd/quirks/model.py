"""The settings of a model, and the origin of each value.

Each field is one key of a quirk file. Its default is what a device without
defects gets, so an entry names only what its model needs otherwise. The texts
here are the manual page's (packaging/man/make-quirks-page).

Pure: no file, no clock, no log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ippusbd.toml_schema import (
    Check,
    Known,
    boolean,
    integer,
    known_keys,
    one_of,
    seconds,
    setting,
    text,
)
from ippusbd.wire import http1


def _header(*words: str, nothing: str) -> Check:
    """A word of the file as the value of a header; `nothing` stands for the default."""
    check = one_of(nothing, *words)

    def value_of(value: object) -> str | None:
        word = check(value)
        return None if word == nothing else str(word)

    return value_of


def _host(value: object) -> str:
    return str(_header("localhost", nothing="localhost:PORT")(value) or "")


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    """A table of header fields. Connection and Host have keys of their own."""
    check = text(255)
    if not isinstance(value, dict):
        raise ValueError('must be a table of header fields like { User-Agent = "name" }')
    for name in value:
        if not http1.may_override(name):
            raise ValueError(f"must be fields that may be replaced, which {name} may not")
    fields = {name.lower(): _ascii(check(each)) for name, each in value.items()}
    return tuple(fields.items())


def _ascii(value: object) -> str:
    if not str(value).isascii():
        raise ValueError("must be texts in ASCII")
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The settings of one device."""

    # --- whether and how it is used

    ignore_device: bool = setting(
        False,
        "ignore_device",
        boolean,
        "Leave the device to other drivers. The entry's reason is shown by ippusbd status. For "
        "devices whose IPP-over-USB interface does not work (HP Laser 107a: 404 to everything).",
    )
    max_interfaces: int | None = setting(
        None,
        "max_interfaces",
        integer(1, 32),
        "Use at most this many interfaces. For firmware that hangs when two are used at once "
        "(Brother QL-810W).",
        unset="all",
    )
    print: bool = setting(
        True, "print", boolean, "Ask for a printer at start, and announce it if there is one."
    )
    scan: bool = setting(
        True, "scan", boolean, "Ask for a scanner at start, and announce it if there is one."
    )
    fax: bool = setting(
        True,
        "fax",
        boolean,
        "Ask for a fax queue at start, and announce it if there is one. False for devices without "
        "fax that never answer the question (HP ENVY 5530).",
    )
    idle_release: bool = setting(
        True,
        "idle_release",
        boolean,
        "Release the interfaces to the kernel when idle, so that other drivers can use the device. "
        "False for devices that fail after a change between drivers.",
    )
    passive: bool = setting(
        False, "passive", boolean, "Send nothing to the device before the first client's request."
    )

    # --- who it is

    manufacturer: str = setting(
        "",
        "manufacturer",
        text(64),
        "Use this instead of the device's own string. For firmware that gives wrong ones "
        "(Xerox B205).",
    )
    product: str = setting(
        "", "product", text(64), "Use this instead of the device's own string, as manufacturer."
    )

    # --- at start

    soft_reset_at_start: bool = setting(
        False,
        "soft_reset_at_start",
        boolean,
        "Send the printer class request SOFT_RESET before the first request. For firmware whose "
        "first transfer otherwise times out (HP OfficeJet Pro 8710).",
    )
    hard_reset_at_start: bool = setting(
        False,
        "hard_reset_at_start",
        boolean,
        "Reset the device on the bus before its strings are read (Xerox B205).",
    )
    soft_reset: str = setting(
        "both",
        "soft_reset",
        one_of("both", "interface", "other", "never"),
        "How SOFT_RESET is sent: with the recipient interface (text of USB 1.1) or other (an "
        "earlier text), both one after the other, or never, for firmware that hangs after it "
        "(Epson ET-4750).",
    )
    start_delay_s: float = setting(
        0.0, "start_delay_s", seconds(0, 120), "Wait this long between plug-in and first request."
    )
    start_timeout_s: float | None = setting(
        None,
        "start_timeout_s",
        seconds(0.1, 600),
        "How long the first answers may take.",
        unset="probe_s of section [printers] in ippusbd.conf",
    )
    retry_partial_start: bool = setting(
        False,
        "retry_partial_start",
        boolean,
        "Ask again for a function that answers 404 at start, as for one that is busy. For devices "
        "whose functions become ready one after the other (HP LaserJet M406).",
    )
    ignore_ipp_status: bool = setting(
        False,
        "ignore_ipp_status",
        boolean,
        "Use the attributes in the answer to Get-Printer-Attributes even if its status is an error "
        "and formats are missing (Canon SELPHY CP1500).",
    )

    # --- HTTP and IPP

    connection: str | None = setting(
        None,
        "connection",
        _header("keep-alive", "close", nothing="drop"),
        "The Connection header that the device gets; drop sends none. HP LaserJet MFP M28 needs "
        "keep-alive, HP OfficeJet Pro 8730 close.",
        unset='"drop"',
    )
    host_header: str = setting(
        "",
        "host_header",
        _host,
        "The Host header that the device gets. Some devices refuse anything but localhost without "
        "port, others need the port.",
        unset='"localhost:PORT"',
    )
    cut_response_s: float | None = setting(
        None,
        "cut_response_s",
        seconds(0.1, 600),
        "Silence of this length in the middle of an answer means that the device stopped there.",
        unset="silence ends no answer",
    )
    sanitize_ipp: bool = setting(
        False,
        "sanitize_ipp",
        boolean,
        "Repair IPP answers with badly encoded collections before a client gets them (Pantum).",
    )
    headers: tuple[tuple[str, str], ...] = setting(
        (),
        "headers",
        _headers,
        "Fields that every request to the device has instead of the client's; one without a value "
        'is removed. For firmware that accepts only known clients: { User-Agent = "Windows" }. '
        "Of several entries all fields apply.",
        unset="those of the client",
    )
    request_pause_s: float = setting(
        0.0,
        "request_pause_s",
        seconds(0, 10),
        "Pause between the end of an answer and the next request on the same interface.",
    )

    # --- USB transfers

    read_bytes: int | None = setting(
        None,
        "read_bytes",
        integer(1024, 1 << 22),
        "At most this many bytes in an IN transfer.",
        unset="transfer_bytes of section [usb] in ippusbd.conf",
    )
    write_bytes: int | None = setting(
        None,
        "write_bytes",
        integer(64, 1 << 22),
        "At most this many bytes in an OUT transfer.",
        unset="transfer_bytes of section [usb] in ippusbd.conf",
    )
    write_pause_s: float = setting(
        0.0, "write_pause_s", seconds(0, 1), "Pause between two OUT transfers."
    )
    write_pause_bytes: int = setting(
        0,
        "write_pause_bytes",
        integer(0, 1 << 22),
        "write_pause_s applies only after OUT transfers of more bytes than this.",
    )
    write_zlp: bool = setting(
        False,
        "write_zlp",
        boolean,
        "End OUT transfers of whole packets with a zero-length packet. For firmware that waits for "
        "the end of such a transfer.",
    )


KNOWN: Final[Mapping[str, Known]] = known_keys(Quirks)


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a setting: file and line, the entry's pattern and reason."""

    file: str
    line: int
    pattern: str
    reason: str
    value: object = None  # as it stands in the file
    built_in: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective(Quirks):
    """The settings of one device, and the origin of each that an entry sets."""

    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def ignore_reason(self) -> str:
        """Why the device is not used; empty if it is."""
        return self.origins["ignore_device"].reason if self.ignore_device else ""
