"""What can be set for a single model, and where a value came from.

Each field is one key of a quirk file. Its default is what a printer without
defects gets, so an entry names only what its model needs different.

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


def _header(*words: str, nothing: str) -> Check:
    """A word of the file as the value of a header; `nothing` stands for the ordinary one."""
    check = one_of(nothing, *words)

    def value_of(value: object) -> str | None:
        word = check(value)
        return None if word == nothing else str(word)

    return value_of


def _host(value: object) -> str:
    return str(_header("localhost", nothing="localhost:PORT")(value) or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The settings of one device."""

    # --- whether and how it is used

    # Leave the device to other drivers; the entry's reason is shown in `status`.
    ignore_device: bool = setting(False, "ignore_device", boolean)
    # Use at most so many interfaces; None: all. For firmware that hangs with two in use.
    max_interfaces: int | None = setting(None, "max_interfaces", integer(1, 32))
    # Ask for these at start, and announce them if the printer has them.
    print: bool = setting(True, "print", boolean)
    scan: bool = setting(True, "scan", boolean)
    fax: bool = setting(True, "fax", boolean)
    # Give the interfaces back to the kernel when idle. For devices that mix badly with usblp.
    idle_release: bool = setting(True, "idle_release", boolean)
    # Send nothing to the printer until the first client asks.
    passive: bool = setting(False, "passive", boolean)

    # --- who it is

    # Instead of the device's own strings. For firmware that gives wrong ones.
    manufacturer: str = setting("", "manufacturer", text(64))
    product: str = setting("", "product", text(64))

    # --- at start

    soft_reset_at_start: bool = setting(False, "soft_reset_at_start", boolean)
    # A USB reset before the strings are read.
    hard_reset_at_start: bool = setting(False, "hard_reset_at_start", boolean)
    # How SOFT_RESET is sent: recipient "interface" (USB 1.1 text), "other" (early text), both
    # after each other, or never (ET-4750 hangs).
    soft_reset: str = setting("both", "soft_reset", one_of("both", "interface", "other", "never"))
    # Wait so long between plug-in and the first request.
    start_delay_s: float = setting(0.0, "start_delay_s", seconds(0, 120))
    # How long the first answers may take; None: probe_s of the configuration.
    start_timeout_s: float | None = setting(None, "start_timeout_s", seconds(0.1, 600))
    # A part that is "not found" at start is asked for again until it is, as one that is busy is.
    retry_partial_start: bool = setting(False, "retry_partial_start", boolean)
    # Take the answer to Get-Printer-Attributes for good although its status is an error.
    ignore_ipp_status: bool = setting(False, "ignore_ipp_status", boolean)

    # --- HTTP and IPP

    # The Connection header that the printer sees; None ("drop"): none.
    connection: str | None = setting(
        None, "connection", _header("keep-alive", "close", nothing="drop")
    )
    # The Host header that the printer sees; "" ("localhost:PORT"): with the port.
    host_header: str = setting("", "host_header", _host)
    # Silence of so long in the middle of an answer means that the printer cut it there; None: wait.
    cut_response_s: float | None = setting(None, "cut_response_s", seconds(0.1, 600))
    # Repair IPP answers with badly encoded collections before a client sees them.
    sanitize_ipp: bool = setting(False, "sanitize_ipp", boolean)
    # Pause between the end of an answer and the next request on the same interface.
    request_pause_s: float = setting(0.0, "request_pause_s", seconds(0, 10))

    # --- USB transfers

    # At most so many bytes per transfer; None: transfer_bytes of the configuration.
    read_bytes: int | None = setting(None, "read_bytes", integer(1024, 1 << 22))
    write_bytes: int | None = setting(None, "write_bytes", integer(64, 1 << 22))
    # Pause between two OUT transfers.
    write_pause_s: float = setting(0.0, "write_pause_s", seconds(0, 1))


KNOWN: Final[Mapping[str, Known]] = known_keys(Quirks)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting was made: file and line, the entry's pattern and reason."""

    file: str
    line: int
    pattern: str
    reason: str
    value: object = None  # as it stands in the file

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective(Quirks):
    """The settings of one device, and the origin of each that differs from the default's."""

    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def ignore_reason(self) -> str:
        """Why the device is to be left alone; empty when it is not."""
        return self.origins["ignore_device"].reason if self.ignore_device else ""
