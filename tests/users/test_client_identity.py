"""Whose share of the places a client takes."""

from __future__ import annotations

import pytest

from ippusbd.fair_tasks import levels
from ippusbd.users.client_identity import NOBODY, ClientIdentity, host

FAR = (("192.0.2.7", 5000), ("192.0.2.1", 60000))


def test_programs_of_a_user_share_its_places_over_tcp_and_unix_sockets():
    over_tcp = ClientIdentity(1000, "", 1000, ends=(("127.0.0.1", 5000), ("127.0.0.1", 60000)))
    over_unix = ClientIdentity((1000, 7), "", 1000, unix=True, pid=7)
    assert levels(over_tcp.owner)[0] == levels(over_unix.owner)[0] == (1000,)
    assert over_tcp.owner != over_unix.owner


def test_clients_of_the_network_are_one_beside_the_users_of_this_machine():
    remote = ClientIdentity("192.0.2.7", "", ends=FAR)
    assert remote.owner == host("192.0.2.7")
    assert levels(remote.owner)[0] == levels(host("2001:db8::1"))[0]
    assert host("192.0.2.7") != host("192.0.2.8")
    assert NOBODY.owner not in levels(remote.owner)


@pytest.mark.parametrize("prefix", ["2001:db8:1:2", "fe80"])
def test_all_ipv6_addresses_of_a_link_are_one_first(prefix: str):
    one, other = host(f"{prefix}::1"), host(f"{prefix}::2%eth0")
    assert levels(one)[1] == levels(other)[1] != levels(host("2001:db8:1:3::1"))[1]
    assert one != other
