"""TLS listeners on addresses that come and go, and announcements that follow them."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from itertools import count, islice
from pathlib import Path

import pytest
from support.daemon import QUICK, MemoryPublisher
from support.waiting import until

from ippusbd.config import Config
from ippusbd.daemon.share import certificate
from ippusbd.daemon.share.interfaces import Address
from ippusbd.daemon.share.sharing import Sharing, SharingPublisher
from ippusbd.dnssd.rebinding_publisher import RebindingPublisher
from ippusbd.dnssd.scope import Scope
from ippusbd.model import ServiceRecord, ServiceSet
from ippusbd.proxy.admission.listeners import bind
from ippusbd.proxy.admission.tls_listener import HANDSHAKES
from ippusbd.proxy.server import PrinterSite, SiteSettings

HERE = Address("net0", 1, ip_interface("127.0.0.2/8"))  # loopback has many addresses
THERE = Address("net1", 2, ip_interface("127.0.0.3/32"))
HERE_6 = Address("net0", 1, ip_interface("::1/128"))
THERE_6 = Address("net1", 2, ip_interface("::1/128"))
SERVICES = ServiceSet("Jet", (ServiceRecord("Jet", "_ipp._tcp", 60000),))


class Bench:
    """Sharing over one site without a printer, with networks that a test changes."""

    def __init__(
        self, tls: ssl.SSLContext, config: Config, own_folder: Path | None, **settings: float
    ) -> None:
        self.addresses: tuple[Address, ...] = (HERE,)
        self.made: list[tuple[Scope, MemoryPublisher]] = []
        moving = RebindingPublisher(self._publisher)
        self.sharing = Sharing(
            config,
            tls,
            moving,
            machine="desk",
            own_folder=own_folder,
            look=lambda names: self.addresses,
            **settings,
        )
        self.site = PrinterSite(SiteSettings(network=self.sharing.network))

    def _publisher(self, scope: Scope) -> MemoryPublisher:
        self.made.append((scope, MemoryPublisher()))
        return self.made[-1][1]

    @property
    def listeners(self) -> list[str]:
        return [str(each).split()[0] for each in self.sharing.status().listening]

    def changed(self, *addresses: Address) -> None:
        self.addresses = addresses
        self.sharing._wake.set()

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition, self.sharing.status)

    async def ask(self, address: str = "127.0.0.2", source: str = "127.0.0.9") -> bytes:
        """The first line of the answer to a request over TLS; b"" if there is none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            reader, writer = await asyncio.open_connection(
                address, self.site.port, ssl=context, local_addr=(source, 0)
            )
        except OSError:
            return b""
        writer.write(f"GET /eSCL/x HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        answer = await reader.readline()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return answer


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return certificate.own(tmp_path_factory.mktemp("tls"), "desk", [])


@asynccontextmanager
async def opened(
    tls: ssl.SSLContext, config: Config = QUICK, own_folder: Path | None = None, **settings: float
) -> AsyncIterator[Bench]:
    bench = Bench(tls, config, own_folder, **settings)
    await bench.site.start([bind("127.0.0.1", 0)])
    bench.sharing.share(bench.site)
    await bench.sharing.start()
    try:
        yield bench
    finally:
        await bench.sharing.close()
        await bench.site.close()


async def test_a_printer_listens_on_every_address_of_the_interfaces(
    tls: ssl.SSLContext,
):
    async with opened(tls) as bench:
        await bench.until(lambda: bench.listeners == ["127.0.0.2"])
        assert (await bench.ask()).startswith(b"HTTP/1.1 503")
        bench.changed(HERE, THERE)
        await bench.until(lambda: bench.listeners == ["127.0.0.2", "127.0.0.3"])
        assert (await bench.ask("127.0.0.3")).startswith(b"HTTP/1.1 503")
        bench.changed(THERE)
        await bench.until(lambda: bench.listeners == ["127.0.0.3"])
        assert await bench.ask() == b""


async def test_the_next_handshake_has_a_certificate_for_the_new_address(tmp_path: Path):
    async with opened(certificate.own(tmp_path, "desk", []), own_folder=tmp_path) as bench:
        shown = ""
        for addresses in ((HERE,), (HERE, THERE)):
            before = shown
            bench.changed(*addresses)
            await bench.until(lambda addresses=addresses: len(bench.listeners) == len(addresses))
            pem = await asyncio.to_thread(
                ssl.get_server_certificate, (addresses[-1].text, bench.site.port)
            )
            shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()
            assert shown != before
            assert shown == bench.sharing.status().fingerprint


async def test_a_client_outside_the_interfaces_networks_is_disconnected(tls: ssl.SSLContext):
    async with opened(tls) as bench:
        bench.changed(THERE)  # whose network is itself alone
        await bench.until(lambda: bench.listeners == ["127.0.0.3"])
        assert await bench.ask("127.0.0.3") == b""
        assert await bench.ask("127.0.0.3", source="127.0.0.3") != b""


async def test_a_configured_list_of_networks_replaces_the_interfaces_own(tls: ssl.SSLContext):
    config = replace(QUICK, share_allow=(ip_network("127.0.0.8/31"),))
    async with opened(tls, config) as bench:
        await bench.until(lambda: bench.listeners)
        assert await bench.ask(source="127.0.0.9") != b""
        assert await bench.ask(source="127.0.0.2") == b""


async def test_a_port_in_use_is_listened_on_when_it_becomes_free(
    tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture
):
    async with opened(tls) as bench:
        await bench.until(lambda: bench.listeners)
        with bind("127.0.0.3", bench.site.port):
            bench.changed(HERE, THERE)
            await bench.until(lambda: "is not shared on 127.0.0.3" in caplog.text)
            assert bench.listeners == ["127.0.0.2"]
            bench.changed(HERE, THERE)
        bench.changed(HERE, THERE)
        await bench.until(lambda: bench.listeners == ["127.0.0.2", "127.0.0.3"])
    assert caplog.text.count("is not shared on") == 1


async def test_silent_connections_of_one_address_delay_nobody_and_end_with_the_listener(
    tls: ssl.SSLContext,
):
    """At the limit the oldest one of the address with most makes room."""
    async with opened(tls) as bench:
        await bench.until(lambda: bench.listeners)
        there = ("127.0.0.2", bench.site.port)
        loop = asyncio.get_running_loop()
        silent = []
        for address in ("127.0.0.8", *("127.0.0.9",) * (HANDSHAKES + 3)):
            silent.append(client := socket.socket())
            client.setblocking(False)
            client.bind((address, 0))
            await loop.sock_connect(client, there)
        (listener,) = bench.sharing._listeners.values()
        await bench.until(lambda: len(listener._handshakes) == HANDSHAKES)
        assert await loop.sock_recv(silent[1], 1) == b""
        with pytest.raises(BlockingIOError):  # it is still there, though it came before
            silent[0].recv(1)
        for _ in range(3):
            assert await bench.ask(source="127.0.0.8") != b""
        for client in silent:
            client.close()


async def test_services_are_announced_on_the_network_and_follow_its_interfaces(
    tls: ssl.SSLContext,
):
    async with opened(tls) as bench:
        await bench.until(lambda: bench.made)
        local = MemoryPublisher()
        both = SharingPublisher(local, bench.sharing)
        publication = await both.publish(SERVICES)
        scope, first = bench.made[0]
        await bench.until(lambda: first.sets)
        assert (publication.name, list(first.sets)) == ("Jet", ["Jet @ desk"])
        assert (scope.interfaces, scope.host) == (("net0",), "desk.local")
        assert "desk.local" in bench.sharing.network.names

        bench.changed(HERE, THERE)
        await bench.until(lambda: len(bench.made) == 2)
        scope, second = bench.made[1]
        await bench.until(lambda: second.sets)
        assert not first.sets
        assert (scope.interfaces, scope.addresses) == (("net0", "net1"), ("127.0.0.2", "127.0.0.3"))

        bench.changed()
        await bench.until(lambda: not second.sets)
        assert bench.sharing.status().trouble == "there is no network to announce it on"
        assert list(local.sets) == ["Jet"]

        bench.changed(HERE)
        await bench.until(lambda: len(bench.made) == 3)
        await bench.until(lambda: bench.made[2][1].sets)
        await publication.withdraw()
        assert not bench.made[2][1].sets
        assert not local.sets


async def test_of_the_names_that_avahi_gives_this_machine_the_current_one_is_accepted(
    tls: ssl.SSLContext,
):
    async with opened(tls) as bench:
        await bench.until(lambda: bench.made)
        named, names = bench.made[0][0].on_host_name, bench.sharing.network.names
        for number in range(2, 1002):
            named(f"Desk-{number}.local")
        assert names == {"desk", "desk.local", "desk-1001.local"}
        named("Desk.local")
        assert names == {"desk", "desk.local"}


async def test_the_certificate_is_for_a_name_that_lasts_and_the_one_that_goes_makes_no_other(
    tmp_path: Path,
):
    def made_for() -> str:
        return (tmp_path / certificate.OWN_FILE).read_text().partition("\n")[0]

    tls = certificate.own(tmp_path, "desk", [HERE.text])
    async with opened(tls, own_folder=tmp_path, name_settles_s=0.5) as bench:
        await bench.until(lambda: bench.made)
        named, first = bench.made[0][0].on_host_name, made_for()
        numbers = count(2)
        for number in islice(numbers, 1000):
            named(f"desk-{number}.local")
        bench.changed(HERE, HERE_6)  # no reason for a certificate, but for a look at it
        await bench.until(lambda: named(f"desk-{next(numbers)}.local") or len(bench.made) == 2)
        assert made_for() == first
        named("desk-2.local")
        await bench.until(lambda: "desk-2.local" in made_for())
        assert len(made_for()) < len(first) + 100

        lasting = made_for()
        for looks, name in enumerate(("desk.local", "desk-2.local", "desk.local"), 3):
            named(name)
            await bench.until(lambda: bench.sharing._settling is None)
            bench.changed(HERE, THERE_6 if looks % 2 else HERE_6)
            await bench.until(lambda looks=looks: len(bench.made) == looks)
        assert made_for() == lasting

        bench.changed(HERE, THERE)
        await bench.until(lambda: THERE.text in made_for())
        assert "desk-2.local" not in made_for()


async def test_the_first_name_that_avahi_tells_is_in_the_certificate_at_once(tmp_path: Path):
    tls = certificate.own(tmp_path, "desk", [HERE.text])
    async with opened(tls, own_folder=tmp_path, name_settles_s=60) as bench:
        await bench.until(lambda: bench.made)
        bench.made[0][0].on_host_name("other.local")
        await bench.until(lambda: b"other.local" in (tmp_path / certificate.OWN_FILE).read_bytes())


@pytest.mark.parametrize("name", ["büro.local", "my desk.local"])
async def test_a_name_that_no_certificate_can_have_stops_nothing(name: str, tmp_path: Path):
    tls = certificate.own(tmp_path, "desk", [HERE.text])
    kept = (tmp_path / certificate.OWN_FILE).read_bytes()
    async with opened(tls, own_folder=tmp_path, name_settles_s=0) as bench:
        await bench.until(lambda: bench.made)
        bench.made[0][0].on_host_name(name)
        await bench.until(lambda: bench.sharing._settling is None)
        bench.changed(HERE, HERE_6)
        await bench.until(lambda: len(bench.made) == 2)
    assert (tmp_path / certificate.OWN_FILE).read_bytes() == kept
