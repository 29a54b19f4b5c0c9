"""Every exception of the project, with what its catcher should do next.

`http_status` is the client's answer when the error ends its request before a
response began; `retry` says whether the supervisor may try the same printer
again. Libraries' exceptions are translated where they are raised; only these
cross a layer. What an error means to a person, and what to do about it, says its `kind`.
"""

from __future__ import annotations

from ippusbd.kinds import Diagnosis, Kind


class IppUsbError(Exception):
    """Base of all; its text is for the reader of the log, that of its kind if none is given.

    `facts` are those of the kind's templates; `kind` is given where the class's is not precise.
    """

    http_status = 502  # of the answer to the client
    retry = True  # may the supervisor try this printer again?
    kind = Kind.OTHER

    def __init__(self, text: str = "", /, *, kind: Kind | None = None, **facts: object) -> None:
        self.kind = kind or self.kind
        self.diagnosis = self.kind.of(text, **facts)
        super().__init__(self.diagnosis.text)


class ConfigError(IppUsbError):
    """A configuration or quirk file is wrong; names file and key."""

    kind = Kind.CONFIGURATION
    retry = False


class WrongUsage(ConfigError):
    """Options or arguments that mean nothing, alone or together."""

    kind = Kind.USAGE


class StateError(IppUsbError):
    """The state file or a runtime directory cannot be used."""

    kind = Kind.STATE
    retry = False


class NotRunning(IppUsbError):
    """No daemon answers on the control socket."""

    kind = Kind.NOT_RUNNING
    retry = False


class Forbidden(IppUsbError):
    """This user may not use the control socket."""

    kind = Kind.CONTROL
    retry = False


class OtherDaemon(IppUsbError):
    """The running daemon is of another version than this program."""

    kind = Kind.OTHER_DAEMON
    retry = False


class Told(IppUsbError):
    """What the running daemon answered instead of a result."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.text)
        self.diagnosis = diagnosis


# --- the USB side


class UsbError(IppUsbError):
    """A USB operation failed in a way no subclass describes."""

    kind = Kind.TRANSFER
    http_status = 503


class DeviceGone(UsbError):
    """The printer was unplugged, or every transfer fails with ENODEV."""

    kind = Kind.UNPLUGGED


class DeviceBusy(UsbError):
    """Another program or kernel driver holds the interface."""

    kind = Kind.HELD


class AccessDenied(UsbError):
    """The permissions of the device node do not allow us to open it."""

    kind = Kind.PERMISSION


class NotUsable(UsbError):
    """The device has no IPP-over-USB interface."""

    kind = Kind.NO_IPP
    retry = False


class Ignored(NotUsable):
    """The configuration or a quirk says to leave the device alone."""

    kind = Kind.IGNORED


class EndpointHalted(UsbError):
    """The endpoint answered STALL and needs its halt cleared."""


class TransferFailed(UsbError):
    """A bulk or control transfer ended in an error; the interface needs recovery."""


class TransferTimeout(UsbError):
    """A control transfer, or a bulk transfer with a deadline, was not finished in time."""


class StartsAfresh(UsbError):
    """An administrator asked for a new start (`ippusbd retry`)."""

    kind = Kind.RETRIED


class NoInterface(UsbError):
    """No interface became free in time, or all of them are broken."""

    kind = Kind.BUSY


class NotAsked(NoInterface):
    """A question of ours could not be asked; proves nothing about the printer."""


# --- the printer's answers


class PrinterError(IppUsbError):
    """The printer's answer violates its protocol; the text quotes where."""

    kind = Kind.BAD_ANSWER


class BadDescriptor(PrinterError):
    """USB descriptors that cannot be parsed."""

    retry = False


class BadResponse(PrinterError):
    """Not an HTTP response, or one whose end cannot be known."""


class BadIpp(PrinterError):
    """Not an IPP message, or one over the limits."""


class IncompleteIpp(BadIpp):
    """The start of an IPP message: more bytes could complete it."""


class BadXml(PrinterError):
    """Not the XML document that was asked for, or one over the limits."""


class Refused(PrinterError):
    """The printer has what was asked for and keeps it from us; the text says what to do."""

    kind = Kind.HTTPS


class ProbeFailed(PrinterError):
    """The printer answered neither for printing nor for scanning."""

    kind = Kind.WARMING_UP
    http_status = 503


class NotAPrinter(ProbeFailed):
    """It answers 404: it has neither an IPP printer nor an eSCL scanner."""

    kind = Kind.NOT_FOUND


class PrinterSilent(PrinterError):
    """The printer took a request and did not answer in time."""

    kind = Kind.SILENT
    http_status = 504


class Unanswered(PrinterSilent):
    """The printer takes requests, and its answers do not come."""


class CutAnswer(Unanswered):
    """The printer takes requests, and its answers stop in the middle."""


# --- the client side


class BadRequest(IppUsbError):
    """A client's request cannot be forwarded."""

    kind = Kind.REQUEST
    http_status = 400
    retry = False


class ClientGone(IppUsbError):
    """The client disconnected, or does not read while others wait."""

    kind = Kind.CLIENT_GONE
    http_status = 499
    retry = False


# --- announcing


class PublishError(IppUsbError):
    """DNS-SD could not announce a service; the text says which and why."""

    kind = Kind.ANNOUNCING
