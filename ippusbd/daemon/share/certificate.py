"""The TLS certificate for sharing: one from the configuration, or a self-signed one.

The self-signed one is kept, with its key, in one file of the state directory (mode 0600), which is
replaced as a whole, so that it never holds the key of another certificate. It is made anew, for
the same key, when it is not valid now (the clock was wrong), before it expires, and when this
machine has another name or IPv4 address; IPv6 addresses change daily and are no reason. A name or
address that went is none either, so that one that comes and goes makes one certificate; the next
one is without it. Clients cannot verify it: a person compares the fingerprint, which the log and
`ippusbd status` show.

A line before the key says what the certificate is for, so that `cryptography` is imported only
when one is generated. The only module that knows it.
Blocks; runs in a thread.
"""

from __future__ import annotations

import hashlib
import logging
import re
import ssl
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.daemon.state.files import replace_file
from ippusbd.errors import ConfigError, StateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

log = logging.getLogger("ippusbd.daemon")

OWN_FILE: Final = "share.pem"
CLOCKS_DIFFER: Final = timedelta(days=1)
VALID_FOR: Final = timedelta(days=825) - CLOCKS_DIFFER  # phones refuse a certificate for longer
RENEWED: Final = timedelta(days=30)  # before its end
_NOTE: Final = re.compile(r"# valid from (-?\d{1,12}) to (-?\d{1,12}) for (.+)", re.ASCII)
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
    """The self-signed one in `folder`, as `fit` has made it; raises what that does."""
    fit(folder, machine, addresses)
    context = _empty()
    load(folder, context)
    return context


def load(folder: Path, context: ssl.SSLContext) -> None:
    """Use the self-signed one for further handshakes. Raises StateError."""
    path = folder / OWN_FILE
    try:
        context.load_cert_chain(path, password=_no_password)
    except (OSError, ValueError) as exc:
        raise StateError(f"cannot use {path}: {exc}") from exc


def fit(
    folder: Path,
    machine: str,
    addresses: Collection[str],
    aliases: Collection[str] = (),
    *,
    now: datetime | None = None,
) -> bool:
    """Make the self-signed one in `folder` anew if it does not fit; whether that was done.

    It is for `machine`, its `aliases` and `addresses`. Raises StateError, or ConfigError if there
    is none and none can be generated on this machine.
    """
    path, now = folder / OWN_FILE, now or datetime.now(UTC)
    names = list(dict.fromkeys((f"{machine}.local", machine, "localhost", *sorted(aliases))))
    reason = _unfit(path, {*names, *(each for each in addresses if ":" not in each)}, now)
    if not reason:
        return False
    try:
        generated = _generated(names, addresses, now, _content(path))
    except ConfigError:
        if _loads(path):  # better than none
            return False
        raise
    try:
        replace_file(path, generated)
    except OSError as exc:
        raise StateError(f"cannot write {path}: {exc}") from exc
    log.warning("generated a new certificate: %s", reason)
    return True


def _unfit(path: Path, wanted: Collection[str], now: datetime) -> str:
    """Why the kept certificate is to be made anew; empty: it is not."""
    kept = _content(path)
    if not kept:
        return "there is none"
    note = _NOTE.match(kept.decode("ascii", "replace"))
    if note is None or not _loads(path):
        return f"{path} cannot be used"
    since, until = (datetime.fromtimestamp(int(each), UTC) for each in note.groups()[:2])
    if not since <= now < until - RENEWED:
        return f"the last one is valid from {since:%Y-%m-%d} to {until:%Y-%m-%d}"
    missing = sorted(set(wanted) - set(note[3].split()))
    return f"the last one is not for {', '.join(missing)}" if missing else ""


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _loads(path: Path) -> bool:
    try:
        _empty().load_cert_chain(path, password=_no_password)
    except (OSError, ValueError):
        return False
    return True


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


def _no_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("it is protected by a passphrase")


def _readable(path: Path, key: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(f"[share] {key}: {path}: {exc.strerror}") from exc


def _generated(
    names: Sequence[str], addresses: Collection[str], now: datetime, kept: bytes
) -> bytes:
    """A certificate for the key that is `kept`, or for a new one, and the key, in PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as exc:
        raise ConfigError(
            "[listen] interface: generating a certificate needs the Python package `cryptography`"
            " (Debian: python3-cryptography; PyPI: ippusbd[share]); or set `certificate` and `key`"
            " in [share]"
        ) from exc
    key = _key(kept)
    since, until = now - CLOCKS_DIFFER, now + VALID_FOR
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    ours: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
    ours += [x509.IPAddress(ip_address(each)) for each in addresses]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(ours), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    valid = f"{since.timestamp():.0f} to {until.timestamp():.0f}"
    note = f"# valid from {valid} for {' '.join((*names, *addresses))}\n"
    return note.encode() + private + certificate.public_bytes(serialization.Encoding.PEM)


def _key(kept: bytes) -> EllipticCurvePrivateKey:
    """The key in `kept`, so that clients that remember it recognise this machine; or a new one."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = serialization.load_pem_private_key(kept, None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    return ec.generate_private_key(ec.SECP256R1())
