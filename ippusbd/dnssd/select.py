"""Which announcer the configuration asks for.

Knows the publishers by name; a library is loaded only when its publisher starts.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ippusbd.dnssd.auto_publisher import AutoPublisher
from ippusbd.dnssd.avahi_publisher import AvahiPublisher
from ippusbd.dnssd.naming import Names, own_names
from ippusbd.dnssd.null_publisher import NullPublisher
from ippusbd.dnssd.protocols import Publisher
from ippusbd.dnssd.scope import LOOPBACK, Scope
from ippusbd.dnssd.static_publisher import TEMPLATE, StaticPublisher, read_template
from ippusbd.dnssd.zeroconf_publisher import ZeroconfPublisher
from ippusbd.errors import ConfigError


def make_publisher(
    kind: str,
    *,
    reach: Scope = LOOPBACK,
    static_dir: Path | None = None,
    static_template: Path | None = None,
    bus_address: str | None = None,
    names: Names = own_names,
    patience_s: float = 5.0,
    retry_s: float = 1.0,
    grace_s: float = 2.5,
) -> Publisher:
    """The publisher called `kind`: auto, avahi, zeroconf, static (needs `static_dir`) or off.

    `reach` says where its records are seen; `static` knows nothing but loopback.

    `patience_s`: how long `publish` waits; `retry_s`: between attempts to reach D-Bus;
    `grace_s`: how long Avahi may be away before `auto` announces by itself. ConfigError.
    """
    avahi = partial(
        AvahiPublisher,
        reach=reach,
        bus_address=bus_address,
        names=names,
        patience_s=patience_s,
        retry_s=retry_s,
    )
    zeroconf = partial(ZeroconfPublisher, reach=reach, names=names, patience_s=patience_s)
    match kind:
        case "auto":
            return AutoPublisher(avahi(), zeroconf(), grace_s=grace_s, patience_s=patience_s)
        case "avahi":
            return avahi()
        case "zeroconf":
            return zeroconf()
        case "static" if static_dir is not None:
            template = read_template(static_template) if static_template else TEMPLATE
            return StaticPublisher(
                static_dir, template=template, names=names, patience_s=patience_s
            )
        case "static":
            raise ConfigError("the static publisher needs a folder to write into")
        case "off":
            return NullPublisher()
    raise ConfigError(f"no publisher is called {kind!r}")
