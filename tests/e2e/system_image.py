"""A small Debian desktop on a disk image: what `make e2e-system` boots, made once.

mmdebstrap makes the system from the package sources of this machine; what is
needed beside it (units, host names, ipp-usb's package) is laid in, and mke2fs
makes a file system of it. Its name has a hash of the recipe, so a changed one makes a
new image. Nothing of this project is in it: it is added at every run.

Knows apt and ext4; nothing of USB, nothing of QEMU.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kit import HERE, KitError, apt_of, debian_kernel, run

SIZE = "3G"  # sparse

# The desktop, what the package depends on and suggests, and what the checks call.
PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "iproute2", "procps", "apparmor"),
    *("avahi-daemon", "avahi-utils", "libnss-mdns"),
    *("cups", "cups-client", "cups-filters", "cups-ipp-utils", "sane-airscan", "sane-utils"),
    *(
        "python3",
        "python3-usb",
        "python3-pyudev",
        "python3-h11",
        "python3-pil",
        "python3-cryptography",
    ),
    *("libusb-1.0-0", "curl", "openssl", "usbutils", "libavahi-client3", "libavahi-common3"),
)

# Work that a machine of some minutes need not do.
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "man-db.timer", "systemd-pcrphase.service"),
    *(
        "getty@tty1.service",
        "serial-getty@ttyS0.service",
        "systemd-networkd-wait-online.service",
        "systemd-timesyncd.service",
    ),
    *("cups-browsed.service", "systemd-update-utmp.service", "systemd-rfkill.socket"),
)

FILES = {
    "etc/hostname": "desk\n",
    "etc/hosts": "127.0.0.1 localhost desk\n::1 localhost\n",
    "etc/fstab": "",
    "etc/resolv.conf": "",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",  # none would be a first boot
    "etc/dpkg/dpkg.cfg.d/e2e": "force-unsafe-io\n",
    # SANE's other drivers look for half a minute for hardware that cannot be here.
    "etc/sane.d/dll.conf": "airscan\n",
}


@dataclass(frozen=True, slots=True)
class System:
    """What QEMU needs to boot a Debian system."""

    kernel_release: str
    kernel: Path
    modules: Path
    disk: Path


def debian_system(release: str, cache: Path) -> System:
    """Debian `release`, such as trixie; made if this machine has none. Raises KitError."""
    units = sorted((HERE / "guest_system").glob("*.service"))
    recipe = repr((PACKAGES, MASKED, FILES, SIZE, [unit.read_text() for unit in units]))
    folder = cache / release
    disk = folder / f"system-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.ext4"
    apt = folder / "apt/apt.conf"
    if not disk.exists():
        print(f"e2e: making a Debian system ({release}): a minute or two, once", flush=True)
        apt = apt_of(release, folder / "apt")
        _make(release, disk, units, apt)
        for old in set(folder.glob("system-*.ext4")) - {disk}:
            old.unlink()
    return System(*debian_kernel(folder, apt), disk)


def _make(release: str, disk: Path, units: list[Path], apt: Path) -> None:
    for tool in ("mmdebstrap", "mke2fs"):
        if shutil.which(tool) is None:
            raise KitError(f"{tool} is missing on this machine; run: make packages")
    with tempfile.TemporaryDirectory(dir=disk.parent, prefix="system-") as scratch:
        root = Path(scratch) / "root"
        packages = f"--include={','.join(PACKAGES)}"
        sources = apt.with_name("sources.list")
        run(["mmdebstrap", "--mode=root", "--variant=minbase", packages, release, root, sources])
        _lay_in(root, units)
        _add_ipp_usb(root, apt)
        for useless in ("usr/share/doc", "usr/share/locale", "var/cache/apt/archives"):
            shutil.rmtree(root / useless, ignore_errors=True)
        half = disk.with_suffix(".new")
        half.unlink(missing_ok=True)
        run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, half, SIZE])
        half.rename(disk)


def _lay_in(root: Path, units: list[Path]) -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    system = root / "etc/systemd/system"
    for unit in MASKED:
        (system / unit).unlink(missing_ok=True)
        (system / unit).symlink_to("/dev/null")
    for unit in units:
        shutil.copy(unit, system)
    wants = system / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "e2e.service").symlink_to("/etc/systemd/system/e2e.service")
    (root / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")


def _add_ipp_usb(root: Path, apt: Path) -> None:
    """Its package, for the check that installs it."""
    target = root / "root/debs"
    target.mkdir(mode=0o755)
    target.parent.chmod(0o755)
    run(["apt-get", "download", "-qq", "ipp-usb"], cwd=target, apt=apt)
