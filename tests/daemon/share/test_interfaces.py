"""The addresses of this machine, as the kernel lists them, and as it reports their changes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable

import pytest
from ifaddr import IP, Adapter, get_adapters

from ippusbd.daemon.share.interfaces import ALL, look

STRANGE = IP("192.0.2.250", 24, "net0")  # no address of this machine: TEST-NET-1 of RFC 5737
LOCAL = IP("127.0.0.1", 8, "lo")


def adapters(*ips: IP, index: int | None = 7) -> Iterable[Adapter]:
    return [Adapter("net0", "net0", list(ips), index=index)]


def test_every_usable_address_of_this_machine_is_listed_with_its_network_but_loopback():
    listed = {
        (adapter.name, ip.ip if isinstance(ip.ip, str) else ip.ip[0], ip.network_prefix)
        for adapter in get_adapters()
        for ip in adapter.ips
        if adapter.name != "lo"
    }
    found = look((ALL,))
    assert {(a.interface, a.text, a.value.network.prefixlen) for a in found} <= listed
    assert all(socket.if_indextoname(a.index) == a.interface for a in found)
    assert look(("lo",)) == ()


def test_only_the_interfaces_that_were_named_are_listed():
    names = {adapter.name for adapter in get_adapters()} - {"lo"}
    for name in names:
        assert {a.interface for a in look((name,))} <= {name}
    assert look(("nonesuch0",)) == ()


def test_an_address_that_no_socket_can_be_bound_to_is_left_out():
    # so is one whose duplicate address detection still runs
    assert look((ALL,), lambda: adapters(STRANGE)) == ()


def test_loopback_addresses_and_interfaces_that_are_gone_are_left_out():
    assert look((ALL,), lambda: adapters(LOCAL)) == ()
    assert look((ALL,), lambda: adapters(STRANGE, index=None)) == ()


IN_A_NAMESPACE = """
import asyncio, fcntl, socket, struct
from ippusbd.daemon.share.interfaces import Changes, look

async def main():
    changed = asyncio.Event()
    changes = Changes(changed.set)
    assert look(("lo",)) == ()
    address = struct.pack("=HH4s", socket.AF_INET, 0, bytes([192, 0, 2, 1]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8916, struct.pack("16s16s", b"lo", address))  # SIOCSIFADDR
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS: up
    await asyncio.wait_for(changed.wait(), 10)
    changes.close()
    changes.close()
    (found,) = look(("*",))
    assert (found.interface, str(found.value)) == ("lo", "192.0.2.1/24")

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_an_address_that_comes_is_reported_and_listed():
    run = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", IN_A_NAMESPACE],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stderr
