"""Clients of the network: passwords, and the paths that are open to them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.proxy.access.network import BasicAuth, Network, is_open
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
    assert not await gate.admits(basic("anna", "geheim"))
    file.unlink()
    for _ in range(3):
        assert not await gate.admits(basic("anna", "geheim"))
    assert len(caplog.records) == 1
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
