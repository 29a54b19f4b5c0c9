"""The configuration: one frozen value, checked once, passed down.

Each field below is one key of the file, with its section; the default file
packaging/ippusbd.conf explains every key, and a test compares the two. A
`Config` that exists is valid: keys known, types and ranges as declared,
settings that depend on each other consistent.

Knows TOML and environment variables; opens only the file it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Final

from ippusbd.errors import ConfigError
from ippusbd.log import AREAS, LEVELS
from ippusbd.toml_lines import line_of, read_file, tables_and_lines
from ippusbd.toml_schema import (
    Check,
    Known,
    account,
    boolean,
    checked,
    directory,
    host_name,
    integer,
    interfaces,
    known_keys,
    list_of,
    network,
    one_of,
    seconds,
    setting,
    table_of,
    text,
    unknown,
)

SYSTEM_FILE: Final = Path("/etc/ippusbd/ippusbd.conf")
SYSTEM_STATE: Final = Path("/var/lib/ippusbd")
SYSTEM_RUNTIME: Final = Path("/run/ippusbd")
BROKER_FOLDER: Final = "ippusb"  # the name that clients expect
SYSTEM_BROKER: Final = Path("/run") / BROKER_FOLDER


def _loopback(kind: type[IPv4Address] | type[IPv6Address]) -> Check:
    """A loopback address; empty disables IPv4 or IPv6."""

    def check(value: object) -> str:
        try:
            address = ip_address(value) if isinstance(value, str) and value else None
        except ValueError:
            address = None
        if value == "":
            return ""
        if not isinstance(address, kind) or not address.is_loopback:
            raise ValueError(f"must be an {kind.__name__[:4]} loopback address or empty")
        return str(address)

    return check


def _usb_id(value: object) -> str:
    """`VID:PID` in hexadecimal, returned as four lower-case digits each."""
    vendor, _, product = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not all(0 < len(part) <= 4 and part.isalnum() for part in (vendor, product)):
        raise ValueError('must be USB ids like "03f0:1234"')
    try:
        return f"{int(vendor, 16):04x}:{int(product, 16):04x}"
    except ValueError:
        raise ValueError('must be USB ids like "03f0:1234"') from None


def _suffix(value: object) -> str:
    """The end of a DNS-SD name, which holds no blanks that clients would drop."""
    suffix = str(text(32)(value))
    if len(suffix.encode()) > 32 or suffix.endswith(" ") or "  " in suffix:
        raise ValueError("must be at most 32 bytes, without two blanks or a blank at its end")
    return suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings, with the defaults of an empty file."""

    listen_ipv4: str = setting("127.0.0.1", "listen.ipv4", _loopback(IPv4Address))
    listen_ipv6: str = setting("::1", "listen.ipv6", _loopback(IPv6Address))
    port_min: int = setting(60000, "listen.port_min", integer(1024, 65535))
    port_max: int = setting(65535, "listen.port_max", integer(1024, 65535))
    # on which printers are shared over TLS; (): none; ("*",): all
    share_interfaces: tuple[str, ...] = setting((), "listen.interface", interfaces)

    # networks whose clients may use shared printers; (): those of the interfaces
    share_allow: tuple[IPv4Network | IPv6Network, ...] = setting(
        (), "share.allow", list_of(network)
    )
    share_users_file: Path | None = setting(None, "share.users_file", directory)
    share_certificate: Path | None = setting(None, "share.certificate", directory)
    share_key: Path | None = setting(None, "share.key", directory)
    share_console: bool = setting(False, "share.console", boolean)  # the printer's web pages, too

    # a request's body of at most so many bytes is read whole before an interface is leased
    small_body: int = setting(32768, "http.small_body", integer(0, 1 << 20))
    max_clients: int = setting(512, "http.max_clients", integer(1, 65536))  # per printer
    max_header_bytes: int = setting(65536, "http.max_header_bytes", integer(4096, 1 << 20))
    lease_wait_s: float = setting(60.0, "http.lease_wait_s", seconds(0.1))  # then 503
    # how long to drain a response after its client disconnected
    drain_s: float = setting(30.0, "http.drain_s", seconds(0.1))
    # what slow clients have not read of their answers, in temporary files; 0: only in memory
    spool_mb: int = setting(64, "http.spool_mb", integer(0, 1 << 20))
    # while others wait, disconnect a client that in this time reads, or sends of its
    # document, less than min_bytes_s per second on average
    client_stall_s: float = setting(15.0, "http.client_stall_s", seconds(0.1))
    upload_stall_s: float = setting(120.0, "http.upload_stall_s", seconds(0.1))
    min_bytes_s: int = setting(256, "http.min_bytes_s", integer(0, 1 << 20))
    # close a connection without a complete request for this long
    idle_client_s: float = setting(120.0, "http.idle_client_s", seconds(0.1))
    head_timeout_s: float = setting(0.0, "http.head_timeout_s", seconds())  # 0: none
    # host names that clients may use besides localhost and addresses
    hosts: tuple[str, ...] = setting((), "http.hosts", list_of(host_name))
    retry_after_s: int = setting(5, "http.retry_after_s", integer(1, 3600))

    # authorization: users, and "@group"s; empty: every user of this machine
    access_print: tuple[str | int, ...] = setting((), "access.print", list_of(account))
    access_scan: tuple[str | int, ...] = setting((), "access.scan", list_of(account))
    access_fax: tuple[str | int, ...] = setting((), "access.fax", list_of(account))
    access_config: tuple[str | int, ...] = setting((), "access.config", list_of(account))
    # keys of [access] that the file sets, also to nobody in particular: ipp-usb's rules end there
    access_set: frozenset[str] = frozenset()

    probe_s: float = setting(20.0, "printers.probe_s", seconds(0.1))
    fax_probe_s: float = setting(3.0, "printers.fax_probe_s", seconds(0.1))
    # after this long without progress, another interface checks whether the printer responds
    busy_check_s: float = setting(30.0, "printers.busy_check_s", seconds(0.1))
    # an exchange without progress for this long is recovered while the printer reports idle ...
    idle_stall_s: float = setting(300.0, "printers.idle_stall_s", seconds(0.1))
    # ... and for this long while it reports processing, or cannot be asked
    stall_s: float = setting(3600.0, "printers.stall_s", seconds(0.1))
    # time-out of the request that checks whether a printer responds
    check_s: float = setting(5.0, "printers.check_s", seconds(0.1))
    retry_min_s: float = setting(1.0, "printers.retry_min_s", seconds(0.01))
    retry_max_s: float = setting(60.0, "printers.retry_max_s", seconds(0.01))
    # a device that answers 404 to everything for this long is released to another driver
    warm_up_s: float = setting(600.0, "printers.warm_up_s", seconds())
    resets_max: int = setting(3, "printers.resets_max", integer(0, 1000))
    resets_window_s: float = setting(600.0, "printers.resets_window_s", seconds(1.0))
    idle_release_s: float = setting(2.0, "printers.idle_release_s", seconds())  # 0: never
    # interval of status polls of a printer in use; 0: never
    supplies_s: float = setting(15.0, "printers.supplies_s", seconds())
    # send nothing to any printer before the first client's request
    passive: bool = setting(False, "printers.passive", boolean)
    ignore: tuple[str, ...] = setting((), "printers.ignore", list_of(_usb_id))

    poll_s: float = setting(2.0, "usb.poll_s", seconds(0.1))  # where there is no udev
    transfer_bytes: int = setting(262144, "usb.transfer_bytes", integer(1024, 1 << 22))
    channel: str = setting("auto", "usb.channel", one_of("auto", "async", "threads"))

    dnssd: str = setting(
        "auto", "dnssd.publisher", one_of("auto", "avahi", "zeroconf", "static", "off")
    )
    dnssd_suffix: str = setting(" (USB)", "dnssd.suffix", _suffix)
    static_dir: Path | None = setting(None, "dnssd.static_dir", directory)
    static_template: Path | None = setting(None, "dnssd.static_template", directory)

    log_level: str = setting("info", "log.level", one_of(*LEVELS))
    log_levels: tuple[tuple[str, str], ...] = setting(
        (), "log.levels", table_of(AREAS, one_of(*LEVELS))
    )

    quirks_dirs: tuple[Path, ...] = setting(
        (Path("/etc/ipp-usb/quirks"), Path("/etc/ippusbd/quirks")),
        "daemon.quirks_dirs",
        list_of(directory),
    )
    # ipp-usb's state: ports and names are taken over when a printer is first seen
    ipp_usb_dir: Path | None = setting(Path("/var/ipp-usb/dev"), "daemon.ipp_usb_dir", directory)
    # its configuration: access rules that [access] does not set hold here, too
    ipp_usb_conf: Path = setting(
        Path("/etc/ipp-usb/ipp-usb.conf"), "daemon.ipp_usb_conf", directory
    )
    state_dir: Path | None = setting(None, "daemon.state_dir", directory)  # None: state_dir()
    runtime_dir: Path | None = setting(None, "daemon.runtime_dir", directory)  # runtime_dir()
    control_group: str = setting("", "daemon.control_group", text(32))
    metrics_port: int = setting(0, "daemon.metrics_port", integer(0, 65535))  # 0: none
    grace_s: float = setting(10.0, "daemon.grace_s", seconds())
    idle_exit_s: float = setting(0.0, "daemon.idle_exit_s", seconds())  # 0: keep running
    unplugged_exit_s: float = setting(0.0, "daemon.unplugged_exit_s", seconds())  # 0: the same

    page: bool = setting(False, "page.enabled", boolean)
    page_port: int = setting(8631, "page.port", integer(1, 65535))

    broker: bool = setting(True, "broker.enabled", boolean)
    broker_dir: Path | None = setting(None, "broker.dir", directory)  # None: broker_dir()
    broker_group: str = setting("lp", "broker.group", text(32))
    # users of the Unix sockets besides root and the daemon's; both empty: file modes decide
    broker_users: tuple[str | int, ...] = setting((), "broker.users", list_of(account))
    broker_groups: tuple[str | int, ...] = setting((), "broker.groups", list_of(account))

    @property
    def listen_addresses(self) -> list[str]:
        """The loopback addresses on which printers are served."""
        return [host for host in (self.listen_ipv4, self.listen_ipv6) if host]

    @property
    def listen_host(self) -> str:
        """The host of our own URLs: `localhost` where it leads to nobody else, else an address."""
        addresses = self.listen_addresses
        if not addresses or addresses == ["127.0.0.1", "::1"]:
            return "localhost"
        return f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]


KNOWN: Final[Mapping[str, Known]] = known_keys(Config)
SECTIONS: Final = tuple(dict.fromkeys(key.split(".")[0] for key in KNOWN))


def load(path: Path | None) -> Config:
    """The configuration in `path`, or the defaults for None.

    Raises ConfigError that names file, line and key.
    """
    return Config() if path is None else parse(read_file(path), str(path))


def parse(raw: bytes, origin: str) -> Config:
    """The configuration in a file's bytes; `origin` names the file in errors."""
    tables, lines = tables_and_lines(raw, origin)
    values: dict[str, object] = {}
    for section, table in tables.items():
        where = f"{origin}:{line_of(lines, (section,))}"
        if section not in SECTIONS:
            raise unknown(where, "section", section, SECTIONS)
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: {section} must be a section: [{section}]")
        for key, value in table.items():
            where = f"{origin}:{line_of(lines, (section, key))}"
            known = KNOWN.get(f"{section}.{key}")
            if known is None:
                raise unknown(where, f"key in [{section}]:", key, _keys_of(section))
            values[known.field] = checked(where, f"[{section}] {key}", value, known.check)
    values["access_set"] = frozenset(tables.get("access", ()))
    return _in_agreement(replace(Config(), **values), origin)  # type: ignore[arg-type]


def _keys_of(section: str) -> list[str]:
    return [key.partition(".")[2] for key in KNOWN if key.startswith(f"{section}.")]


def _in_agreement(config: Config, origin: str) -> Config:
    """Refuse settings that contradict each other."""
    wrong = [
        (
            (config.share_certificate is None) != (config.share_key is None),
            "[share] certificate and key must both be set, or neither",
        ),
        (config.port_min > config.port_max, "[listen] port_min is above port_max"),
        (
            not config.listen_ipv4 and not config.listen_ipv6,
            "[listen] ipv4 and ipv6 are both empty: enable one",
        ),
        (config.retry_min_s > config.retry_max_s, "[printers] retry_min_s is above retry_max_s"),
        (
            config.dnssd == "static" and config.static_dir is None,
            '[dnssd] publisher = "static" needs static_dir',
        ),
        (
            config.dnssd == "static" and config.listen_ipv4 != "127.0.0.1",
            '[dnssd] publisher = "static" announces 127.0.0.1, so [listen] ipv4 must be that',
        ),
    ]
    for is_wrong, message in wrong:
        if is_wrong:
            raise ConfigError(f"{origin}: {message}")
    return config


# --- paths, for a service, a user or the system


def own_file(environ: Mapping[str, str], uid: int) -> Path:
    """Where the configuration of this user's daemon belongs."""
    if uid == 0:
        return SYSTEM_FILE
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "ippusbd/ippusbd.conf"


def default_file(environ: Mapping[str, str], uid: int) -> Path | None:
    """The configuration file to read when none is named: a user's own, the system's, or none."""
    for path in dict.fromkeys((own_file(environ, uid), SYSTEM_FILE)):
        try:
            if path.is_file():
                return path
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}; name another file with --config") from exc
    return None


def state_dir(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """The folder of what is kept across restarts: ports, names, learned quirks."""
    if config.state_dir is not None:
        return config.state_dir
    if by_systemd := environ.get("STATE_DIRECTORY"):
        return Path(by_systemd.split(":")[0])
    if _is_systems(uid, SYSTEM_STATE):
        return SYSTEM_STATE
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "ippusbd"


def runtime_dir(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """The folder of the control socket while the daemon runs."""
    if config.runtime_dir is not None:
        return config.runtime_dir
    if by_systemd := _runtime_directories(environ):
        # systemd sorts them, so only the name says which is which
        return next((path for path in by_systemd if path.name != BROKER_FOLDER), by_systemd[0])
    if _is_systems(uid, SYSTEM_RUNTIME):
        return SYSTEM_RUNTIME
    if environ.get("XDG_RUNTIME_DIR", "").startswith("/"):
        return Path(environ["XDG_RUNTIME_DIR"]) / "ippusbd"
    return state_dir(config, environ, uid) / "run"  # no login session; private to the user too


def control_socket(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """The socket of the daemon that this user starts."""
    return runtime_dir(config, environ, uid) / "control.sock"


def control_sockets(config: Config, environ: Mapping[str, str], uid: int) -> list[Path]:
    """Where a user's commands look for a daemon: its own, then the system's."""
    own = control_socket(config, environ, uid)
    named = config.runtime_dir is not None
    return [own] if named else list(dict.fromkeys([own, SYSTEM_RUNTIME / own.name]))


def broker_dir(config: Config, environ: Mapping[str, str], uid: int) -> Path:
    """The folder of the broker's and the printers' sockets; clients expect /run/ippusb."""
    if config.broker_dir is not None:
        return config.broker_dir
    by_systemd = _runtime_directories(environ)
    named = next((path for path in by_systemd if path.name == BROKER_FOLDER), None)
    if named is not None and config.runtime_dir is None:
        return named
    if _is_systems(uid, SYSTEM_BROKER) and config.runtime_dir is None and not by_systemd:
        return SYSTEM_BROKER
    return runtime_dir(config, environ, uid)


def _is_systems(uid: int, folder: Path) -> bool:
    """Whether a user's daemon is the system's: root's, or that of the user who owns the folder."""
    if uid == 0:
        return True
    try:
        return folder.stat().st_uid == uid
    except OSError:
        return False


def _runtime_directories(environ: Mapping[str, str]) -> list[Path]:
    """The directories that systemd made, in any order."""
    return [Path(path) for path in environ.get("RUNTIME_DIRECTORY", "").split(":") if path]


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    """A base directory; the specification ignores relative ones."""
    if environ.get(variable, "").startswith("/"):
        return Path(environ[variable])
    return Path(environ.get("HOME") or "/nonexistent") / below_home
