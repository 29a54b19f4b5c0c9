"""Which requests may be sent a second time: those that change nothing at the printer.

Never anything that prints or scans; eSCL's NextDocument gives each page once.
Pure.
"""

from __future__ import annotations

from ippusbd.wire import ipp_requests


def is_repeatable(
    method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> bool:
    """Sent twice it does nothing twice. `body` is the whole one."""
    if method in ("GET", "HEAD"):
        return not target.endswith("/NextDocument")
    if method != "POST" or not _has_ipp(headers):
        return False
    return ipp_requests.operation_of(body) in ipp_requests.IDEMPOTENT


def _has_ipp(headers: tuple[tuple[str, str], ...]) -> bool:
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    return kind.split(";")[0].strip().lower() == "application/ipp"
