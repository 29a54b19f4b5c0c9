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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import HERE, KitError, apt_of, debian_kernel, run

SIZE = "3G"  # sparse

# The desktop, and what the checks call.
DESKTOP = (
    *("udev", "dbus", "kmod", "iproute2", "procps", "python3", "libusb-1.0-0"),
    *("avahi-daemon", "avahi-utils", "libnss-mdns", "curl", "openssl", "usbutils"),
    *("cups", "cups-client", "cups-filters", "cups-ipp-utils", "sane-airscan", "sane-utils"),
)
# What the Debian package depends on and suggests.
LIBRARIES = (
    *("python3-usb", "python3-pyudev", "python3-h11", "python3-pil", "python3-cryptography"),
    *("libavahi-client3", "libavahi-common3"),
)
SCRIPTS = ("orphan-sysvinit-scripts", "inetutils-syslogd", "systemd-standalone-sysusers")
SYSTEMD = ("systemd", "systemd-sysv", "apparmor")
INITS = {
    "systemd": SYSTEMD,
    "openrc": ("openrc", "initscripts", *SCRIPTS),
    "runit": ("runit", "runit-init", "sysv-rc", *SCRIPTS),
    "sysvinit": ("sysvinit-core", "sysv-rc", *SCRIPTS),
}
# For `ippusbd setup` there is pipx, and none of our libraries.
PACKAGES = {
    "package": (*DESKTOP, *SYSTEMD, *LIBRARIES),
    "container": (*DESKTOP, *SYSTEMD, *LIBRARIES, "podman", "crun"),
    **{init: (*DESKTOP, *packages, "pipx") for init, packages in INITS.items()},
}

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


def debian_system(release: str, cache: Path, kind: str) -> System:
    """Debian `release`, such as trixie, with PACKAGES[kind]; made if this machine has none.

    Raises KitError.
    """
    packages = PACKAGES[kind]
    starters = [
        path
        for path in sorted((HERE / "guest_system").iterdir())
        if path.is_file() and path.suffix != ".py"
    ]
    recipe = repr((packages, MASKED, FILES, SIZE, [one.read_text() for one in starters]))
    folder = cache / release
    name = f"disk-{kind}"
    disk = folder / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.ext4"
    apt = folder / "apt/apt.conf"
    if not disk.exists():
        print(f"e2e: making a Debian system ({release}): a minute or two, once", flush=True)
        apt = apt_of(release, folder / "apt")
        _make(release, packages, disk, apt)
        for old in set(folder.glob(f"{name}-*.ext4")) - {disk}:
            old.unlink()
    return System(*debian_kernel(folder, apt), disk)


def _make(release: str, packages: Sequence[str], disk: Path, apt: Path) -> None:
    for tool in ("mmdebstrap", "mke2fs"):
        if shutil.which(tool) is None:
            raise KitError(f"{tool} is missing on this machine; run: make packages")
    with tempfile.TemporaryDirectory(dir=disk.parent, prefix="system-") as scratch:
        root = Path(scratch) / "root"
        include = f"--include={','.join(packages)}"
        sources = apt.with_name("sources.list")
        run(["mmdebstrap", "--mode=root", "--variant=minbase", include, release, root, sources])
        _lay_in(root)
        if "systemd" in packages:
            _lay_in_units(root)
        else:
            _lay_in_script(root)
        _add_ipp_usb(root, apt)
        for useless in ("usr/share/doc", "usr/share/locale", "var/cache/apt/archives"):
            shutil.rmtree(root / useless, ignore_errors=True)
        half = disk.with_suffix(".new")
        half.unlink(missing_ok=True)
        run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, half, SIZE])
        half.rename(disk)


def _lay_in(root: Path) -> None:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)


def _lay_in_units(root: Path) -> None:
    for profile in (root / "etc/apparmor.d").iterdir():
        if profile.is_file() and not profile.name.startswith("usr."):
            profile.unlink()  # of browsers and such: each is compiled at every boot
    system = root / "etc/systemd/system"
    for unit in MASKED:
        (system / unit).unlink(missing_ok=True)
        (system / unit).symlink_to("/dev/null")
    for path in (HERE / "guest_system").glob("*.service"):
        shutil.copy(path, system)
    wants = system / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "e2e.service").symlink_to("/etc/systemd/system/e2e.service")
    (root / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")


def _lay_in_script(root: Path) -> None:
    if not (
        root / "usr/sbin/init"
    ).exists():  # Debian starts OpenRC from sysvinit, but it can do without
        (root / "usr/sbin/init").symlink_to("openrc-init")
    shutil.copy(HERE / "guest_system/e2e-init", root / "etc/init.d/e2e")
    (root / "etc/init.d/e2e").chmod(0o755)
    run(["chroot", root, "update-rc.d", "e2e", "defaults"])


def _add_ipp_usb(root: Path, apt: Path) -> None:
    """Its package, for the check that installs it."""
    target = root / "root/debs"
    target.mkdir(mode=0o755)
    target.parent.chmod(0o755)
    run(["apt-get", "download", "-qq", "ipp-usb"], cwd=target, apt=apt)
