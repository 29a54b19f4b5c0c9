"""`ippusbd setup`: makes a service of this program where no package does."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ippusbd.cli.common import Exit, add_command
from ippusbd.cli.output import show, tell
from ippusbd.errors import IppUsbError, WrongUsage
from ippusbd.init_system import Init

if TYPE_CHECKING:
    from ippusbd.setup.apply import Worker


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "setup",
        run,
        summary="install ippusbd as a service of this system",
        description="Install this program as a service: a copy of it with its libraries in\n"
        "/usr/local/lib/ippusbd, its user, udev rules, the unit or script of the init system\n"
        "(systemd, OpenRC, runit, sysvinit), AppArmor profile, CUPS backend, manual pages,\n"
        "completion and configuration. Run it again after an update. A file that was changed is\n"
        "kept and named.",
        examples=[
            "ippusbd setup --dry-run",
            "sudo $(command -v ippusbd) setup",
            "sudo ippusbd setup --uninstall",
        ],
        config=False,
    )
    add = parser.add_argument
    add("-n", "--dry-run", action="store_true", help="show each file and command, change nothing")
    add("--uninstall", action="store_true", help="remove what setup installed, except what changed")
    add(
        "--purge",
        action="store_true",
        help="with --uninstall: also configuration, ports and names of printers, and the user",
    )
    add("--init", choices=[*map(str, Init)], help="the init system (default: found out)")
    add(
        "--root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="install into this image of a system; commands are shown, not run",
    )


def run(args: argparse.Namespace) -> int:
    """Install or uninstall, with one line for each file and command."""
    from ippusbd.setup import apply
    from ippusbd.setup.system import package_file

    root: Path = args.root.resolve()
    if args.purge and not args.uninstall:
        raise WrongUsage("--purge needs --uninstall")
    if not root.is_dir():
        raise WrongUsage(f"--root {root}: there is no such directory")
    is_image = root != Path("/")
    if not (args.dry_run or is_image or is_root()):
        raise IppUsbError(f"setup must be run as root: {as_root(sys.argv)}")
    say = show if args.dry_run else tell  # what is begun is finished, read or not
    worker = apply.Worker(
        root, lambda line: say([line]), run=None if is_image else apply.run, dry=args.dry_run
    )
    packaged = package_file(root)
    if packaged is not None and (args.purge or not args.uninstall):
        raise IppUsbError(
            f"{packaged} belongs to a package of this distribution: update or remove that package"
        )
    (_uninstall if args.uninstall else _install)(worker, args)
    return Exit.OK


def is_root() -> bool:
    return os.geteuid() == 0


def as_root(argv: Sequence[str]) -> str:
    """The command to paste; sudo may not find a program in a home directory by its name."""
    return shlex.join(["sudo", str(Path(argv[0]).absolute()), *argv[1:]])


def _install(worker: Worker, args: argparse.Namespace) -> None:
    from ippusbd.setup import program
    from ippusbd.setup.manifest import load
    from ippusbd.setup.plan import LIB, File, installation
    from ippusbd.setup.system import examined

    system = examined(worker.root, Init(args.init) if args.init else None)
    before = load(worker.root)
    if before is None and (worker.root / LIB.relative_to("/")).exists():
        raise IppUsbError(f"{LIB} exists and is not of setup: move or delete it")
    files = tuple(File(LIB / name, content) for name, content in program.files())
    plan = installation(system, program.interpreter(), program.packaging_folder(), files)
    worker.install(plan, system, before)


def _uninstall(worker: Worker, args: argparse.Namespace) -> None:
    from ippusbd.setup.manifest import load
    from ippusbd.setup.plan import removal
    from ippusbd.setup.system import examined

    record = load(worker.root)
    if record is None and not args.purge:
        show(["nothing is installed by ippusbd setup"])
        return
    init = record.init if record else args.init
    system = examined(worker.root, Init(init) if init else None)
    files = record.files if record else {}
    folders = record.folders if record else []
    worker.remove(removal(system, purge=args.purge), files, folders, purge=args.purge)
