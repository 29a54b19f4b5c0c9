"""A small system in a folder, and the commands that were run on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ippusbd.init_system import Init
from ippusbd.setup.apply import Worker
from ippusbd.setup.manifest import load
from ippusbd.setup.plan import LIB, File, Plan, installation, removal
from ippusbd.setup.program import packaging_folder
from ippusbd.setup.system import System, examined

PYTHON = Path("/usr/bin/python3.11")
PROGRAM = (File(LIB / "ippusbd/__init__.py", b"# the program\n"),)


@dataclass
class Box:
    """The system below `root`; commands are noted, and those that begin with `broken` fail."""

    root: Path
    init: Init
    lines: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    broken: str = "no command"

    @property
    def system(self) -> System:
        return examined(self.root, self.init)

    def plan(self, system: System | None = None) -> Plan:
        return installation(system or self.system, PYTHON, packaging_folder(), PROGRAM)

    def worker(self, *, dry: bool = False) -> Worker:
        self.lines.clear()
        self.commands.clear()
        return Worker(self.root, self.lines.append, self.run, dry)

    def run(self, argv: tuple[str, ...]) -> tuple[int, str]:
        line = " ".join(argv)
        self.commands.append(line)
        if argv[0] in ("useradd", "systemd-sysusers"):
            self.at("/etc/passwd").write_text("root:x:0:0\nippusbd:x:990:990\n")
        return (1, "out of order") if line.startswith(self.broken) else (0, "")

    def install(self, *, dry: bool = False) -> None:
        self.worker(dry=dry).install(self.plan(), self.system, load(self.root))

    def uninstall(self, *, purge: bool = False, dry: bool = False) -> None:
        record = load(self.root)
        files, folders = (record.files, record.folders) if record else ({}, [])
        what = removal(self.system, purge=purge)
        self.worker(dry=dry).remove(what, files, folders, purge=purge)

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def everything(self) -> dict[str, bytes]:
        """Files and links with their content, and folders."""
        found = {}
        for path in self.root.rglob("*"):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = str(path.readlink()).encode()
            else:
                found[name] = path.read_bytes() if path.is_file() else b""
        return found


def small_system(root: Path, init: Init) -> Box:
    """A system with CUPS, AppArmor and udev, under this init system."""
    for folder in ("etc/apparmor.d", "etc/init.d", "usr/lib/cups/backend", "usr/sbin", "run"):
        (root / folder).mkdir(parents=True)
    for program in ("useradd", "udevadm", "update-rc.d"):
        (root / "usr/sbin" / program).touch()
    (root / "etc/passwd").write_text("root:x:0:0\n")
    (root / "etc/group").write_text("root:x:0:\nlp:x:7:\n")
    return Box(root, init)
