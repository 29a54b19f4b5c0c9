"""The remedy for a reason: one table for `ippusbd doctor`, the status and its page.

Reasons are texts for people, written by many modules. They are recognised here by their words;
tests make them occur, so that a reworded one is noticed. An unknown reason has no remedy, which is
better than a wrong one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`kind` for programs; `passes`: it ends by itself, no action is needed."""

    kind: str
    remedy: str
    passes: bool = False


UNKNOWN: Final = Diagnosis("unknown", "")
_KNOWN: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), diagnosis)
    for pattern, diagnosis in (
        (
            r"ignored by the configuration|ignored because of a quirk",
            Diagnosis("ignored", "nothing, if that is intended; see `ippusbd quirks`", True),
        ),
        (
            r"given up: \d+ resets",
            Diagnosis("given-up", "switch the printer off and on, or run: ippusbd retry"),
        ),
        (
            r"no port from \d+ to \d+ is free|port \d+ of .*in use",
            Diagnosis(
                "ports",
                "widen port_min and port_max in [listen], or stop what listens there (ss -ltnp)",
            ),
        ),
        (
            r"is held by|held by",
            Diagnosis("held", "stop the program that holds it, or wait until it has finished"),
        ),
        (
            r"permission|may not be (opened|used)|no access|access denied",
            Diagnosis(
                "permission",
                "install the udev rule 71-ippusbd.rules, run udevadm control --reload,"
                " and plug the printer in again",
            ),
        ),
        (
            r"to https|insists on|redirects to",
            Diagnosis("https", "switch HTTPS enforcement off in the printer's network settings"),
        ),
        (
            r"answered 40[13]",
            Diagnosis("password", "remove the printer's password for this in its settings"),
        ),
        (
            r"answered 404|has neither",
            Diagnosis(
                "not-found",
                "its firmware does not support IPP over USB, although it says so: look for an"
                " update; else add its id to `ignore` in [printers] and use the vendor's driver",
            ),
        ),
        (
            r"answered 50[0-9]|warm|gives it .* to start",
            Diagnosis("warming-up", "wait: it is probed again; clients retry by themselves", True),
        ),
        (
            r"no response to|not accepted|silent|unresponsive|answers on no|stopped in the middle",
            Diagnosis("silent", "wait for the recovery; else switch the printer off and on"),
        ),
        (
            r"passive: ",
            Diagnosis("passive", "nothing: the first request starts it", True),
        ),
        (
            r"unplugged|not plugged in|printer was released|is gone|no such device",
            Diagnosis("unplugged", "plug it in and switch it on"),
        ),
        (
            r"an error of ippusbd itself|internal error",
            Diagnosis("bug", "report it with the log: journalctl -u ippusbd"),
        ),
        (
            r"could not announce|collision|avahi|d-bus|zeroconf",
            Diagnosis("announcing", "run `ippusbd doctor`: it checks Avahi; printing still works"),
        ),
    )
)  # fmt: skip


def diagnose(reason: str) -> Diagnosis:
    """What a reason means, and what to do about it."""
    return next((known for pattern, known in _KNOWN if pattern.search(reason)), UNKNOWN)


# --- a function that a printer claims to have

_MISSING: Final = (
    (
        r"to https|answered 426",
        "the printer insists on HTTPS, which does not exist over USB: switch that off in its"
        " network or security settings",
    ),
    (
        r"answered 40[13]\b",
        "allow it without a password in the printer's web console or on its panel",
    ),
    (
        r"cannot be read: ",
        "open the printer's web page: it may wait for a first set-up or a password; else look for a"
        " firmware update",
    ),
    (r"answered 5[0-9][0-9]\b|is free", "wait: the printer is asked again"),
    (
        r"no answer to|not taken|stopped in the middle",
        "switch the printer off and on, or run: ippusbd retry",
    ),
)


def remedy_for_missing(function: str, answer: str) -> str:
    """What to do when `function` ("print", "scan", "fax") brought that answer."""
    known = (remedy for pattern, remedy in _MISSING if re.search(pattern, answer))
    return next(
        known,
        "switch it on in the printer's web console or on its panel, or update its firmware; if this"
        f" model cannot {function}, set `{function} = false` in a quirk",
    )
