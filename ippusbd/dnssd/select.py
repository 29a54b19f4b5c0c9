"""The publisher that the configuration names.

Only its module is imported, and its library when it starts.
"""

from __future__ import annotations

from pathlib import Path

from ippusbd.dnssd.protocols import Publisher
from ippusbd.dnssd.scope import LOOPBACK, Scope
from ippusbd.errors import ConfigError


def make_publisher(
    kind: str,
    *,
    scope: Scope = LOOPBACK,
    static_dir: Path | None = None,
    static_template: Path | None = None,
) -> Publisher:
    """The publisher called `kind`: auto, avahi, zeroconf, static (needs `static_dir`) or off.

    `scope` says where its records are seen; `static` knows only loopback. Raises ConfigError.
    """
    match kind:
        case "auto":
            from ippusbd.dnssd.auto_publisher import AutoPublisher
            from ippusbd.dnssd.avahi_publisher import AvahiPublisher
            from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher

            return AutoPublisher(AvahiPublisher(scope=scope), ZeroconfPublisher(scope=scope))
        case "avahi":
            from ippusbd.dnssd.avahi_publisher import AvahiPublisher

            return AvahiPublisher(scope=scope)
        case "zeroconf":
            from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher

            return ZeroconfPublisher(scope=scope)
        case "static" if static_dir is not None:
            from ippusbd.dnssd.static_publisher import TEMPLATE, StaticPublisher, read_template

            template = read_template(static_template) if static_template else TEMPLATE
            return StaticPublisher(static_dir, template=template)
        case "static":
            raise ConfigError("the static publisher needs a folder to write into")
        case "off":
            from ippusbd.dnssd.null_publisher import NullPublisher

            return NullPublisher()
    raise ConfigError(f"no publisher is called {kind!r}")
