"""The kinds of trouble and of states that a person may meet: one table for everybody who tells.

Errors and states name their kind and its facts; what it means, how grave it is and what to do
stands here and nowhere else. The status, its page, the metrics, the journal, doctor, check and the
refusals of the proxy read this table. A kind without a remedy cannot be declared.

Knows nothing of the project.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated


class Severity(Enum):
    """How much something matters, the worst first."""

    ERROR = "error"  # nothing is printed until someone acts
    WARNING = "warning"  # needs attention soon
    REPORT = "report"  # information


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is the matter, and what to do about it."""

    kind: Annotated[str, "One of the kinds below."] = ""
    severity: Annotated[Severity, "How much it matters."] = Severity.ERROR
    text: Annotated[str, "The same in words."] = ""
    remedy: Annotated[str, "What to do."] = ""
    passes: Annotated[bool, "It ends by itself, without any action."] = False
    facts: Annotated[dict[str, object], "The facts in the text, by name."] = field(
        default_factory=dict
    )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Meaning:
    """A row of the table; `sentence` and `remedy` are templates over the facts."""

    label: str
    severity: Severity
    sentence: str
    remedy: str
    passes: bool = False

    def __post_init__(self) -> None:
        if not self.sentence or not self.remedy:
            raise ValueError(f"the kind {self.label!r} needs a sentence and a remedy")

    def of(self, text: str = "", /, **facts: object) -> Diagnosis:
        """This kind with its facts; `text` is more precise than the sentence."""
        return Diagnosis(
            kind=self.label,
            severity=self.severity,
            text=text or self.sentence.format_map(facts),
            remedy=self.remedy.format_map(facts),
            passes=self.passes,
            facts=facts,
        )


_E, _W, _R, _PASSES = Severity.ERROR, Severity.WARNING, Severity.REPORT, True


class Kind(Meaning, Enum):
    """Of several that hold for one printer the first is the cause."""

    BUG = "bug", _E, "an error of ippusbd itself: {failure}", (
        "report it with the log: journalctl -u ippusbd"
    )  # fmt: skip
    IGNORED = "ignored", _R, "ignored {why}", (
        "nothing, if that is intended; see `ippusbd quirks`"
    ), _PASSES  # fmt: skip
    GIVEN_UP = "given-up", _E, "{resets} resets in {window_s:g} s did not help ({failure})", (
        "switch the printer off and on, or run: ippusbd retry"
    )  # fmt: skip
    PORTS = "ports", _E, "no port from {first} to {last} is free", (
        "widen port_min and port_max in [listen], or stop what listens there (ss -ltnp)"
    )  # fmt: skip
    HELD = "held", _E, "interface {interface} is held by {by}", (
        "stop the program or driver that holds it (ipp-usb, HPLIP), or wait until it has finished"
    )  # fmt: skip
    PERMISSION = "permission", _E, "the device may not be opened", (
        "install the udev rule 71-ippusbd.rules (`sudo ippusbd setup` does) and replug the printer;"
        " the daemon's user must be a member of the group lp"
    )  # fmt: skip
    LIBRARY = "library", _E, "libusb cannot be loaded", "apt install libusb-1.0-0"
    HTTPS = "https", _E, "the printer insists on HTTPS, which USB does not have", (
        "switch HTTPS enforcement off in the printer's network or security settings"
    )  # fmt: skip
    REDIRECTS = (
        "redirects",
        _W,
        "the printer redirects to http://{host}, which USB does not reach",
        "switch that redirect off in the printer's network settings",
    )
    PASSWORD = "password", _E, "{path} answered {status}: it needs a password", (
        "allow it without a password in the printer's web console or on its panel"
    )  # fmt: skip
    NOT_FOUND = "not-found", _E, "it is neither an IPP printer nor an eSCL scanner", (
        "its firmware does not support IPP over USB, although it says so: look for an update; else"
        " add its id to `ignore` in [printers] and use the vendor's driver"
    )  # fmt: skip
    NO_FUNCTION = "no-function", _W, "{path} answered {status}", (
        "switch it on in the printer's web console or on its panel, or update its firmware; if this"
        " model cannot {function}, set `{function} = false` in a quirk"
    )  # fmt: skip
    WARMING_UP = "warming-up", _R, "the printer is not ready yet", (
        "wait: it is asked again; clients retry by themselves"
    ), _PASSES  # fmt: skip
    SILENT = "silent", _E, "the printer does not answer", (
        "wait for the recovery; else switch the printer off and on, or run: ippusbd retry"
    )  # fmt: skip
    BAD_ANSWER = "bad-answer", _E, "the printer's answer cannot be read", (
        "open the printer's web page: it may wait for a first set-up or a password; else look for a"
        " firmware update"
    )  # fmt: skip
    TRANSFER = "transfer", _E, "a USB transfer failed", (
        "wait for the recovery; else try another cable or USB port, or switch the printer off and"
        " on"
    )  # fmt: skip
    NO_IPP = "no-ipp", _W, "it does not speak IPP over USB", (
        "switch IPP over USB on in the printer's settings, or use the vendor's driver"
    )  # fmt: skip
    BUSY = "busy", _R, "all interfaces are in use", (
        "wait until a request has finished, or cancel its job"
    ), _PASSES  # fmt: skip
    RETRIED = "retried", _R, "it is retried with all its interfaces", "wait some seconds", _PASSES
    OPENING = "opening", _R, "being opened", "wait some seconds", _PASSES
    PROBING = "probing", _R, "its capabilities are being queried", "wait some seconds", _PASSES
    PASSIVE = "passive", _R, "passive: probed at the first client's request", (
        "nothing: the first request starts it"
    ), _PASSES  # fmt: skip
    STARTING = "starting", _R, "the daemon is still starting", "wait some seconds", _PASSES
    STOPPING = "stopping", _R, "the daemon stops", "systemctl start ippusbd"
    UNPLUGGED = "unplugged", _R, "it is not plugged in", "plug it in and switch it on"
    ANNOUNCING = "announcing", _W, "it is not announced", (
        "run `ippusbd doctor`: it checks Avahi; printing by address works meanwhile"
    )  # fmt: skip
    PAGE = "page", _W, "port {port} cannot be used: {why}", (
        "set another port in [page] or [metrics], or stop what listens there (ss -ltnp)"
    )  # fmt: skip
    CONFIGURATION = "configuration", _E, "the configuration is wrong", (
        "correct it; `ippusbd check` tests it"
    )  # fmt: skip
    STATE = "state", _E, "the daemon's files cannot be used", (
        "change their owner, or see state_dir and runtime_dir in [daemon]; `ippusbd check` tests it"
    )  # fmt: skip
    NOT_RUNNING = "not-running", _E, "no daemon is running", (
        "systemctl start ippusbd, or without systemd: ippusbd run"
    )  # fmt: skip
    REQUEST = "request", _W, "the request cannot be forwarded", (
        "correct or update the program that sent it"
    )  # fmt: skip
    HOST = "host", _W, "the name {name!r} is refused to prevent DNS rebinding", (
        "use localhost, or allow the name with `hosts` in the section [http] of the configuration"
    )  # fmt: skip
    WEB_PAGE = "web-page", _W, "web pages of other sites may not use this printer", (
        "open the printer's own page, or use a program"
    )  # fmt: skip
    BROWSER_NAME = "browser-name", _R, "browsers may use this under the name localhost only", (
        "open {url}"
    )  # fmt: skip
    LOGIN = "login", _W, "this printer requires a user name and a password", (
        "ask the administrator, who makes one with `ippusbd password`"
    )  # fmt: skip
    TOO_MANY = "too-many", _R, "too many passwords are being verified", (
        "try again in some seconds"
    ), _PASSES  # fmt: skip
    CLOSED = "closed", _W, "only printing and scanning are open to network clients", (
        "open it on the printer's machine, or set `console` in [share] there"
    )  # fmt: skip
    DENIED = "denied", _W, "{who} may not {what} this printer", (
        "ask the administrator; see [access] in the configuration"
    )  # fmt: skip
    CLIENT_GONE = "client-gone", _R, "the client disconnected", (
        "nothing: a job that it left incomplete is cancelled"
    ), _PASSES  # fmt: skip
    OTHER = "other", _E, "something failed", "see the log: journalctl -u ippusbd"


_AT_STATUS = {401: Kind.PASSWORD, 403: Kind.PASSWORD, 404: Kind.NOT_FOUND, 426: Kind.HTTPS}


def kind_of_status(status: int) -> Kind:
    """What an HTTP status of the printer other than 200 means."""
    return Kind.WARMING_UP if status >= 500 else _AT_STATUS.get(status, Kind.BAD_ANSWER)
