"""A daemon's status in which everything stands that a status page may have to show."""

from __future__ import annotations

from typing import Any

from ippusbd.daemon.observe.status import Status
from ippusbd.dataclass_json import decode

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)> printer'


def supply(name: str, level: int | None, **more: object) -> dict[str, Any]:
    return {"name": name, "kind": "toner", "color": "", "level": level, "low": False,
            "fills": False, **more}  # fmt: skip


def advice(text: str, severity: str, remedy: str = "") -> dict[str, str]:
    return {"reason": text.replace(" ", "-"), "text": text, "severity": severity, "remedy": remedy}


def reason(text: str, remedy: str, **more: object) -> dict[str, object]:
    return {"kind": "silent", "text": text, "remedy": remedy, **more}


def interfaces(**counts: int) -> dict[str, int]:
    return {"total": 3, "in_use": 0, "broken": 0, "waiting": 0, "released": 0, **counts}


STATUS = decode(Status, {
    "version": "0.1.0",
    "publisher": {"kind": "avahi", "state": "ok"},
    "printers": [
        {
            "id": "03f0:1234",
            "serial": "CN12345678",
            "model": "HP LaserJet",
            "name": "HP LaserJet in the corridor",
            "state": "ready",
            "announced": "established",
            "url": "http://localhost:60000/",
            "missing": [
                {
                    "function": "scan",
                    "claimed_by": "its USB descriptor",
                    "reason": reason(f"/eSCL answered 301 to {HOSTILE}", "switch it on"),
                }
            ],
            "requests": 1234,
            "waits_for": f"the printer reports {HOSTILE}; interface 0 waits",
            "exchanges": [
                {
                    "interface": 0,
                    "client": f"{HOSTILE} (uid 0)",
                    "request": "POST /ipp/print",
                    "kind": "document",
                    "size": 3_100_000,
                    "still_s": 50.0,
                    "waits_for": "the printer to take data",
                },
            ],
            "waits_s": 600.0,
            "ended": [{"age_s": 9.0, "interface": 1, "proof": f"no byte for 300 s {HOSTILE}"}],
            "interfaces": interfaces(in_use=2, waiting=1),
            "condition": {
                "state": "stopped",
                "message": "Load A4 into tray 2",
                "asks": [
                    advice("paper out", "error", "load paper"),
                    advice("toner low", "warning", "have new toner ready"),
                    advice("asleep", "report"),
                ],
                "supplies": [
                    supply("Black toner", 8, low=True),
                    supply("Cyan toner", 65),
                    supply("Waste toner box", 92, low=True, fills=True),
                    supply("Staples", None),
                ],
                "pages": 48211,
                "sheets": None,
                "age_s": 1.0,
            },
        },
        {
            "id": "1209:0001",
            "name": HOSTILE,
            "state": "partial",
            "reason": reason("scan: /eSCL answered 503", "wait", severity="report"),
            "announced": "established",
            "url": "http://localhost:60001/",
            "requests": 3,
            "interfaces": interfaces(released=3),
            "condition": {"state": "idle", "age_s": 400.0, "supplies": [], "asks": []},
        },
        {
            "id": "04a9:2222",
            "model": "Canon iR2625" + "x" * 80,
            "state": "waiting",
            "reason": reason("print: /ipp/print answered 404 Not Found", "update it"),
            "url": "http://localhost:60002/",
            "interfaces": interfaces(total=0),
        },
        {
            "id": "04b8:3333",
            "name": "EPSON ET-4750",
            "state": "away",
            "reason": reason("it is not plugged in", "plug it in", kind="unplugged"),
            "url": "http://localhost:60003/",
            "requests": 0,
            "interfaces": interfaces(total=0),
        },
    ],
    "recent": [
        {
            "at": 1790000000.0,
            "level": "warning",
            "printer": "Canon iR2625",
            "text": "print: /ipp/print answered 404 Not Found",
            "times": 12,
            "reason": reason("", "look for an update; else use the maker's driver"),
        },
        {"at": 1789999000.0, "level": "error", "text": "<b>no broker</b>"},
    ],
})  # fmt: skip
