"""`ippusbd migrate`: takes over the configuration of ipp-usb.

Keys are only added to our file; a key that it sets already stays, and the conflict is named.
Nothing of ipp-usb is written. Ports, names and quirk files need no migration: they are read where
they are.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ippusbd.cli.common import Exit, add_command, config_file
from ippusbd.cli.output import show
from ippusbd.errors import ConfigError, IppUsbError
from ippusbd.kinds import Kind
from ippusbd.local_commands import LocalCommands

if TYPE_CHECKING:
    from ippusbd.config import Config
    from ippusbd.doctor.findings import Finding
    from ippusbd.ipp_usb_conf import IppUsbConf
    from ippusbd.kinds import Diagnosis
    from ippusbd.toml_merge import Addition


SHARING: Final = "listen.interface"
NEW_FILE: Final = (
    "# Configuration of ippusbd; ippusbd(8) names the example that explains every key.\n"
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "migrate",
        run,
        summary="take over the configuration of ipp-usb",
        description="Add the settings of /etc/ipp-usb/ipp-usb.conf to the configuration: who may\n"
        "print, scan, fax and configure, ports, sharing. A key that is set already stays and is\n"
        "named, and so is what has no counterpart. Files of ipp-usb are never changed; ports,\n"
        "names and quirk files are read where they are and need no migration.\n\n"
        "exit status: 0 nothing is left to decide, 1 something is (FAIL), 2 wrong configuration.",
        examples=["ippusbd migrate --dry-run", "sudo ippusbd migrate"],
    )
    add = parser.add_argument
    add("-n", "--dry-run", action="store_true", help="show what would be written, write nothing")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="ipp-usb's file (default: daemon.ipp_usb_conf, /etc/ipp-usb/ipp-usb.conf)",
    )


def run(args: argparse.Namespace) -> int:
    """Show what is taken over and what is not, and write it."""
    from ippusbd.cli.doctor import show_findings

    plan = _Plan.made(args)
    if plan.conf is None:
        show([f"there is no {plan.config.ipp_usb_conf}: nothing to take over"])
        return Exit.OK
    document = plan.document()
    code = show_findings(plan.findings(plan.conf))
    if not plan.additions:
        show([f"nothing is to be added to {plan.target}"])
        return code
    if not args.dry_run:
        _write(plan.target, document)
    show([f"{'would be ' * args.dry_run}added to {plan.target}:"])
    show(f"  [{each.section}] {each.line}" for each in plan.additions)
    if not args.dry_run:
        restart = LocalCommands(config=args.config).restart
        show([f"the daemon reads it when it is started again: {restart}"])
    return code


@dataclass(frozen=True, slots=True)
class _Plan:
    """What our file, `target`, says now, and what is to be added."""

    target: Path
    text: str
    config: Config
    given: Mapping[str, int]  # keys that the file sets, with their lines
    conf: IppUsbConf | None
    additions: list[Addition]

    @classmethod
    def made(cls, args: argparse.Namespace) -> _Plan:
        """Read both files. Raises ConfigError."""
        from ippusbd.config import own_file, parse, state_dir
        from ippusbd.ipp_usb_conf import found
        from ippusbd.toml_lines import read_file, tables_and_lines

        target: Path = config_file(args) or own_file(os.environ, os.getuid())
        raw = read_file(target) if target.exists() else NEW_FILE.encode()
        config = parse(raw, str(target))
        if args.source:
            config = replace(config, ipp_usb_conf=args.source.absolute())
        _, lines = tables_and_lines(raw, str(target))
        given = {f"{path[0]}.{path[1]}": line for path, line in lines.items() if len(path) > 1}
        conf = found(config, state_dir(config, os.environ, os.getuid()))
        additions = list(_additions(conf, config, given)) if conf else []
        return cls(target, raw.decode(), config, given, conf, additions)

    def document(self) -> str:
        """The new text of the file. Raises ConfigError if that would be no valid configuration."""
        from ippusbd.config import parse
        from ippusbd.toml_merge import merged

        document = merged(self.text, self.additions)
        try:
            parse(document.encode(), str(self.target))
        except ConfigError as exc:
            wanted = "; ".join(f"[{each.section}] {each.line}" for each in self.additions)
            raise ConfigError(f"nothing is written, add it by hand: {wanted}: {exc}") from exc
        return document

    def findings(self, conf: IppUsbConf) -> Iterator[Finding]:
        """What conflicts, what is not taken over, and what to know of the rest."""
        from ippusbd.doctor.findings import told

        for remark in conf.remarks:
            if remark.wrong:
                reason = Kind.IPP_USB_LINE.of(line=remark, path=conf.path)
            else:
                reason = Kind.NOT_TAKEN_OVER.of(what=remark)
            yield told(reason, check="ipp-usb.conf")
        theirs: dict[str, object] = {f"access.{kind}": names for kind, names in conf.access.items()}
        theirs |= {key: value for key, (value, _) in conf.settings.items()}
        for key in theirs.keys() & self.given.keys():
            conflict = self._conflict(key, theirs[key])
            if conflict is not None:
                yield told(conflict, check=key)
        if SHARING in conf.settings.keys() - self.given.keys():
            kind = Kind.SHARED if _can_share(self.config) else Kind.NO_CERTIFICATE
            yield told(kind.of(), check=SHARING)

    def _conflict(self, key: str, theirs: object) -> Diagnosis | None:
        from ippusbd.config import KNOWN
        from ippusbd.toml_merge import shown

        section, _, name = key.partition(".")
        ours = getattr(self.config, KNOWN[key].field)
        if key == SHARING:
            ours = {(): "loopback", ("*",): "all"}.get(ours, ours)
        where = f"{self.target}:{self.given[key]}: [{section}] {name}"
        if section == "access" and not ours:
            text = f"{where} allows every user, ipp-usb only {shown(theirs)}"
            return Kind.ACCESS_OPEN.of(text, kind=name, file=self.target)
        if ours != theirs:
            return Kind.STAYS.of(where=where, ours=shown(ours), theirs=shown(theirs))
        return None


def _additions(conf: IppUsbConf, config: Config, given: Collection[str]) -> Iterator[Addition]:
    """What our file does not set. A rule that cannot be read is left to the administrator."""
    from ippusbd.toml_merge import Addition

    for kind, names in conf.access.items():
        if f"access.{kind}" not in given and not conf.access_broken:
            yield Addition("access", kind, names, f"From {conf.path}:{conf.access_line}")
    for key, (value, line) in conf.settings.items():
        if key in given or (key == SHARING and not _can_share(config)):
            continue
        section, _, name = key.partition(".")
        yield Addition(section, name, value, f"From {conf.path}:{line}")


def _can_share(config: Config) -> bool:
    """Whether there is a certificate, or one can be made."""
    return bool(config.share_certificate) or find_spec("cryptography") is not None


def _write(target: Path, document: str) -> None:
    """Replace the file as a whole; it keeps its owner and mode."""
    from ippusbd.daemon.state.files import replace_file

    path = target.resolve()  # a link stays one
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, document.encode(), 0o644)
    except OSError as exc:
        raise IppUsbError(f"cannot write {path}: {exc.strerror}; run this as root") from exc
