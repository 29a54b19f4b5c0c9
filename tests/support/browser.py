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
