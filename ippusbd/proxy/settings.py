"""What a site is configured with, and what it knows of its printer. Shapes only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ippusbd.exchange.pending_cancels import PendingCancels
from ippusbd.proxy.access.network import Network
from ippusbd.proxy.access.rules import UNRESTRICTED, Access
from ippusbd.usbio.pool import InterfacePool
from ippusbd.wire.links import Rewriter


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """See the configuration keys of the same names."""

    small_body: int = 32 * 1024
    lease_wait_s: float = 60.0
    client_stall_s: float = 15.0
    upload_stall_s: float = 120.0
    min_bytes_s: int = 256
    spool_bytes: int = 64 << 20
    spool_dir: Path | None = None  # None: slow clients are served from memory only
    idle_client_s: float = 120.0
    head_timeout_s: float = 0.0
    max_clients: int = 512
    hosts: frozenset[str] = frozenset()
    access: Access = UNRESTRICTED
    network: Network = field(default_factory=Network)
    silence_s: float = 2.0  # a head whose body does not come is sent after this time
    retry_after_s: int = 5
    grace_s: float = 10.0
    max_header_bytes: int = 64 * 1024


# Of an answer's media type, the URL asked for, whether a password is, and the IPP operation.
MakeRewriter = Callable[[str, str, bool, int | None], Rewriter | None]


@dataclass(frozen=True, slots=True)
class Wiring:
    """A printer that is plugged in: its interfaces, and what its quirks demand of an exchange."""

    pool: InterfacePool
    connection: str | None = None
    host: str = ""  # "": localhost:PORT
    headers: tuple[tuple[str, str], ...] = ()  # instead of the client's
    cut_response_s: float | None = None
    rewriter: MakeRewriter = lambda *_: None
    pending_cancels: PendingCancels | None = None
    # Hears of IPP answers that pass, each with its path.
    overhear: Callable[[str, bytes], None] = lambda *_: None
