"""The rules of the section [access], with names looked up.

Knows the configuration and the user database; which requests a rule is about is `proxy.access`'s.
"""

from __future__ import annotations

from ippusbd.config import Config
from ippusbd.proxy.access.rules import Access, Kind
from ippusbd.users.accounts import Allowed, split


def access_of(config: Config) -> Access:
    """Raises ConfigError for users and groups that are not known here. Blocks; for the start."""
    lists = {
        Kind.PRINT: config.access_print,
        Kind.SCAN: config.access_scan,
        Kind.FAX: config.access_fax,
        Kind.CONFIG: config.access_config,
    }
    return Access(
        {kind: Allowed(*split(names, f"[access] {kind.value}")) for kind, names in lists.items()}
    )
