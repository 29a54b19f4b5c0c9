"""The kinds of trouble and of states that a person may meet: one table for everybody who tells.

Errors and states name their kind and its facts; what it means, how grave it is and what to do
stands here and nowhere else. The status, its page, the metrics, the journal, doctor, check and the
refusals of the proxy read this table. A kind without a remedy cannot be declared. A remedy names
facts and commands of this machine: `{start}` is what starts the daemon here.

Knows nothing of the project but `local_commands`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from ippusbd.local_commands import Facts, LocalCommands


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
    """A row of the table; `sentence` and `remedy` are templates over facts and local commands."""

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
        return self.on(LocalCommands(), text, **facts)

    def on(self, commands: LocalCommands, text: str = "", /, **facts: object) -> Diagnosis:
        """The same with the commands of a machine and a configuration."""
        return Diagnosis(
            kind=self.label,
            severity=self.severity,
            text=text or self.sentence.format_map(facts),
            remedy=self.remedy.format_map(Facts(facts, commands)),
            passes=self.passes,
            facts=facts,
        )


_E, _W, _R, _PASSES = Severity.ERROR, Severity.WARNING, Severity.REPORT, True


class Kind(Meaning, Enum):
    """Of several that hold for one printer the first is the cause."""

    BUG = "bug", _E, "an error of ippusbd itself: {failure}", (
        "report it, with the file that this makes: {report}"
    )  # fmt: skip
    IGNORED = "ignored", _R, "ignored {why}", (
        "nothing, if that is intended; see `{program} quirks`"
    ), _PASSES  # fmt: skip
    GIVEN_UP = "given-up", _E, "{resets} resets in {window_s:g} s did not help ({failure})", (
        "switch the printer off and on, or run: {retry}"
    )  # fmt: skip
    PORTS = "ports", _E, "no port from {first} to {last} is free", (
        "widen port_min and port_max in [listen], or stop what listens there (ss -ltnp)"
    )  # fmt: skip
    HELD = "held", _E, "interface {interface} is held by {by}", (
        "stop the program or driver that holds it (ipp-usb, HPLIP), or wait until it has finished"
    )  # fmt: skip
    PERMISSION = "permission", _E, "the device may not be opened", (
        "{allow_devices}"
    )  # fmt: skip
    LIBRARY = "library", _E, "libusb cannot be loaded", "{install_libusb}"
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
        "wait for the recovery; else switch the printer off and on, or run: {retry}"
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
    STOPPING = "stopping", _R, "the daemon stops", "to start it again: {start}"
    UNPLUGGED = "unplugged", _R, "it is not plugged in", "plug it in and switch it on"
    ANNOUNCING = "announcing", _W, "it is not announced", (
        "{doctor} finds out why; printing by address works meanwhile"
    )  # fmt: skip
    PAGE = "page", _W, "port {port} cannot be used: {why}", (
        "set another port in [page] or [metrics], or stop what listens there (ss -ltnp)"
    )  # fmt: skip
    CONFIGURATION = "configuration", _E, "the configuration is wrong", (
        "correct it; to test it: {program} check"
    )  # fmt: skip
    USAGE = "usage", _E, "the command line is wrong", "see its options: {program} COMMAND --help"
    STATE = "state", _E, "the daemon's files cannot be used", (
        "{doctor} names the owner and the command that changes it; or set state_dir and runtime_dir"
        " in [daemon]"
    )  # fmt: skip
    NOT_RUNNING = "not-running", _E, "no daemon is running", (
        "start it: {start}"
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
        "ask the administrator, who makes one with: {password}"
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
    CROWDED = "crowded", _R, "too many commands ask the daemon at once", (
        "try again in some seconds"
    ), _PASSES  # fmt: skip
    CONTROL = "control", _R, "permission denied", (
        "run it as root: {again}; or set control_group in [daemon]"
    )  # fmt: skip
    OTHER_DAEMON = "other-daemon", _E, "the running daemon is of another version", (
        "{restart}, or run the `ippusbd` that belongs to it"
    )  # fmt: skip

    # --- of the machine, found by doctor and check

    QUIRK_LINE = "quirk-line", _W, "{line}", "correct the line; it has no effect as it is"
    QUIRK_UNUSED = "quirk-unused", _R, "not used: {line}", (
        "delete the line, or see ippusbd-quirks(5)"
    )  # fmt: skip
    UNREADABLE = "unreadable", _R, "{path} cannot be read by you", "{check}"
    FOLDER = "folder", _E, "{name}: {path}: {why}", "set another {key}, or run: {command}"
    FOREIGN_FILE = (
        "foreign-file",
        _E,
        "{name}: {path} belongs to {owner}, not to {user}",
        "{command}",
    )
    SOCKET_PATH = "socket-path", _E, (
        "{name}: {path}: longer than the {most} bytes a socket may have"
    ), (
        "set another {key}"
    )  # fmt: skip
    NO_ADDRESS = "no-address", _R, "sharing: {names}: no address now", (
        "connect it, or see interfaces in [share]"
    ), _PASSES  # fmt: skip
    ACCESS_OPEN = "access-open", _W, "{kind}: everybody may; {where} allows only {names}", (
        "set {kind} in [access] of {file}, or delete that rule if this is intended"
    )  # fmt: skip
    ACCESS_BROKEN = "access-broken", _W, "only root may use printers: {wrong}", (
        "correct {path}, or set {kinds} in [access] of {file}"
    )  # fmt: skip
    ACCESS_INHERITED = "access-inherited", _R, "restricted as in {path}: {rules}", (
        "to write these rules into {file}: {migrate}"
    )  # fmt: skip
    IPP_USB_LINE = "ipp-usb-line", _W, "{line}", "correct {path}"
    NOT_TAKEN_OVER = "not-taken-over", _R, "not taken over: {what}", (
        "nothing, if the rest will do; /etc/ippusbd/ippusbd.conf explains every key"
    )  # fmt: skip
    STAYS = "stays", _R, "{where} = {ours} stays; ipp-usb has {theirs}", (
        "change it there, if ipp-usb's is meant"
    )  # fmt: skip
    NO_CERTIFICATE = "no-certificate", _R, "not taken over: sharing needs a certificate", (
        "{install_cryptography}, or set certificate and key in [share]; then try again"
    )  # fmt: skip
    SHARED = "shared", _R, (
        "printers are shared over TLS only, as ipps, and without the printer's web console"
    ), "the service's sandbox must name the networks: see SHARING in ippusbd(8)"  # fmt: skip
    INSTALLED_TWICE = (
        "installed-twice",
        _E,
        "installed twice: by setup, and {file} by a package of this distribution",
        "{uninstall}",
    )
    INCOMPLETE = "incomplete", _E, "what setup installed is not complete: {why}", "{setup}"
    NO_PYTHON = "no-python", _E, "the service needs {python}, which is gone", (
        "install ippusbd again with the system's Python, then: {setup}"
    )  # fmt: skip
    OLD_SERVICE = "old-service", _R, "the service is ippusbd {version}, this command {own}", (
        "{setup}"
    )  # fmt: skip
    SERVICE_FAILED = "service-failed", _E, "the service failed ({how})", (
        "to see why: {log}; then: {restart}"
    )  # fmt: skip
    NOT_NEEDED = "not-needed", _R, "the daemon is not running, and no printer is connected", (
        "when there is one: {start}"
    )  # fmt: skip
    NO_SOCKETS = "no-sockets", _W, "no Unix sockets for printers: {why}", (
        "see dir and group in [broker]"
    )  # fmt: skip
    NO_DEVICE = "no-device", _R, "no IPP-over-USB printer is connected", (
        "switch it on and check its cable; `lsusb` must list it"
    )  # fmt: skip
    LEGACY = "legacy", _R, "it needs its maker's driver", "install that driver"
    NO_NODE = "no-node", _E, "cannot access its device node {node}: {why}", (
        "{restart_udev}; in a container, pass /dev/bus/usb to it instead"
    )  # fmt: skip
    HELD_UNSEEN = "held-unseen", _E, "a program of another user has claimed its interfaces", (
        "to see which: {doctor_as_root}"
    )  # fmt: skip
    USBLP = "usblp", _R, "idle: the kernel driver usblp is bound to it", (
        "nothing: the next request claims it"
    ), _PASSES  # fmt: skip
    IPP_USB = "ipp-usb", _E, "ipp-usb is running too (process {pid}) and uses the same printers", (
        "use only one of the two: {disable_ipp_usb}"
    )  # fmt: skip
    IPP_USB_WAITS = (
        "ipp-usb-waits",
        _R,
        "ipp-usb is installed; udev starts it when a printer is plugged in",
        "{mask_ipp_usb}",
    )
    HPLIP = "hplip", _E, "HPLIP prints to the same USB printer: queue {queues}", (
        "use the driverless queue and remove HPLIP's: {command}"
    )  # fmt: skip
    HPLIP_RUNS = "hplip-runs", _R, "HPLIP is running (process {pid}); its queries block printers", (
        "if requests wait for the printer: kill {pid}"
    )  # fmt: skip
    NO_AVAHI = "no-avahi", _R, "Avahi {how}: the daemon announces printers itself", (
        "CUPS and SANE find printers by Avahi: {command}"
    )  # fmt: skip
    AVAHI = "avahi", _E, "Avahi {how}", "{command}"
    AVAHI_LINE = "avahi-line", _E, "{line} in {path}: {why}", "{change}, then: {restart_avahi}"
    LOOPBACK = "loopback", _E, "the loopback interface is down", "{loopback_up}"
    SAME_NAME = (
        "same-name",
        _R,
        "the network has a printer of this name, too: programs take the two for one, and may print"
        " to that one",
        "set another suffix in [dnssd], then: {restart}; or print to the address that `{program}"
        " status` shows",
    )
    TWIN = "twin", _R, "the network has {other!r}: the same device, or another of its model", (
        "nothing: this one is on USB"
    )  # fmt: skip
    NETWORK_UNKNOWN = "network-unknown", _R, "the network's printers are not known: {why}", (
        "run it again"
    )  # fmt: skip
    NO_PRINTER = "no-printer", _R, "the daemon has no printer", "see the USB lines above"
    BROKEN = "broken", _W, "{broken} of {total} interfaces do not work and are being recovered", (
        "if this persists, switch the printer off and on, or run: {retry}"
    )  # fmt: skip
    RELEASED = "released", _R, "idle: its interfaces are released", (
        "nothing: the next request claims them again"
    ), _PASSES  # fmt: skip
    ATTENTION = "attention", _E, "{says}", "{remedy}"
    SAYS = "says", _R, "{says}", "{remedy}"
    LOW = "low", _R, "low: {supplies}", "keep replacements ready"
    NO_CUPS = "no-cups", _R, "CUPS {how}", "to print with it: {command}"
    CUPS = "cups", _E, "CUPS does not run", "{command}"
    NOT_LISTED = "not-listed", _W, "CUPS does not list it", (
        "see the Avahi lines, or make a queue: {command}"
    )  # fmt: skip
    OTHER = "other", _E, "something failed", "read the log: {log}"


_AT_STATUS = {401: Kind.PASSWORD, 403: Kind.PASSWORD, 404: Kind.NOT_FOUND, 426: Kind.HTTPS}


def kind_of_status(status: int) -> Kind:
    """What an HTTP status of the printer other than 200 means."""
    return Kind.WARMING_UP if status >= 500 else _AT_STATUS.get(status, Kind.BAD_ANSWER)
