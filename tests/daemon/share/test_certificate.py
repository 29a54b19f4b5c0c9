"""The certificate for sharing: kept while it fits, else made anew for the same key."""

from __future__ import annotations

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from ippusbd.daemon.share.certificate import OWN_FILE, configured, fingerprint, fit, own
from ippusbd.errors import ConfigError, StateError

ADDRESSES = ["192.0.2.10", "2001:db8::1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our own certificate."""
    folder = tmp_path_factory.mktemp("own")
    own(folder, "desk", ADDRESSES)
    return folder


def split(folder: Path, kept: Path) -> tuple[Path, Path]:
    """Certificate and key of our own file, in two."""
    text = kept.read_text()
    at = text.index("-----BEGIN CERTIFICATE")
    certificate, key = folder / "share.crt", folder / "share.key"
    certificate.write_text(text[at:])
    key.write_text(text[:at])
    return certificate, key


def test_the_self_signed_certificate_is_for_the_names_and_addresses_of_this_machine(made: Path):
    kept = made / OWN_FILE
    assert kept.stat().st_mode & 0o777 == 0o600
    names = certificate(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["desk.local", "desk", "localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ADDRESSES
    key = certificate(made).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    assert len(fingerprint(kept).split(":")) == 32


def test_the_self_signed_certificate_is_kept(made: Path):
    before = (made / OWN_FILE).read_bytes()
    context = own(made, "desk", ["192.0.2.10", "2001:db8::99"])  # IPv6 addresses change daily
    assert (made / OWN_FILE).read_bytes() == before
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def certificate(folder: Path) -> x509.Certificate:
    text = (folder / OWN_FILE).read_bytes()
    return x509.load_pem_x509_certificate(text[text.index(b"-----BEGIN CERT") :])


def key_of(folder: Path) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return certificate(folder).public_key().public_bytes(encoding, form)


NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("machine", "addresses", "now", "why"),
    [
        ("laptop", ADDRESSES, NOW, "another name"),
        ("desk", ["192.0.2.11"], NOW, "another address"),
        ("desk", ADDRESSES, NOW + timedelta(days=800), "it ends in 25 days"),
        ("desk", ADDRESSES, NOW - timedelta(days=400), "it was made with a clock of the future"),
    ],
)
def test_a_certificate_that_does_not_fit_is_made_anew_for_the_same_key(
    tmp_path: Path, machine: str, addresses: list[str], now: datetime, why: str
):
    assert fit(tmp_path, "desk", ADDRESSES, now=NOW)
    assert not fit(tmp_path, "desk", ADDRESSES, now=NOW + timedelta(days=700))
    before = key_of(tmp_path)
    assert fit(tmp_path, machine, addresses, now=now), why
    assert not fit(tmp_path, machine, addresses, now=now)
    assert key_of(tmp_path) == before
    new = certificate(tmp_path)
    assert new.not_valid_before_utc < now < new.not_valid_after_utc
    assert new.not_valid_after_utc - new.not_valid_before_utc <= timedelta(days=825)


def test_a_first_start_with_a_clock_of_1970_is_survived(tmp_path: Path):
    assert fit(tmp_path, "desk", ADDRESSES, now=datetime(1970, 1, 1, tzinfo=UTC))
    before = key_of(tmp_path)
    assert fit(tmp_path, "desk", ADDRESSES, now=NOW)
    assert key_of(tmp_path) == before
    assert certificate(tmp_path).not_valid_before_utc < NOW


def test_one_of_an_earlier_version_is_made_anew_for_the_same_key(tmp_path: Path, made: Path):
    kept = (made / OWN_FILE).read_bytes()
    (tmp_path / OWN_FILE).write_bytes(kept.partition(b"\n")[2])
    assert fit(tmp_path, "desk", ADDRESSES)
    assert key_of(tmp_path) == key_of(made)


def test_names_that_avahi_gives_this_machine_are_in_it(tmp_path: Path):
    assert fit(tmp_path, "desk", ADDRESSES)
    assert fit(tmp_path, "desk", ADDRESSES, {"desk-2.local"})
    assert not fit(tmp_path, "desk", ADDRESSES)


def test_without_the_library_the_last_one_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fit(tmp_path, "desk", ADDRESSES)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert not fit(tmp_path, "laptop", ADDRESSES)
    assert own(tmp_path, "laptop", ADDRESSES)


def test_a_damaged_certificate_is_generated_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / OWN_FILE).write_text("not any more")
    own(tmp_path, "desk", [])
    assert fingerprint(tmp_path / OWN_FILE)
    assert "generated a new certificate" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(StateError, match="nowhere"):
        own(tmp_path / "nowhere", "desk", [])


def test_certificate_and_key_of_an_administrator_are_taken(tmp_path: Path, made: Path):
    context = configured(*split(tmp_path, made / OWN_FILE))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_invalid_certificate_or_key_is_named_with_its_file(tmp_path: Path, made: Path):
    certificate, key = split(tmp_path, made / OWN_FILE)
    other = tmp_path / "other"
    other.mkdir()
    own(other, "desk", [])
    _, foreign = split(other, other / OWN_FILE)
    missing, garbage = tmp_path / "missing", tmp_path / "garbage"
    garbage.write_text("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
    for files, said in (
        ((missing, key), r"\[share\] certificate: .*missing: No such file"),
        ((certificate, missing), r"\[share\] key: .*missing: No such file"),
        ((garbage, key), r"\[share\] certificate: .*garbage: not a certificate"),
        ((certificate, garbage), r"\[share\] key: .*garbage: not a key"),
        ((certificate, foreign), r"\[share\] key: .* does not match the certificate"),
    ):
        with pytest.raises(ConfigError, match=said):
            configured(*files)


def test_a_key_with_a_passphrase_is_refused_without_a_prompt(tmp_path: Path, made: Path):
    certificate, key = split(tmp_path, made / OWN_FILE)
    locked = serialization.load_pem_private_key(key.read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    key.write_bytes(locked)
    with pytest.raises(ConfigError, match="passphrase"):
        configured(certificate, key)


def test_without_the_library_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ConfigError, match="python3-cryptography"):
        own(tmp_path, "desk", [])


def test_a_file_without_a_certificate_has_no_fingerprint(tmp_path: Path):
    assert fingerprint(tmp_path / "none") == ""
    (tmp_path / "empty").write_text("")
    assert fingerprint(tmp_path / "empty") == ""


def test_the_library_is_not_loaded_with_the_daemon():
    code = "import sys, ippusbd.daemon.share.sharing; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
