"""The man pages say what the programs do: every option is there, and they render."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.debian import require

from ippusbd import config
from ippusbd.cli import common, ippusbxd, main
from ippusbd.daemon.observe.status import PrinterStatus, Status
from ippusbd.daemon.process.systemd import STOP_SIGNALS
from ippusbd.dataclass_json import hints
from ippusbd.kinds import Diagnosis, Kind
from ippusbd.model import Supply
from ippusbd.quirks.model import KNOWN
from ippusbd.toml_schema import accepted
from ippusbd.wire.state_reasons import Advice

MAN = Path(__file__).parents[2] / "packaging" / "man"
PAGES = sorted(MAN.glob("*.[58]"))


def plain(page: Path) -> str:
    """The text without the escapes of roff that matter for options."""
    return page.read_text().replace("\\-", "-").replace("\\fR,\\fB ", " ")


def test_every_option_of_ippusbxd_is_in_its_page():
    page = plain(next(p for p in PAGES if p.name == "ippusbxd.8"))
    for action in ippusbxd.build_parser()._actions:
        for option in action.option_strings:
            assert option in page, option


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands of `ippusbd`."""
    actions = main.build_parser()._actions
    (commands,) = (each for each in actions if isinstance(each, argparse._SubParsersAction))
    return dict(commands.choices)


def test_every_command_and_option_of_ippusbd_is_in_its_page():
    page = plain(MAN / "ippusbd.8")
    synopsis, options = page.split(".SH DESCRIPTION")[0], page.split(".SH OPTIONS")[1]
    common, *sections = options.split(".SH ")[0].split(".SS ")
    of = {section.split("\n", 1)[0]: section for section in sections}
    for name, parser in commands().items():
        assert re.search(rf"^(\.B ippusbd {name}|\.B {name})$", synopsis, re.MULTILINE), name
        for action in parser._actions:
            for option in set(action.option_strings) - {"-h", "--help"}:
                where = common if option == "--config" else of.get(name, "")
                assert re.search(rf"{option}(?![-a-z])", where), f"{name} {option}"
    assert of.keys() <= commands().keys()


def test_every_exit_status_and_signal_is_in_the_page():
    page = plain(MAN / "ippusbd.8")
    statuses = page.split(".SH EXIT STATUS")[1].split(".SH ")[0]
    assert all(re.search(rf"\b{status.value} [a-z]", statuses) for status in common.Exit)
    signals = page.split(".SH SIGNALS")[1].split(".SH ")[0]
    assert all(each.name in signals for each in STOP_SIGNALS)


def test_the_directories_of_the_system_are_in_the_page():
    files = plain(MAN / "ippusbd.8").split(".SH FILES")[1].split(".SH ")[0]
    folders = (config.SYSTEM_FILE, config.SYSTEM_STATE, config.SYSTEM_RUNTIME, config.SYSTEM_BROKER)
    assert all(str(path) in files for path in folders)


def test_the_package_installs_every_page():
    names = ["ippusb.8", "ippusbd-quirks.5", "ippusbd-status.5", "ippusbd.8", "ippusbxd.8"]
    assert [p.name for p in PAGES] == names
    installed = (MAN.parent / "debian" / "ippusbd.manpages").read_text().split()
    assert sorted(installed) == [f"packaging/man/{name}" for name in names]


@pytest.mark.parametrize("about", ["quirks", "status"])
def test_a_page_about_a_format_is_made_of_its_types(about: str):
    made = subprocess.run(
        [sys.executable, MAN / f"make-{about}-page"], capture_output=True, text=True, timeout=30
    )
    assert (made.returncode, made.stderr) == (0, "")
    page = (MAN / f"ippusbd-{about}.5").read_text()
    assert made.stdout == page, f"run: packaging/man/make-{about}-page > that file"


def test_every_field_of_the_status_is_in_its_page_with_its_text():
    page = plain(MAN / "ippusbd-status.5")
    for cls in (Status, PrinterStatus, Supply, Advice, Diagnosis):
        for name, hint in hints(cls).items():
            (text,) = hint.__metadata__
            assert re.search(rf"\n\\fB{name}\\fR \([^)]+\)\n{re.escape(text)}\n", page), name
            assert text.endswith(".")
    assert all(f"\\fB{kind.label}\\fR ({kind.severity.value})" in page for kind in Kind)


@pytest.mark.parametrize("key", KNOWN)
def test_every_quirk_is_in_the_page_with_type_default_and_meaning(key: str):
    entry = plain(MAN / "ippusbd-quirks.5").split(f"\n.B {key}\n", 1)[1].split("\n.TP\n")[0]
    kind, default, _, meaning, *_ = entry.split("\n")
    known = KNOWN[key]
    assert kind.lower() == f"{accepted(known.check)}.".lower()
    assert default == f"Default: {known.default}."
    assert meaning == known.doc
    assert len(meaning) > 20
    assert meaning.endswith(".")


@pytest.mark.clients
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_renders_without_a_warning(page: Path):
    require("groff")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-P-c", str(page)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shown = re.sub(".\b", "", done.stdout)  # bold is a letter written twice
    assert max(len(line) for line in shown.splitlines()) <= 100
