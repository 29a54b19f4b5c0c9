"""Frozen values that layers pass to each other. No behaviour beyond formatting.

Knows nothing of the project; everything may know it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag


@dataclass(frozen=True, slots=True, order=True)
class UsbId:
    """idVendor and idProduct of a device descriptor."""

    vendor: int
    product: int

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def underscored(self) -> str:
        """`VID_PID` of ChromeOS's broker (field-notes 6)."""
        return f"{self.vendor:04x}_{self.product:04x}"


@dataclass(frozen=True, slots=True, order=True)
class BusAddress:
    """Where a device is now; a replug changes `address`, not `port_path`."""

    bus: int
    address: int
    port_path: str = ""  # "1-2.3" as in sysfs; empty where it cannot be known

    def __str__(self) -> str:
        return f"{self.bus:03d}:{self.address:03d}"


class Capability(IntFlag):
    """Basic capabilities of the class descriptor 0x21 (IPP over USB 1.0, 4.3)."""

    PRINT = 1
    SCAN = 2
    FAX = 4
    OTHER = 8
    HTTP = 16

    @classmethod
    def all(cls) -> Capability:
        """What a device without, or with an empty, 0x21 descriptor is taken for."""
        return cls.PRINT | cls.SCAN | cls.FAX | cls.OTHER | cls.HTTP


@dataclass(frozen=True, slots=True)
class InterfaceInfo:
    """One usable IPP-over-USB interface, from its descriptors."""

    configuration: int
    number: int
    alternate: int
    bulk_in: int
    bulk_out: int
    capabilities: Capability | None  # None: no 0x21 descriptor


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Who a USB device is, after its strings were read (empty where they could not be)."""

    usb_id: UsbId
    address: BusAddress
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    device_id: str = ""  # IEEE 1284 device id, from GET_DEVICE_ID

    @property
    def key(self) -> str:
        """State files know a printer by this: vendor, product, and serial or bus position."""
        if self.serial:
            return f"{self.usb_id}:{self.serial}"
        return f"{self.usb_id}@{self.address.port_path or self.address}"

    @property
    def model(self) -> str:
        """`Manufacturer Product`, the manufacturer not said twice; quirks match on it."""
        maker, product = self.manufacturer.strip(), self.product.strip()
        if product.lower().startswith(maker.lower()):
            return product
        return f"{maker} {product}".strip()


@dataclass(frozen=True, slots=True)
class PrinterFacts:
    """What Get-Printer-Attributes told; None or empty: the printer did not say."""

    dns_sd_name: str = ""
    make_and_model: str = ""
    info: str = ""
    location: str = ""
    uuid: str = ""  # without "urn:uuid:"
    pdl: tuple[str, ...] = ()  # document-format-supported, in the printer's order
    urf: tuple[str, ...] = ()
    color: bool | None = None
    duplex: bool | None = None
    kind: tuple[str, ...] = ()  # printer-kind
    paper_max: str = ""  # a PaperMax value of field-notes 3
    more_info: str = ""  # printer-more-info, a URL
    mopria: str = ""  # mopria-certified
    device_id: str = ""  # printer-device-id


@dataclass(frozen=True, slots=True)
class Supply:
    """Something a printer uses up, or fills up; `level` in percent, None: it does not say."""

    name: str
    kind: str = ""  # "toner", "ink-cartridge", "waste-toner", ...
    color: str = ""  # "#00FFFF"; empty: none
    level: int | None = None
    is_low: bool = False  # needs somebody soon: nearly empty, or, for waste, nearly full
    fills: bool = False  # a waste box: 100 % is the bad end


@dataclass(frozen=True, slots=True)
class Condition:
    """How a printer was when it was asked last; empty where it did not say."""

    state: int | None = None  # printer-state: 3 idle, 4 processing, 5 stopped
    reasons: tuple[str, ...] = ()  # printer-state-reasons without "none"
    message: str = ""  # printer-state-message
    supplies: tuple[Supply, ...] = ()
    pages: int | None = None  # printed in its life
    sheets: int | None = None


@dataclass(frozen=True, slots=True)
class ScannerFacts:
    """What ScannerCapabilities told."""

    version: str = ""
    make_and_model: str = ""
    serial: str = ""
    uuid: str = ""
    admin_uri: str = ""
    icon_uri: str = ""
    pdl: tuple[str, ...] = ()
    color_spaces: tuple[str, ...] = ()  # "color", "grayscale", "binary"
    sources: tuple[str, ...] = ()  # "platen", "adf", "camera"
    duplex: bool = False


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Everything known about a printer that is ready to be announced."""

    device: DeviceFacts
    printer: PrinterFacts | None
    scanner: ScannerFacts | None
    fax: bool = False


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """One DNS-SD service instance.

    `name` is the instance, at most 63 bytes of UTF-8; `type` like `_ipp._tcp`; `subtypes` like
    `_universal`; `txt` in order, each `key=value` at most 255 bytes.
    """

    name: str
    type: str
    port: int
    subtypes: tuple[str, ...] = ()
    txt: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceSet:
    """All records of one printer; they come and go, and are renamed, together.

    Records in `fixed` keep their own name in a collision of `name` (`_ipp-usb._tcp`).
    """

    name: str
    records: tuple[ServiceRecord, ...]
    fixed: tuple[ServiceRecord, ...] = ()

    def renamed(self, name: str) -> ServiceSet:
        """The same services under another instance name."""
        return replace(self, name=name, records=tuple(replace(r, name=name) for r in self.records))
