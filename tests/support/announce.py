"""A process that announces one printer until it is killed: `python announce.py KIND NAME`.

Prints the publication's state when `publish` has returned. Run by tests inside a desktop.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.services import make_services

from ippusbd.dnssd.select import make_publisher


async def main(kind: str, name: str) -> None:
    """Publish, and stay."""
    publisher = make_publisher(kind)
    await publisher.start()
    publication = await publisher.publish(make_services(name, mark="00FF"))
    sys.stdout.write(f"{publication.state}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
