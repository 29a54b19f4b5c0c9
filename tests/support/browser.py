"""A headless Chromium that looks at one page and leaves."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from support.debian import require
from support.http_client import ask
from support.waiting import until

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


async def leads_to(title: str, url: str, *arguments: str, profile: Path) -> None:
    """Open `url` and wait for a page with `title`, as long as the machine takes."""
    require("chromium")
    process = await asyncio.create_subprocess_exec(
        *CHROMIUM,
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        *arguments,
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told = profile / "DevToolsActivePort"
        await until(lambda: told.exists() and told.read_text().count("\n"), "its port")
        port = int(told.read_text().splitlines()[0])

        async def is_shown() -> bool:
            tabs = json.loads((await ask(port, target="/json/list")).body)
            return title in [tab["title"] for tab in tabs]

        await until(is_shown, f"a page with the title {title}", timeout_s=60)
    finally:
        process.terminate()
        await process.wait()


async def shown(url: str, *arguments: str, profile: Path) -> str:
    """The document that `url` shows when its scripts and forms have done their work."""
    return await chromium(
        "--dump-dom", f"--virtual-time-budget={QUIET_MS}", *arguments, url, profile=profile
    )
