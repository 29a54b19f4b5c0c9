"""Every end or delay of a session has a reason for which there is a remedy."""

from __future__ import annotations

import pytest
from support.daemon import InProcessDaemon, run_daemon

from ippusbd.kinds import Diagnosis

HASTY = {"drain_s": 0.3, "check_s": 0.3, "probe_s": 0.5, "fax_probe_s": 0.2, "retry_max_s": 0.2}


async def reason(daemon: InProcessDaemon) -> Diagnosis:
    await daemon.until(lambda: daemon.row()["state"] in ("waiting", "refused"))
    (row,) = daemon.supervisor.status()
    assert row.reason is not None
    return row.reason


@pytest.mark.parametrize(
    ("personality", "kind"),
    [
        ("404-everything", "not-found"),
        ("truncated-503-then-zlp", "warming-up"),
        ("stops-after-3k", "silent"),
        ("silent", "silent"),
        ("deaf", "silent"),
    ],
)
async def test_a_printer_that_is_not_served_has_a_reason_with_a_remedy(
    make_printer, state_path, personality: str, kind: str
):
    printer = make_printer(personality, interfaces=1)
    async with run_daemon(printer, state_path=state_path, wait=(), **HASTY) as daemon:
        found = await reason(daemon)
    assert found.kind == kind
    assert found.remedy
