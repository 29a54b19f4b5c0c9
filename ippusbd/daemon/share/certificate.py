"""The TLS certificate for sharing: one from the configuration, or a self-signed one.

The self-signed one is generated once and kept, with its key, in one file of the state directory
(mode 0600): clients need to accept it only once, and a file that is replaced as a whole never holds
the key of another certificate. Clients cannot verify it: a person compares the fingerprint, which
the log and `ippusbd status` show.

The only module that knows `cryptography`, which is imported when a certificate is generated.
Blocks; runs in a thread.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from ippusbd.daemon.state.files import replace_file
from ippusbd.errors import ConfigError, StateError

log = logging.getLogger("ippusbd.daemon")

OWN_FILE: Final = "share.pem"
VALID_FOR: Final = timedelta(days=3650)
CLOCKS_DIFFER: Final = timedelta(days=1)
_END: Final = "-----END CERTIFICATE-----"


def configured(certificate: Path, key: Path) -> ssl.SSLContext:
    """From the configured files. Raises ConfigError that names file and key."""
    _readable(certificate, "certificate")
    _readable(key, "key")
    context = _empty()
    try:
        context.load_verify_locations(certificate)  # distinguishes a bad certificate from a bad key
    except (ssl.SSLError, OSError) as exc:
        raise ConfigError(f"[share] certificate: {certificate}: not a certificate in PEM") from exc
    try:
        context = _empty()
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            reason = f"does not match the certificate {certificate}"
        else:
            reason = "not a key in PEM without a passphrase"
        raise ConfigError(f"[share] key: {key}: {reason}") from exc
    except ValueError as exc:
        raise ConfigError(f"[share] key: {key}: {exc}") from exc
    return context


def own(folder: Path, machine: str, addresses: Collection[str]) -> ssl.SSLContext:
    """The self-signed one in `folder`; generated if there is none that can be used.

    A new one is for `machine` and `addresses`. Raises StateError, or ConfigError if none can be
    generated on this machine.
    """
    path = folder / OWN_FILE
    if path.exists():
        try:
            return _loaded(path)
        except (OSError, ValueError) as exc:
            log.warning("%s cannot be used (%s); generating a new certificate", path, exc)
    generated = _generated(machine, addresses)
    try:
        replace_file(path, generated)
        return _loaded(path)
    except OSError as exc:
        raise StateError(f"cannot write {path}: {exc}") from exc


def fingerprint(path: Path) -> str:
    """SHA-256 of the first certificate in a file, as browsers and openssl show it; "" if none."""
    try:
        text = path.read_text("ascii", "replace")
        start = text.index("-----BEGIN CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(text[start : text.index(_END, start) + len(_END)])
    except (OSError, ValueError):
        return ""
    return hashlib.sha256(der).digest().hex(":").upper()


def _empty() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _loaded(path: Path) -> ssl.SSLContext:
    context = _empty()
    context.load_cert_chain(path, password=_no_password)
    return context


def _no_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("it is protected by a passphrase")


def _readable(path: Path, key: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(f"[share] {key}: {path}: {exc.strerror}") from exc


def _generated(machine: str, addresses: Collection[str]) -> bytes:
    """A new key and a certificate for it, in PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as exc:
        raise ConfigError(
            "[listen] interface: generating a certificate needs the Python package `cryptography`"
            " (Debian: python3-cryptography; PyPI: ippusbd[share]); or set `certificate` and `key`"
            " in [share]"
        ) from exc
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{machine}.local"[:64])])
    names: list[x509.GeneralName] = [
        x509.DNSName(each) for each in (f"{machine}.local", machine, "localhost")
    ]
    names += [x509.IPAddress(ip_address(each)) for each in addresses]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
