"""A port is bound on every address or on none; only an address that does not exist is left out."""

from __future__ import annotations

import errno
import os

import pytest
from support.ports import FIRST_PORT

from ippusbd.proxy.admission.listeners import bind, bind_all, existing, is_free

BOTH = ["127.0.0.1", "::1"]
ELSEWHERE = ["2001:db8::1", "192.0.2.1"]  # addresses that this machine does not have
PORT = FIRST_PORT + 480


def addresses(hosts: list[str], port: int = PORT) -> list[str]:
    """Where a server listens that was told to listen on `hosts`."""
    bound = bind_all(hosts, port)
    try:
        return [each.getsockname()[0] for each in bound]
    finally:
        for each in bound:
            each.close()


def test_a_port_is_bound_on_all_addresses():
    assert addresses(BOTH) == BOTH


@pytest.mark.parametrize("taken", BOTH)
def test_a_port_of_which_another_program_has_a_half_is_not_free(taken: str):
    other = bind(taken, PORT)
    try:
        assert not is_free(BOTH, PORT)
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            bind_all(BOTH, PORT)
    finally:
        other.close()
    assert is_free(BOTH, PORT)


@pytest.mark.parametrize("absent", ELSEWHERE)
def test_an_address_that_the_machine_does_not_have_is_left_out(absent: str):
    for hosts in (["127.0.0.1", absent], [absent, "127.0.0.1"]):
        assert addresses(hosts) == ["127.0.0.1"]
        assert existing(hosts) == ("127.0.0.1",)
        assert is_free(hosts, PORT)


def test_without_any_address_nothing_is_served():
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        bind_all(ELSEWHERE, PORT)
    assert existing(ELSEWHERE) == ()
