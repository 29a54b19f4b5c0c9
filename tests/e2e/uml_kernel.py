"""User-mode Linux with a USB bus, built from Debian's own kernel source.

Debian's user-mode-linux package has no USB. The build takes some four minutes
on two cores, once per version and configuration, in the cache directory
outside the tree; the source is removed when the kernel is done. Concurrent
callers wait for each other.

Knows apt and the kernel's make; nothing of how it is booted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kit import KitError

HERE = Path(__file__).resolve().parent
CONFIG = HERE / "uml.config"
MUST_HAVE = ("CONFIG_USBIP_VHCI_HCD=y", "CONFIG_USB_PRINTER=y", "CONFIG_HOSTFS=y")

# Commands of the build, and the packages that have them.
TOOLS = {
    "bc": "bc",
    "bison": "bison",
    "flex": "flex",
    "gcc": "gcc",
    "make": "make",
    "xz": "xz-utils",
}


def uml_kernel(cache: Path) -> Path:
    """The kernel's executable; built if this machine has none. Raises KitError."""
    cache.mkdir(parents=True, exist_ok=True)
    package = _source_package()
    recipe = hashlib.sha256(CONFIG.read_bytes()).hexdigest()[:8]
    kernel = cache / f"{package.replace('source', 'uml')}-{recipe}"
    with _locked(cache / "uml.lock"):
        if not kernel.exists():
            _install_tools()
            _build(package, cache, kernel)
    return kernel


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _source_package() -> str:
    """Debian's name for the source of its current kernel, as linux-source-6.1."""
    listing = _run(["apt-cache", "depends", "linux-source"])
    if "Depends: " not in listing:
        _run(["apt-get", "update", "-qq"])
        listing = _run(["apt-cache", "depends", "linux-source"])
    return listing.partition("Depends: ")[2].split()[0]


def _install_tools() -> None:
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        _say(f"installing {' '.join(missing)}")
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])


def _build(package: str, cache: Path, kernel: Path) -> None:
    _say(f"building user-mode Linux from {package}: some minutes, once")
    with tempfile.TemporaryDirectory(dir=cache, prefix="uml-build-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o777)  # apt drops to its own user to download
        source = _unpacked(package, folder)
        _configure(source)
        make = ["make", "-s", "ARCH=um", f"-j{os.cpu_count() or 1}", "linux"]
        _run(make, cwd=source)
        _run(["strip", "--strip-debug", "linux"], cwd=source)
        (source / "linux").rename(kernel)


def _unpacked(package: str, folder: Path) -> Path:
    _run(["apt-get", "download", "-qq", package], cwd=folder)
    (archive,) = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", str(archive), str(folder)])
    (tarball,) = folder.glob("usr/src/*.tar.xz")
    _run(["tar", "xf", str(tarball)], cwd=folder)
    tarball.unlink()
    return folder / package


def _configure(source: Path) -> None:
    _run(["make", "-s", "ARCH=um", "x86_64_defconfig"], cwd=source)
    _run(["scripts/kconfig/merge_config.sh", "-m", ".config", str(CONFIG)], cwd=source)
    _run(["make", "-s", "ARCH=um", "olddefconfig"], cwd=source)
    lines = (source / ".config").read_text().splitlines()
    if missing := [line for line in MUST_HAVE if line not in lines]:
        raise KitError(f"the kernel's configuration lost {', '.join(missing)}")


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise KitError(f"{' '.join(command)} failed:\n{said}")
    return done.stdout


def _say(text: str) -> None:
    print(f"e2e: {text}", file=sys.stderr, flush=True)
