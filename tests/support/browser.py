"""A headless Chromium that looks at one page and leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.debian import require

CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
QUIET_MS = 4000  # of the page's own time, which runs faster than ours while it waits


async def chromium(*arguments: str, profile: Path) -> str:
    """What it prints; fails the test unless it succeeds."""
    require("chromium")
    process = await asyncio.create_subprocess_exec(
        *CHROMIUM,
        f"--user-data-dir={profile}",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def shown(url: str, *arguments: str, profile: Path) -> str:
    """The document that `url` shows when its scripts and forms have done their work."""
    return await chromium(
        "--dump-dom", f"--virtual-time-budget={QUIET_MS}", *arguments, url, profile=profile
    )
