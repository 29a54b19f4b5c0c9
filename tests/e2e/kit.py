"""The guest's parts: Debian's kernel, an initramfs, and packages only the guest sees.

All of it is made once per kernel version in a cache directory outside the
tree, by downloading and unpacking: nothing of it is installed here, and
ipp-usb in particular must never run on a developer's own machine. Each piece
is made under another name and renamed, so an interrupted run leaves no
incomplete piece.

Knows apt, dpkg-deb, depmod and the cpio format; not QEMU.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Seen by the guest alone, on top of this machine's own root file system.
GUEST_PACKAGES = ("ipp-usb",)

# What reaches the root file system; everything else is loaded by modprobe in the guest.
BOOT_MODULES = ("virtio_pci", "virtio_console", "virtio-rng", "9pnet_virtio", "9p", "overlay")

# A new kernel flavour or a changed recipe must not meet an old initramfs.
RECIPE = 1


class KitError(Exception):
    """Something is missing on this machine; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Kit:
    """Paths of everything QEMU needs to boot the guest."""

    release: str
    kernel: Path
    modules: Path  # .../usr/lib/modules/RELEASE
    initramfs: Path
    extra: Path  # root of the unpacked GUEST_PACKAGES


def cache_dir() -> Path:
    """$IPPUSBD_E2E_CACHE, else below the user's cache directory."""
    if explicit := os.environ.get("IPPUSBD_E2E_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ippusbd-e2e"


def prepare(cache: Path) -> Kit:
    """Make what is missing. Raises KitError."""
    release, kernel, modules = debian_kernel(cache)
    initramfs = cache / f"initramfs-{release}-{RECIPE}"
    if not initramfs.exists():
        write_initramfs(initramfs, modules, BOOT_MODULES, HERE / "guest/initramfs-init")
    return Kit(
        release=release,
        kernel=kernel,
        modules=modules,
        initramfs=initramfs,
        extra=_layer(cache, "extra-" + "-".join(GUEST_PACKAGES), GUEST_PACKAGES),
    )


def newest(package: str, cache: Path) -> tuple[str, Path]:
    """The package's version in Debian's unstable release, unpacked for the guest. KitError."""
    apt = apt_of("sid", cache / "sid")
    found = re.search(
        r"^Version: (\S+)$", run(["apt-cache", "show", package], apt=apt), re.MULTILINE
    )
    if found is None:
        raise KitError(f"apt-cache show {package} names no version")
    name = f"extra-{package}-{found[1]}"
    return found[1], _layer(cache, name, [package], apt)


def apt_of(release: str, folder: Path) -> Path:
    """An apt.conf in `folder` for that release of Debian, with its package lists. KitError."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(run([HERE.parents[1] / "packaging/apt-sources", release]))
    conf = folder / "apt.conf"
    conf.write_text(
        f'Dir::State "{folder}"; Dir::State::status "/dev/null"; Dir::Cache "{folder}";\n'
        f'Dir::Etc::sourcelist "{sources}"; Dir::Etc::sourceparts "-";\n'
        'APT::Sandbox::User "root";\n'
    )
    run(["apt-get", "update", "-qq"], apt=conf)
    return conf


def debian_kernel(cache: Path, apt: Path | None = None) -> tuple[str, Path, Path]:
    """Release, image and modules of Debian's kernel; unpacked if it is not there. KitError.

    `apt`: the configuration of another release's apt.
    """
    cache.mkdir(parents=True, exist_ok=True)
    tree = _newest(cache) or _unpack_kernel(cache, apt)
    release = _release(tree)
    return release, tree / "boot" / f"vmlinuz-{release}", tree / "usr/lib/modules" / release


def write_initramfs(path: Path, modules: Path, boot_modules: Sequence[str], init: Path) -> None:
    """busybox, `boot_modules` in loading order, and `init`, which is run first."""
    _atomically(path, gzip.compress(b"".join(_initramfs(modules, boot_modules, init)), 1))


def _newest(cache: Path) -> Path | None:
    trees = sorted(cache.glob("linux-image-*"), key=lambda tree: tree.stat().st_mtime)
    return trees[-1] if trees else None


def _release(tree: Path) -> str:
    (modules,) = (tree / "usr/lib/modules").iterdir()
    return modules.name


def _unpack_kernel(cache: Path, apt: Path | None) -> Path:
    """Debian's general kernel: its cloud flavour has no USB/IP."""
    package = _kernel_package(apt)
    tree = _unpack([package], cache, package, apt)
    (tree / "lib").symlink_to("usr/lib")  # depmod looks there
    run(["depmod", "-b", str(tree), _release(tree)])
    return tree


def _kernel_package(apt: Path | None) -> str:
    listing = run(["apt-cache", "depends", "linux-image-amd64"], check=False, apt=apt)
    if "Depends: " not in listing:
        run(["apt-get", "update", "-qq"], apt=apt)
        listing = run(["apt-cache", "depends", "linux-image-amd64"], apt=apt)
    return listing.partition("Depends: ")[2].split()[0]


def _layer(cache: Path, name: str, packages: Sequence[str], apt: Path | None = None) -> Path:
    layer = cache / name
    return layer if layer.exists() else _unpack(packages, cache, name, apt)


def _unpack(packages: Sequence[str], cache: Path, name: str, apt: Path | None = None) -> Path:
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        debs, tree = Path(scratch) / "debs", Path(scratch) / "tree"
        debs.mkdir()
        for folder in (Path(scratch), debs):
            folder.chmod(0o777)  # apt drops to its own user to download
        run(["apt-get", "download", "-qq", *packages], cwd=debs, apt=apt)
        for deb in sorted(debs.iterdir()):
            run(["dpkg-deb", "-x", str(deb), str(tree)])
        _merge_usr(tree)
        target = cache / name
        tree.rename(target)
        return target


def _merge_usr(tree: Path) -> None:
    """A real /lib in an upper layer would hide this machine's symbolic link."""
    for name in ("sbin", "bin", "lib", "lib64"):
        if (tree / name).is_dir():
            shutil.copytree(tree / name, tree / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(tree / name)


# --- the initramfs


def _initramfs(modules: Path, boot_modules: Sequence[str], init: Path) -> Iterator[bytes]:
    """A cpio archive (newc) of busybox, the boot modules in loading order, and init."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise KitError("busybox is missing: apt-get install busybox-static")
    for folder in ("bin", "proc", "sys", "dev", "lower", "extra", "rw", "new", "mods"):
        yield _member(folder, 0o040755)
    yield _member("bin/busybox", 0o100755, Path(busybox).read_bytes())
    for order, module in enumerate(_in_loading_order(modules, boot_modules)):
        name = module.name.partition(".ko")[0]
        yield _member(f"mods/{order:02d}-{name}.ko", 0o100644, _uncompressed(module))
    yield _member("init", 0o100755, init.read_bytes())
    yield _member("TRAILER!!!", 0)


def _member(name: str, mode: int, data: bytes = b"") -> bytes:
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _in_loading_order(modules: Path, boot_modules: Sequence[str]) -> list[Path]:
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, dependencies = line.partition(":")
        needs[path] = dependencies.split()
    by_name = {Path(path).name.partition(".ko")[0]: path for path in needs}
    in_the_kernel = (modules / "modules.builtin").read_text()
    order: list[str] = []
    for name in boot_modules:
        if f"/{name}.ko" in in_the_kernel:
            continue
        if name not in by_name:
            raise KitError(f"the kernel in {modules} has no module {name}")
        wanted = [*reversed(needs[by_name[name]]), by_name[name]]
        order += [path for path in wanted if path not in order]
    return [modules / path for path in order]


def _uncompressed(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def _atomically(path: Path, data: bytes) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_bytes(data)
    scratch.rename(path)


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    check: bool = True,
    apt: Path | None = None,
) -> str:
    """Standard output of a program that must succeed. Raises KitError with its errors."""
    environ = os.environ | ({"APT_CONFIG": str(apt)} if apt else {})
    try:
        done = subprocess.run(
            command, cwd=cwd, env=environ, check=False, capture_output=True, text=True
        )
    except FileNotFoundError as exc:
        raise KitError(f"{command[0]} is missing on this machine; run: make packages") from exc
    if check and done.returncode:
        raise KitError(f"{shlex.join(map(str, command))} failed:\n{done.stderr.strip()}")
    return done.stdout
