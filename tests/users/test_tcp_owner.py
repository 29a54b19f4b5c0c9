"""Who owns the other end of a TCP connection: asked of the real kernel."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ippusbd.users.tcp_owner import OwnerUnknown, owner, owner_in_tables

NOBODY = 65534
AS_NOBODY = """
import encodings.idna, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))):
    print("connected", flush=True)
    sys.stdin.read()
"""
WAYS = [owner, owner_in_tables]


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((host, 0))
        server.listen()
        server.settimeout(20)
        yield server


@contextmanager
def accepted(server: socket.socket, client: socket.socket) -> Iterator[socket.socket]:
    client.connect(server.getsockname())
    connection, _ = server.accept()
    with connection:
        yield connection


def ends(connection: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    return connection.getpeername()[:2], connection.getsockname()[:2]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_owner_of_our_own_connection_is_this_user(ask, host: str):
    with (
        listening(host) as server,
        socket.socket(server.family) as client,
        accepted(server, client) as connection,
    ):
        assert ask(*ends(connection)) == os.getuid()


@pytest.mark.parametrize("ask", WAYS)
def test_an_ipv4_connection_of_an_ipv6_socket_is_found_too(ask):
    with listening() as server, socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        connection, _ = server.accept()
        with connection:
            assert ask(*ends(connection)) == os.getuid()


@pytest.mark.parametrize("ask", WAYS)
def test_a_closed_socket_belongs_to_nobody_and_not_to_root(ask):
    """The kernel shows uid 0 for it: who sends a request and closes must not become root."""
    with (
        listening() as server,
        socket.socket() as client,
        accepted(server, client) as connection,
    ):
        client.close()
        assert ask(*ends(connection)) is None


@pytest.mark.parametrize("ask", WAYS)
def test_a_connection_of_another_machine_belongs_to_nobody(ask):
    assert ask(("192.0.2.1", 1000), ("127.0.0.1", 2000)) is None


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.usefixtures("as_root")
def test_another_users_connection_belongs_to_that_user(ask):
    with listening() as server:
        port = str(server.getsockname()[1])
        with subprocess.Popen(
            [sys.executable, "-c", AS_NOBODY, port],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            connection, _ = server.accept()
            with connection:
                assert ask(*ends(connection)) == NOBODY
            process.communicate(timeout=20)


def test_without_a_netlink_socket_the_owner_is_unknown():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OwnerUnknown, match="Too many open files"):
            owner(("127.0.0.1", 1), ("127.0.0.1", 2))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_table_that_cannot_be_read_is_skipped():
    assert owner_in_tables(("127.0.0.1", 1), ("127.0.0.1", 2), (Path("/nonexistent"),)) is None


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.xfail("only root can become somebody else")
