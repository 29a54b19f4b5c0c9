"""Is the service that `ippusbd setup` installed complete, current, and the only one?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ippusbd import __version__
from ippusbd.doctor.findings import Finding, ok, told
from ippusbd.errors import IppUsbError
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.setup.manifest import Manifest, below, load
from ippusbd.setup.plan import COMMAND
from ippusbd.setup.system import package_file

CHECK: Final = "setup"


def check(root: Path) -> Iterator[Finding]:
    """Nothing is found where setup installed nothing."""
    try:
        manifest = load(root)
    except IppUsbError as exc:
        yield told(Kind.INCOMPLETE.of(str(exc)), check=CHECK)
        return
    if manifest is not None:
        diagnosis = _judged(root, manifest)
        yield told(diagnosis, check=CHECK) if diagnosis else _fine(manifest)


def _judged(root: Path, manifest: Manifest) -> Diagnosis | None:
    packaged = package_file(root)
    if packaged is not None:
        return Kind.INSTALLED_TWICE.of(file=packaged)
    missing = [path for path in manifest.files if not _exists(below(root, Path(path)))]
    if missing or not manifest.complete:
        about = f"{missing[0]} is missing" if missing else "it was interrupted, or a command failed"
        return Kind.INCOMPLETE.of(why=about)
    python = Path(below(root, COMMAND).read_text().partition(" ")[0].removeprefix("#!"))
    if not below(root, python).exists():
        return Kind.NO_PYTHON.of(python=python)
    if manifest.version != __version__:
        return Kind.OLD_SERVICE.of(version=manifest.version, own=__version__)
    return None


def _fine(manifest: Manifest) -> Finding:
    return ok(CHECK, f"installed by setup, for {manifest.init}, complete")


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()
