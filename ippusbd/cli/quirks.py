"""`ippusbd quirks`: the special settings of a model, with file, line and reason."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ippusbd.cli.common import Exit, add_command, ask_daemon, load_config
from ippusbd.cli.output import show
from ippusbd.errors import WrongUsage

if TYPE_CHECKING:
    from ippusbd.quirks.load import Effective, QuirkTable


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "quirks",
        run,
        summary="show the special settings of a model, and the reasons",
        description="Show the effective settings of a model, each with file, line and reason;\n"
        "without --device all entries. Local entries belong in /etc/ippusbd/quirks/NAME.toml:\n\n"
        "  [[quirk]]\n"
        '  model = "HP LaserJet 9*"      # or: usb = "03f0:1234"\n'
        '  reason = "hangs when two interfaces are used"\n'
        "  max_interfaces = 1\n\n"
        "Local entries win over what the daemon learned, and that over what is built in. Among\n"
        "them the most specific wins: a USB id, then the model with the most literal characters,\n"
        'then usb = "VID:*", then model = "*"; of two equal ones the later.\n'
        "Lines of ipp-usb's quirk files that have no effect are shown with the reason.",
        examples=[
            'ippusbd quirks --device "HP LaserJet MFP M28-M31"',
            "ippusbd quirks --device 0924:42e8 --all",
        ],
    )
    parser.add_argument("--device", metavar="MODEL|VID:PID", help="model name or USB id")
    parser.add_argument("--all", action="store_true", help="with --device: show defaults too")


def run(args: argparse.Namespace) -> int:
    """Load the quirks and print those that were requested."""
    from ippusbd.quirks.load import load
    from ippusbd.quirks.match import MatchTarget

    if args.all and args.device is None:
        raise WrongUsage("--all needs --device")
    table = load(load_config(args).quirks_dirs)
    if args.device is None:
        show(_entries(table))
        show(_entries_learned(_learned(args)))
        show(f"not used: {line}" for line in table.unused)
        return Exit.OK
    device = MatchTarget.from_text(args.device)
    show(effective(table.effective_for(device), args.device, with_defaults=args.all))
    show(
        f"not used: {line}"
        for line in table.unused
        if line.pattern is not None and line.pattern.matches(device)
    )
    return Exit.OK


def effective(found: Effective, asked: str, *, with_defaults: bool = False) -> Iterator[str]:
    """What holds for a device, each setting with its origin and reason."""
    from ippusbd.quirks.model import KNOWN

    special = list(found.origins)
    yield f"{asked}: {len(special)} setting{'s' * (len(special) != 1)} by quirks"
    for key, origin in found.origins.items():
        yield ""
        yield f"{key} = {toml(origin.value)}"
        yield f"  from   {origin} (for {origin.pattern})"
        yield f"  reason {origin.reason}"
    if with_defaults:
        yield ""
        for key in (key for key in KNOWN if key not in special):
            yield f"{key} = {toml(getattr(found, key))}  (default)"


def _entries(table: QuirkTable) -> Iterator[str]:
    for entry in table.entries:
        names = ", ".join(pattern.text for pattern in entry.patterns)
        for key, origin in entry.origins.items():
            yield f"{origin}: {names}: {key} = {toml(origin.value)} ({origin.reason})"


def _learned(args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """What a running daemon learned, by printer key; empty if none runs."""
    from ippusbd.errors import IppUsbError

    with suppress(IppUsbError):  # none runs, or it refuses
        return ask_daemon(load_config(args), "learned", dict)
    return {}


def _entries_learned(found: dict[str, dict[str, object]]) -> Iterator[str]:
    """As entries that can be copied into a file in /etc/ippusbd/quirks."""
    for key, about in found.items():
        settings = about.get("settings")
        if not isinstance(settings, dict) or not settings:
            continue
        yield ""
        yield f"# learned about {about.get('name') or key}; `ippusbd forget` deletes it"
        yield "[[quirk]]"
        yield f"usb = {toml(key[:9])}"
        yield 'reason = "learned while using the device"'
        yield from (f"{name} = {toml(value)}" for name, value in settings.items())


def toml(value: object) -> str:
    """A value in a quirk file's syntax; None as `unset`."""
    import json

    if isinstance(value, dict):
        fields = ", ".join(f"{toml(name)} = {toml(each)}" for name, each in value.items())
        return f"{{ {fields} }}"
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)
