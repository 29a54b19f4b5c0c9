"""Clients of the network: passwords, and the paths that are open to them."""

from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.waiting import until

from ippusbd.proxy.access.network import BasicAuth, Busy, Network, is_open
from ippusbd.users.client_identity import host
from ippusbd.users.passwords import Users, line


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Counted(Users):
    """Counts how often a password had to be looked at."""

    looked = 0

    def verify(self, user: str, password: str) -> bool:
        self.looked += 1
        return super().verify(user, password)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(line("anna", "geheim") + "\n")
    return path


@pytest.mark.parametrize(
    "target",
    ["/ipp/print", "/ipp", "/IPP/faxout?x=/../", "/eSCL/ScannerStatus", "/escl/ScanJobs/1/..x"],
)
def test_paths_that_print_and_scan_are_open(target: str):
    assert is_open(target)


@pytest.mark.parametrize(
    "target",
    [
        *("/", "", "*", "ipp/print", "/ippx", "//ipp/print", "/hp/device/set", "/./ipp/print"),
        *("/ipp/../admin", "/ipp/%2e%2e/admin", "/ipp/%252e%252e/admin", "/ipp/..%2fadmin"),
        *("/ipp/..\\admin", "/ipp/..;a=b/admin", "/eSCL/%25252525252e./x", "/admin?/ipp/print"),
    ],
)
def test_other_paths_are_closed_in_every_spelling(target: str):
    assert not is_open(target)


@example("../admin")
@given(st.text(alphabet="ip/.%25eEfFsclL\\;?", max_size=30))
def test_paths_with_parent_segments_are_closed(tail: str):
    if is_open("/ipp/" + tail):
        assert "/../" not in f"/{tail.partition('?')[0]}/"


async def test_a_valid_password_is_verified_once_and_a_wrong_one_every_time(file: Path):
    users = Counted(file)
    gate = BasicAuth(users)
    for _ in range(3):
        assert await gate.admits(basic("anna", "geheim"))
    assert users.looked == 1
    for _ in range(2):
        assert not await gate.admits(basic("anna", "geraten"))
        assert not await gate.admits(basic("anna:geheim", ""))
    assert users.looked == 5


@pytest.mark.parametrize(
    "shown",
    [None, "", "Basic", "Basic !!", "Basic YW5uYQ==", "Bearer YW5uYTpnZWhlaW0=", "Basic /w=="],
)
async def test_malformed_credentials_are_not_verified(file: Path, shown: str | None):
    users = Counted(file)
    assert not await BasicAuth(users).admits(shown)
    assert users.looked == 0


class Held(Users):
    """Verifies, and keeps the result until it is let go."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.begun = self.verified = 0

    def verify(self, user: str, password: str) -> bool:
        self.begun += 1
        fits = super().verify(user, password)
        self.verified += 1
        assert self.go.wait(20)
        return fits


@pytest.mark.parametrize("other", ["192.0.2.1", "192.0.2.2"])
async def test_a_right_password_among_many_wrong_ones_is_admitted(file: Path, other: str):
    users = Held(file)
    gate = BasicAuth(users, wait_s=60)
    wrong = [gate.admits(basic("anna", f"geraten{n}"), host("192.0.2.1")) for n in range(40)]
    guesses = asyncio.gather(*wrong)
    await asyncio.sleep(0)
    right = asyncio.create_task(gate.admits(basic("anna", "geheim"), host(other)))
    users.go.set()
    assert await right
    assert other == "192.0.2.1" or users.verified < 5, "guesses of another address do not delay it"
    assert not any(await guesses)


async def test_guesses_from_many_addresses_of_a_link_do_not_delay_others(file: Path):
    users = Held(file)
    gate = BasicAuth(users, wait_s=60)
    wrong = [gate.admits(basic("anna", f"x{n}"), host(f"2001:db8::{n}")) for n in range(1, 41)]
    guesses = asyncio.gather(*wrong)
    await asyncio.sleep(0)
    right = asyncio.create_task(gate.admits(basic("anna", "geheim"), host("2001:db8:0:1::1")))
    users.go.set()
    assert await right
    assert users.verified < 5
    assert not any(await guesses)


async def test_a_guesser_that_hangs_up_costs_one_thread(file: Path):
    users = Held(file)
    gate = BasicAuth(users)
    attempts = []
    for n in range(5):
        attempts.append(asyncio.create_task(gate.admits(basic("anna", f"x{n}"), host("192.0.2.1"))))
        await until(lambda: users.begun, "begun")
        await asyncio.sleep(0.02)  # more than a thread needs to begin
        attempts[-1].cancel()
    assert users.begun == 1
    users.go.set()
    ended = await asyncio.gather(*attempts, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended)
    assert await gate.admits(basic("anna", "geheim"))


async def test_a_password_that_cannot_be_verified_in_time_is_not_called_wrong(file: Path):
    users = Held(file)
    gate = BasicAuth(users, wait_s=0.01)
    first = asyncio.create_task(gate.admits(basic("anna", "geraten")))
    await asyncio.sleep(0)
    with pytest.raises(Busy) as busy:
        await gate.admits(basic("anna", "geheim"))
    assert busy.value.http_status == 503
    users.go.set()
    assert not await first
    assert await gate.admits(basic("anna", "geheim"))


async def test_a_user_removed_while_the_password_is_verified_is_not_remembered(file: Path):
    users = Held(file)
    gate = BasicAuth(users)
    late = asyncio.create_task(gate.admits(basic("anna", "geheim")))
    await until(lambda: users.verified, "verified")
    file.write_text(line("berta", "x") + "\n# anna has left\n")
    noticed = asyncio.create_task(gate.admits(basic("berta", "x")))
    await asyncio.sleep(0)
    users.go.set()
    assert await noticed
    assert not await late
    assert not await gate.admits(basic("anna", "geheim"))


async def test_a_user_removed_from_the_file_is_refused_at_once(file: Path):
    gate = BasicAuth(Users(file))
    assert await gate.admits(basic("anna", "geheim"))
    file.write_text(line("berta", "geheim") + "\n\n# anna has left\n")
    assert not await gate.admits(basic("anna", "geheim"))
    assert await gate.admits(basic("berta", "geheim"))


async def test_a_missing_or_invalid_file_admits_nobody(
    file: Path, caplog: pytest.LogCaptureFixture
):
    gate = BasicAuth(Users(file))
    assert await gate.admits(basic("anna", "geheim"))
    file.write_text("anna:geheim\n")
    for _ in range(3):
        assert not await gate.admits(basic("anna", "geheim"))
    file.unlink()
    for _ in range(3):
        assert not await gate.admits(basic("anna", "geheim"))
    assert len(caplog.records) == 2  # each trouble once
    assert "geheim" not in caplog.text


async def test_without_a_password_the_path_is_not_judged(file: Path):
    network = Network(gate=BasicAuth(Users(file)))
    refused = [await network.refusal(path, None) for path in ("/ipp/print", "/admin")]
    assert [refusal.status for refusal in refused if refusal] == [401, 401]
    inside = await network.refusal("/admin", basic("anna", "geheim"))
    assert inside is not None
    assert inside.status == 403
    assert await network.refusal("/ipp/print", basic("anna", "geheim")) is None
    assert await Network(console=True).refusal("/admin", None) is None
