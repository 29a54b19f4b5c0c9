"""Is the service that `ippusbd setup` installed complete, current, and the only one?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ippusbd import __version__
from ippusbd.doctor.findings import Finding, note, ok, problem
from ippusbd.errors import IppUsbError
from ippusbd.setup.manifest import Manifest, below, load
from ippusbd.setup.plan import COMMAND
from ippusbd.setup.system import Init, package_file

CHECK: Final = "setup"
AGAIN: Final = "sudo ippusbd setup"
START: Final = {
    Init.SYSTEMD: "systemctl start ippusbd",
    Init.OPENRC: "rc-service ippusbd start",
    Init.RUNIT: "sv start ippusbd",
    Init.SYSVINIT: "/etc/init.d/ippusbd start",
}


def check(root: Path) -> Iterator[Finding]:
    """Nothing is found where setup installed nothing."""
    try:
        manifest = load(root)
    except IppUsbError as exc:
        yield problem(CHECK, str(exc), AGAIN)
        return
    if manifest is not None:
        yield _judged(root, manifest)


def start_command(root: Path) -> str:
    """How to start the service that setup installed; "" if there is none."""
    try:
        manifest = load(root)
    except IppUsbError:
        return ""
    return START[Init(manifest.init)] if manifest is not None else ""


def _judged(root: Path, manifest: Manifest) -> Finding:
    packaged = package_file(root)
    if packaged is not None:
        return problem(
            CHECK,
            f"installed twice: by setup, and {packaged} by a package of this distribution",
            "sudo ippusbd setup --uninstall",
        )
    missing = [path for path in manifest.files if not _exists(below(root, Path(path)))]
    if missing or not manifest.complete:
        about = f"{missing[0]} is missing" if missing else "it was interrupted, or a command failed"
        return problem(CHECK, f"what setup installed is not complete: {about}", AGAIN)
    python = Path(below(root, COMMAND).read_text().partition(" ")[0].removeprefix("#!"))
    if not below(root, python).exists():
        return problem(
            CHECK,
            f"the service needs {python}, which is gone",
            "install ippusbd again with the system's Python, then: sudo ippusbd setup",
        )
    if manifest.version != __version__:
        text = f"the service is ippusbd {manifest.version}, this command {__version__}"
        return note(CHECK, text, AGAIN)
    return ok(CHECK, f"installed by setup, for {manifest.init}, complete")


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()
