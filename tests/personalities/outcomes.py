"""The expected outcome of every personality: the table for the script.

Personalities that are not in `SPECIAL` work as if nothing were wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from personalities.script import AFTER, PARTIAL, REFUSED, WORKS, Case

from ippusbd.virtual.personalities import REGISTRY

IN_A_PRINT: Final = {"on_request": 8}  # the first ones are asked before it is announced

SPECIAL: Final[dict[str, Case]] = {
    # Not ready at once.
    "truncated-503-then-zlp": Case(outcome=AFTER, tuned={"lasts_s": 3.0}),
    "scanner-before-printer": Case(outcome=AFTER, why="warm-up", tuned={"lasts_s": 2.0}),
    "printer-before-scanner": Case(outcome=AFTER, why="warm-up", tuned={"lasts_s": 2.0}),
    "paper-out": Case(outcome=AFTER, why="paper", paper_s=1.5),
    "silent-while-printing": Case(outcome=WORKS, tuned={"lasts_s": 2.0}),
    "suspended": Case(outcome=AFTER, why="waking up", awake_s=2.0),
    # What they need is found out.
    "needs-keep-alive": Case(outcome=AFTER, why="learned connection = keep-alive"),
    "needs-close": Case(outcome=AFTER, why="learned connection = close"),
    "bad-collections": Case(outcome=AFTER, why="learned sanitize_ipp = True"),
    "unclosed-collections": Case(outcome=AFTER, why="learned sanitize_ipp = True"),
    "members-outside-collections": Case(outcome=AFTER, why="learned sanitize_ipp = True"),
    "chokes-on-large-transfers": Case(outcome=AFTER, why="learned write_bytes = "),
    "hangs-with-two-interfaces": Case(outcome=AFTER, why="learned max_interfaces = 1"),
    # Brought back.
    "halts-once": Case(outcome=AFTER, tuned=IN_A_PRINT),
    "deaf-until-set-interface": Case(outcome=AFTER, why="set alternate", tuned=IN_A_PRINT),
    "deaf-until-soft-reset": Case(outcome=AFTER, why="soft reset", tuned=IN_A_PRINT),
    "deaf-until-bus-reset": Case(outcome=AFTER, why="USB reset", tuned=IN_A_PRINT),
    "deaf-until-replug": Case(outcome=WORKS, tuned=IN_A_PRINT),  # on its other interfaces
    "deaf-after-unplug": Case(outcome=AFTER, why="USB reset"),
    "eio-after-replug": Case(outcome=AFTER, why="USB reset"),
    # The scanner is kept from us.
    "redirects-to-https": Case(
        outcome=PARTIAL, why="ScannerCapabilities answered 301 to https", console=502
    ),
    "login-required": Case(
        outcome=PARTIAL, why="ScannerCapabilities answered 401: the printer asks", console=401
    ),
    "html-instead-of-xml": Case(outcome=PARTIAL, why="an HTML page, not XML"),
    "scan-body-never-comes": Case(outcome=AFTER, why="set alternate"),
    # Beyond help: left to another driver.
    "404-everything": Case(outcome=REFUSED, why="404"),
    "upgrade-required": Case(outcome=REFUSED, why="answered 426: the printer insists on TLS"),
    "stops-after-3k": Case(outcome=REFUSED, why="stopped in the middle"),
    "silent": Case(outcome=REFUSED, why="answers on no interface"),
    "deaf": Case(outcome=REFUSED, why="answers on no interface"),
}
# Through one interface all is harder but what only others can suffer from.
NEEDS_MORE: Final = ("hangs-with-two-interfaces", "eio-after-replug", "deaf-until-replug")
OUTCOMES: Final = {
    **{name: SPECIAL.get(name, Case(outcome=WORKS)) for name in sorted(REGISTRY)},
    **{
        f"{name}, one interface": replace(case, interfaces=1)
        for name, case in SPECIAL.items()
        if name not in NEEDS_MORE
    },
}
