"""Frozen values that layers pass to each other. No behaviour beyond formatting.

Knows nothing of the project; everything may know it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, IntFlag
from typing import Annotated


@dataclass(frozen=True, slots=True, order=True)
class UsbId:
    """idVendor and idProduct of a device descriptor."""

    vendor: int
    product: int

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def underscored(self) -> str:
        """`VID_PID`, as ChromeOS's broker names a printer."""
        return f"{self.vendor:04x}_{self.product:04x}"


@dataclass(frozen=True, slots=True, order=True)
class BusAddress:
    """Where a device is plugged in; a replug changes `address`, not `port_path`."""

    bus: int
    address: int
    port_path: str = ""  # "1-2.3" as in sysfs; empty where it cannot be known
    controller: str = ""  # the root hub's, like "pci0000:00/0000:00:14.0/0": no bus number

    @property
    def place(self) -> str:
        """What stays from boot to boot, while `bus` is given out anew; as far as it is known."""
        if self.controller and self.port_path:
            return f"{self.controller}/{self.port_path.partition('-')[2]}"
        return self.port_path or str(self)

    def __str__(self) -> str:
        return f"{self.bus:03d}:{self.address:03d}"


class Awaits(Enum):
    """What an exchange waits for, or a request in the queue."""

    PRINTER_TAKES = "the printer to take data"
    PRINTER_ANSWERS = "the printer's answer"
    CLIENT_SENDS = "the client to send"
    CLIENT_READS = "the client to read"
    INTERFACE = "an interface"

    @property
    def printer(self) -> bool:
        """It is the printer's turn."""
        return self in (Awaits.PRINTER_TAKES, Awaits.PRINTER_ANSWERS)

    @property
    def client(self) -> bool:
        """It is the client's turn."""
        return self in (Awaits.CLIENT_SENDS, Awaits.CLIENT_READS)


class Capability(IntFlag):
    """Basic capabilities of the class descriptor 0x21 (IPP over USB 1.0, 4.3)."""

    PRINT = 1
    SCAN = 2
    FAX = 4
    OTHER = 8
    HTTP = 16

    @classmethod
    def all(cls) -> Capability:
        """Every bit that has a meaning."""
        return cls.PRINT | cls.SCAN | cls.FAX | cls.OTHER | cls.HTTP


@dataclass(frozen=True, slots=True)
class InterfaceInfo:
    """One usable IPP-over-USB interface, from its descriptors."""

    configuration: int
    number: int
    alternate: int
    bulk_in: int
    bulk_out: int
    capabilities: Capability | None  # None: no 0x21 descriptor, or an empty one
    packet_in: int = 512  # the most bytes of a packet from `bulk_in`
    packet_out: int = 512  # the same to `bulk_out`


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """Identity of a USB device; strings that could not be read are empty."""

    usb_id: UsbId
    address: BusAddress
    manufacturer: str = ""
    product: str = ""
    serial: str = ""
    device_id: str = ""  # IEEE 1284 device id, from GET_DEVICE_ID
    unreadable: bool = False  # it has strings that nobody could read
    virtual: bool = False  # software in this process

    @property
    def key(self) -> str:
        """The key in state files: vendor, product, and serial or place."""
        if self.serial:
            return f"{self.usb_id}:{self.serial}"
        return f"{self.usb_id}@{self.address.place}"

    @property
    def model(self) -> str:
        """`Manufacturer Product`, without a repeated manufacturer; quirks match it."""
        maker, product = self.manufacturer.strip(), self.product.strip()
        if product.lower().startswith(maker.lower()):
            return product
        return f"{maker} {product}".strip()

    @property
    def ipp_usb_model(self) -> str:
        """The same as ipp-usb forms it: only a maker in the same case is not repeated."""
        maker, product = self.manufacturer.strip(), self.product.strip()
        return product if product.startswith(maker) else f"{maker} {product}"


@dataclass(frozen=True, slots=True)
class PrinterFacts:
    """From Get-Printer-Attributes; None or empty: not in the answer."""

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
    features: tuple[str, ...] = ()  # ipp-features-supported
    paper_max: str = ""  # PaperMax of DNS-SD: legal-A4, tabloid-A3, isoC-A2, with < and >
    more_info: str = ""  # printer-more-info, a URL
    icon: str = ""  # the first of printer-icons, a URL
    mopria: str = ""  # mopria-certified
    device_id: str = ""  # printer-device-id


@dataclass(frozen=True, slots=True)
class Supply:
    """A consumable or a waste container."""

    name: Annotated[str, "The printer's name for it."]
    kind: Annotated[str, '"toner", "ink-cartridge", "waste-toner" and others.'] = ""
    color: Annotated[str, '"#00FFFF"; empty: none.'] = ""
    level: Annotated[int | None, "In percent; null: not known."] = None
    low: Annotated[bool, "Nearly empty, or, for waste, nearly full."] = False
    fills: Annotated[bool, "A waste container: 100 percent is full."] = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A printer's condition at the last poll; empty: not in the answer."""

    state: int | None = None  # printer-state: 3 idle, 4 processing, 5 stopped
    reasons: tuple[str, ...] = ()  # printer-state-reasons without "none"
    message: str = ""  # printer-state-message
    supplies: tuple[Supply, ...] = ()
    pages: int | None = None  # printed in total
    sheets: int | None = None
    jobs: int | None = None  # that it has not finished


@dataclass(frozen=True, slots=True)
class ScannerFacts:
    """From ScannerCapabilities."""

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
    """All records of one printer; they are announced, withdrawn and renamed together.

    Records in `fixed` keep their own name in a collision of `name` (`_ipp-usb._tcp`). `suffix` is
    what further names are made with.
    """

    name: str
    records: tuple[ServiceRecord, ...]
    fixed: tuple[ServiceRecord, ...] = ()
    suffix: str = " (USB)"

    def renamed(self, name: str) -> ServiceSet:
        """The same services under another instance name."""
        return replace(self, name=name, records=tuple(replace(r, name=name) for r in self.records))
