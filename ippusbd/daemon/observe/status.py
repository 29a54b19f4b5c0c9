"""The status of the daemon and its printers: one type for everybody who reads it.

`Daemon.status` makes it; `ippusbd status`, the status page, the metrics and doctor read it. Its
JSON, at the control socket and of `ippusbd status --json`, is encoded from it field by field, and
ippusbd-status(5) is made of the texts here. `SCHEMA` counts changes that a reader must know of:
a field or a value that is removed, renamed or has another meaning. New fields do not count.

Values only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from ippusbd.daemon.printer.states import State
from ippusbd.dataclass_json import decode
from ippusbd.errors import OtherDaemon
from ippusbd.kinds import Diagnosis
from ippusbd.model import Awaits, Supply
from ippusbd.wire.state_reasons import Advice

SCHEMA: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceCounts:
    """USB interfaces of a printer, by use."""

    total: Annotated[int, "All that are used."] = 0
    in_use: Annotated[int, "With an exchange on them."] = 0
    broken: Annotated[int, "Not working; they are being recovered."] = 0
    waiting: Annotated[int, "Requests that wait for an interface."] = 0
    released: Annotated[int, "Released to the kernel until the next request."] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStatus:
    """USB bulk transfers of a printer since the start of the daemon."""

    submitted: Annotated[int, "All that were begun."] = 0
    completed: Annotated[int, "Those that ended by themselves."] = 0
    cancelled: Annotated[int, "Those that the daemon ended."] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingStatus:
    """A function that a device claims to have and does not show."""

    function: Annotated[str, '"print", "scan" or "fax".'] = ""
    claimed_by: Annotated[str, "What says that it has it."] = ""
    reason: Annotated[Diagnosis, "What came when it was asked for."] = field(
        default_factory=Diagnosis
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedExchange:
    """An exchange that the daemon ended."""

    age_s: Annotated[float, "How long ago, in seconds."] = 0.0
    interface: Annotated[int, "The number of its USB interface."] = 0
    proof: Annotated[str, "Why the interface counted as unresponsive."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeStatus:
    """An HTTP exchange with the printer, or a request that waits for an interface."""

    interface: Annotated[int | None, "The number of its USB interface; null: it waits for one."]
    client: Annotated[str, "The program, as the kernel or itself names it, and its user."]
    request: Annotated[str, "Method and path."]
    kind: Annotated[str, '"document", "scan", "question", "page", "long poll" or "other".']
    size: Annotated[int | None, "Bytes of the request's body; null: not known."] = None
    bytes_out: Annotated[int, "Bytes sent to the printer."] = 0
    bytes_in: Annotated[int, "Bytes read from it."] = 0
    for_s: Annotated[float, "How long it has lasted or waited, in seconds."] = 0.0
    still_s: Annotated[float, "How long no byte has moved, in seconds."] = 0.0
    waits_for: Annotated[Awaits, "Whose turn it is."] = Awaits.INTERFACE
    is_left: Annotated[bool, "Its client has left; it is being finished."] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionStatus:
    """What the printer reports about itself."""

    state: Annotated[str, '"idle", "printing", "stopped"; empty: not reported.'] = ""
    message: Annotated[str, "Its printer-state-message."] = ""
    asks: Annotated[tuple[Advice, ...], "Its printer-state-reasons, the gravest first."] = ()
    supplies: Annotated[tuple[Supply, ...], "Toner, ink, waste containers and others."] = ()
    pages: Annotated[int | None, "Pages printed since manufacture."] = None
    sheets: Annotated[int | None, "Sheets printed since manufacture."] = None
    jobs: Annotated[int | None, "Jobs that it has not finished; null: not reported."] = None
    since_s: Annotated[float, "For how long it has reported these reasons, in seconds."] = 0.0
    age_s: Annotated[float, "How long ago it was reported, in seconds."] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrinterStatus:
    """A printer, plugged in or not."""

    id: Annotated[str, "USB id, VID:PID."] = ""
    serial: Annotated[str, "Serial number of its USB descriptor."] = ""
    address: Annotated[str, "Bus and device number, while it is plugged in."] = ""
    model: Annotated[str, "Manufacturer and product."] = ""
    virtual: Annotated[bool, "It is software: `ippusbd run --virtual`."] = False
    state: Annotated[State, "What the daemon does with it."] = State.AWAY
    reason: Annotated[Diagnosis | None, "Why it is in this state; null: as it should be."] = None
    port: Annotated[int, "Its TCP port on loopback; 0: none yet."] = 0
    name: Annotated[str, "The name that it is announced with."] = ""
    announced: Annotated[
        str, '"established" while programs can find it; else what is the matter.'
    ] = "no"
    url: Annotated[str, "Its web console."] = ""
    interfaces: Annotated[InterfaceCounts, "Its USB interfaces, by use."] = InterfaceCounts()
    missing: Annotated[
        tuple[MissingStatus, ...], "Functions that it claims to have and does not show."
    ] = ()
    troubles: Annotated[tuple[Diagnosis, ...], "What does not work while it is served."] = ()
    exchanges: Annotated[tuple[ExchangeStatus, ...], "What it is doing for whom."] = ()
    waits_for: Annotated[
        str, "Why a stalled exchange is not ended: what the daemon knows; empty: none stalls."
    ] = ""
    waits_s: Annotated[float, "For how long, in seconds."] = 0.0
    ended: Annotated[tuple[EndedExchange, ...], "Exchanges that were ended lately."] = ()
    condition: Annotated[ConditionStatus | None, "What it reports; null: nothing yet."] = None
    requests: Annotated[int, "HTTP requests since the start of the daemon."] = 0
    bytes_in: Annotated[int, "Bytes read from it."] = 0
    bytes_out: Annotated[int, "Bytes sent to it."] = 0
    transfers: Annotated[TransferStatus, "USB bulk transfers."] = TransferStatus()
    learned: Annotated[dict[str, object], "Quirks that were learned, by key."] = field(
        default_factory=dict
    )

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.model or self.id or "printer"

    @property
    def is_served(self) -> bool:
        """Its clients get answers."""
        return self.state in (State.READY, State.PARTIAL)

    @property
    def ipp_uri(self) -> str:
        """Where it prints."""
        return f"ipp{self.url.removeprefix('http')}ipp/print"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherStatus:
    """The announcements of DNS-SD."""

    kind: Annotated[str, '"avahi", "zeroconf", "static" or "off".'] = ""
    state: Annotated[str, '"ok", "starting", or what is the matter.'] = "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStatus:
    """The broker of Unix sockets."""

    socket: Annotated[str, "Its path; empty: there is none."] = ""
    trouble: Annotated[str, "Why there is none."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageStatus:
    """The status page."""

    url: Annotated[str, "Its address; empty: there is none."] = ""
    trouble: Annotated[str, "Why there is none, although it is configured."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingStatus:
    """What is shared with the network."""

    addresses: Annotated[tuple[str, ...], "Addresses of this machine that are shared on."] = ()
    interfaces: Annotated[tuple[str, ...], "The network interfaces that have them."] = ()
    listening: Annotated[tuple[str, ...], '"ADDRESS port PORT" for each TLS listener.'] = ()
    passwords: Annotated[bool, "Clients need a password."] = False
    console: Annotated[bool, "Web consoles are shared, too."] = False
    fingerprint: Annotated[str, "SHA-256 fingerprint of the certificate."] = ""
    publisher: Annotated[str, "Who announces to the network."] = ""
    trouble: Annotated[str, "Why nothing is announced there."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentError:
    """A warning or an error of the log."""

    at: Annotated[float, "When it last occurred, in seconds since 1970."] = 0.0
    level: Annotated[str, '"warning" or "error".'] = ""
    printer: Annotated[str, "The printer that it is about."] = ""
    text: Annotated[str, "The message."] = ""
    times: Annotated[int, "How often it occurred."] = 1
    reason: Annotated[Diagnosis | None, "Its kind and remedy; null: not known."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The daemon and everything that it serves."""

    schema: Annotated[int, "Version of this format."] = SCHEMA
    version: Annotated[str, "Version of the daemon."] = ""
    pid: Annotated[int, "Its process id."] = 0
    phase: Annotated[str, '"starting", "running" or "stopping".'] = "running"
    uptime_s: Annotated[float, "Seconds since it was started."] = 0.0
    publisher: Annotated[PublisherStatus, "Who announces printers."] = PublisherStatus()
    broker: Annotated[BrokerStatus, "The broker of Unix sockets."] = BrokerStatus()
    printers: Annotated[tuple[PrinterStatus, ...], "All printers, plugged in or not."] = ()
    page: Annotated[PageStatus, "The status page."] = PageStatus()
    sharing: Annotated[SharingStatus | None, "Sharing; null: switched off."] = None
    recent: Annotated[tuple[RecentError, ...], "The last warnings and errors, newest first."] = ()


def read(answer: Mapping[str, object]) -> Status:
    """The status in a daemon's answer. Raises OtherDaemon for one of another schema."""
    if answer.get("schema") != SCHEMA:
        raise OtherDaemon(
            f"the running daemon ({answer.get('version', 'of another version')}) has a status of"
            f" schema {answer.get('schema', 0)}, and this ippusbd reads schema {SCHEMA}"
        )
    return decode(Status, answer)
