"""`make e2e-system`: the Debian package, or what does without it, in a guest with its own disk.

    system.py                 builds the package, boots, installs it, and makes all checks
    system.py openrc          builds the wheel, for pipx and `ippusbd setup` under OpenRC,
                              or systemd, runit, sysvinit (`make e2e-setup INIT=openrc`)
    system.py container       builds the container of packaging/container, for podman
                              (`make e2e-container`)
    system.py --release NAME  on this release of Debian: trixie (the default), bookworm
    system.py --only purge    the checks whose name contains "purge" (and what they stand on)
    system.py --deb FILE      this package instead

The last line is `N passed, N failed`. The disk is thrown away at the end; the
guest restarts once in between. Knows this machine's side only; what happens
inside is in guest_system/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from container import build_container
from kit import HERE, KitError, cache_dir, run, write_initramfs
from system_image import INITS, PACKAGES, debian_system
from vm import KERNEL_ARGUMENTS, Machine, board, run_to_end, share

PROJECT = HERE.parents[1]
BOOT_MODULES = (
    *("virtio_pci", "virtio_console", "virtio-rng", "virtio_blk"),
    *("crc32c_generic", "ext4", "9pnet_virtio", "9p"),
)
START = """\
cd /e2e/guest
exec /usr/bin/python3 -B main.py --only "$(cat /e2e/only)"
"""
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
SYSTEMD = "apparmor=1 security=apparmor systemd.show_status=0 systemd.log_level=info rw"


def main(arguments: Sequence[str]) -> int:
    """Exit status of the checks; 69 if this machine cannot run them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--release", default="trixie", metavar="NAME", help="of Debian: trixie")
    parser.add_argument("kind", nargs="?", choices=PACKAGES, default="package")
    parser.add_argument("--only", default="", metavar="TEXT", help="checks whose name has TEXT")
    parser.add_argument("--deb", type=Path, metavar="FILE", help="this package")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="S", dest="timeout_s")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the guest's logs here")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the guest ends with us
    started = time.monotonic()
    try:
        status = _run(options)
    except KitError as exc:
        print(f"e2e: {exc}", file=sys.stderr)
        return 69
    print(f"e2e: {time.monotonic() - started:.0f} s in all", file=sys.stderr)
    return status


def _run(options: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise KitError("only root can make a Debian system; run it as root")
    cache = cache_dir()
    system = debian_system(options.release, cache, options.kind)
    initramfs = cache / f"initramfs-system-{system.kernel_release}"
    write_initramfs(initramfs, system.modules, BOOT_MODULES, HERE / "guest_system/initramfs-init")
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as scratch:
        run_dir = options.logs.resolve() if options.logs else Path(scratch)
        _fill(run_dir, options)
        print(
            f"e2e: {options.release}, {options.kind}, "
            f"kernel {system.kernel_release}, logs in {run_dir}",
            flush=True,
        )
        machine = Machine(timeout_s=options.timeout_s, memory_mb=2048)
        disk = f"file={system.disk},if=virtio,format=raw,snapshot=on,cache=unsafe"
        return run_to_end(
            [
                *board(run_dir, machine),
                *("-drive", disk),
                *share("modules", system.modules, writable=False),
                *share("run", run_dir, writable=True),
                *("-kernel", str(system.kernel), "-initrd", str(initramfs)),
                *("-append", f"{KERNEL_ARGUMENTS} {SYSTEMD}"),
            ],
            run_dir,
            machine,
        )


def _fill(run_dir: Path, options: argparse.Namespace) -> None:
    """The run directory: what is tested, and the checks."""
    if run_dir.exists():
        shutil.rmtree(run_dir)
    guest = run_dir / "guest"
    guest.mkdir(parents=True)
    for path in (HERE / "guest/report.py", HERE / "guest/programs.py", *_checks()):
        shutil.copy(path, guest)
    (run_dir / "start").write_text(START)
    (run_dir / "only").write_text(options.only)
    (run_dir / "kind").write_text(options.kind)
    if options.kind in INITS:
        _build_wheels(run_dir / "wheels", options.release)
        return
    deb = options.deb or _build(run_dir, options.release)
    shutil.copy(deb, run_dir / "ippusbd.deb")
    if options.kind == "container":
        build_container(deb, options.release, run_dir)
    else:
        _next_version(deb, run_dir / "ippusbd-next.deb")


def _checks() -> Iterator[Path]:
    return (HERE / "guest_system").glob("*.py")


def _build(folder: Path, release: str) -> Path:
    build = ["env", f"RELEASE={release}", PROJECT / "packaging/build-deb", folder / "built"]
    print(run(build), end="", flush=True)
    (deb,) = (folder / "built").glob("*.deb")
    return deb


def _build_wheels(folder: Path, release: str) -> None:
    """Ours, and all that pip needs beside it, as nothing can be downloaded in the guest."""
    sys.path.append(str(PROJECT / "tests/packaging"))
    from check_wheel import build

    folder.mkdir()
    _, ours = build(folder)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    version = ["--only-binary", ":all:", "--python-version", PYTHONS[release]]
    run([*pip, *version, "--dest", folder, f"{ours}[virtual,share]", "pip"])  # for pipx itself


def _next_version(deb: Path, target: Path) -> None:
    """The same package with a higher version, to upgrade to."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        run(["dpkg-deb", "-R", str(deb), str(tree)])
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"(?m)^Version: (.*)$", r"Version: \1+next", control.read_text()))
        run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(tree), str(target)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
