"""What to do about a reason: one table for `ippusbd doctor`, the status page, and whoever asks.

Reasons are texts made for people, by many modules. What they mean is recognised here by their
words, and a test makes each of them come true, so that a changed sentence is noticed. A reason
that is not known has no remedy, which is better than a wrong one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`kind` for programs; `passes` by itself: nobody has to do anything."""

    kind: str
    remedy: str
    passes: bool = False


UNKNOWN: Final = Diagnosis("unknown", "")
_CAUSES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), diagnose)
    for pattern, diagnose in (
        (
            r"configuration says to ignore|a quirk says to leave it alone",
            Diagnosis("ignored", "nothing, if that is intended; see `ippusbd quirks`", True),
        ),
        (
            r"given up: \d+ resets",
            Diagnosis("given-up", "power-cycle the printer, or run: ippusbd retry"),
        ),
        (
            r"no port from \d+ to \d+ is free|port \d+ of .*in use",
            Diagnosis(
                "ports",
                "widen port_min and port_max in [listen], or end what listens there (ss -ltnp)",
            ),
        ),
        (
            r"is held by|held by",
            Diagnosis("held", "end the program that holds it, or wait until it is done"),
        ),
        (
            r"permission|may not be (opened|used)|no access|access denied",
            Diagnosis(
                "permission",
                "install the udev rule 71-ippusbd.rules, then: udevadm control --reload;"
                " and plug the printer in again",
            ),
        ),
        (
            r"answered 404|has neither",
            Diagnosis(
                "not-found",
                "its firmware does not speak IPP over USB, whatever it claims: look for an update;"
                " else put its id into `ignore` of [printers] and use the maker's driver",
            ),
        ),
        (
            r"answered 50[0-9]|warm|gives it .* to start",
            Diagnosis("warming-up", "wait: it is asked again; clients retry by themselves", True),
        ),
        (
            r"no answer to|not taken|silent|unresponsive|answers on no inter|stopped in the middle",
            Diagnosis("silent", "wait for the recovery; else power-cycle the printer"),
        ),
        (
            r"passive: ",
            Diagnosis("passive", "nothing: its first client wakes it", True),
        ),
        (
            r"unplugged|not plugged in|was let go|is gone|no such device",
            Diagnosis("unplugged", "plug it in, switch it on"),
        ),
        (
            r"an error of ippusbd itself",
            Diagnosis("bug", "please report it with the log: journalctl -u ippusbd"),
        ),
        (
            r"could not announce|collision|avahi|d-bus|zeroconf",
            Diagnosis("announcing", "`ippusbd doctor` looks at Avahi; printing by address works"),
        ),
    )
)  # fmt: skip


def diagnose(reason: str) -> Diagnosis:
    """What a reason means, and what to do."""
    return next((known for pattern, known in _CAUSES if pattern.search(reason)), UNKNOWN)
