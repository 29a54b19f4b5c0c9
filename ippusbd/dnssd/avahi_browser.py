"""What Avahi has found on the network: for people who look for a fault, not for the daemon.

Knows Avahi's service browser; nothing is resolved.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

from ippusbd.dnssd.avahi_server import AVAHI, SERVER
from ippusbd.dnssd.dbus import Bus, Signal
from ippusbd.dnssd.scope import LOOPBACK

BROWSER = f"{AVAHI}.ServiceBrowser"
CALL_S = 5.0
LOCAL = 8  # AVAHI_LOOKUP_RESULT_LOCAL: this machine announces it


@dataclass(frozen=True, slots=True)
class Instance:
    """A service instance of another machine."""

    name: str
    type: str
    interface: str


async def browse(*types: str, patience_s: float) -> list[Instance]:
    """Instances of `types` on the network, as far as they answer in `patience_s`. PublishError."""
    found: set[Instance] = set()

    def on_signal(signal: Signal) -> None:
        if signal.interface == BROWSER and signal.member == "ItemNew":
            index, _, name, kind, _, flags = signal.body
            if isinstance(index, int) and isinstance(flags, int) and not flags & LOCAL:
                with contextlib.suppress(OSError):  # the interface is gone
                    found.add(Instance(str(name), str(kind), socket.if_indextoname(index)))

    bus = await Bus.connect(None, on_signal, lambda: None, call_s=CALL_S)
    try:
        await bus.match(sender=AVAHI, interface=BROWSER)
        for kind in types:
            call = (-1, -1, kind, "", 0)  # any interface and protocol, the default domain
            await bus.call(AVAHI, "/", f"{SERVER}.ServiceBrowserNew", "iissu", call)
        await asyncio.sleep(patience_s)
    finally:
        await bus.close()
    # What has a host name of its own is not LOCAL to Avahi, as our records on the loopback.
    network = (each for each in found if each.interface not in LOOPBACK.interfaces)
    return sorted(network, key=lambda each: (each.name, each.type, each.interface))
