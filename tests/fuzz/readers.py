"""What must hold for files and messages that others than devices may have damaged or forged.

As in `targets`: a function takes bytes, and returns or raises AssertionError; our own errors are
valid results, any other exception is a fault. The first byte says which reader.

    broker  messages of its clients; every answer passes every client's check
    state   the state file, and cancellations kept over a restart
    config  configuration, users' file, ipp-usb's configuration, and keys added to a file
    quirks  quirk files, ours and ipp-usb's
"""

from __future__ import annotations

import re
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from ippusbd import config as settings
from ippusbd import ipp_usb_conf
from ippusbd.daemon.state import cancels_file
from ippusbd.daemon.state.ipp_usb_import import parse as parse_imported
from ippusbd.daemon.state.state_file import DEFAULT_PORTS, StateFile
from ippusbd.errors import BadRequest, ConfigError
from ippusbd.exchange.pending_cancels import PendingCancels
from ippusbd.model import BusAddress, DeviceFacts, UsbId
from ippusbd.quirks import ipp_usb_files
from ippusbd.quirks import load as quirk_files
from ippusbd.quirks.match import MatchTarget
from ippusbd.toml_merge import Addition, merged
from ippusbd.users.passwords import Users
from ippusbd.wire import broker as messages

SOCKET: Final = re.compile(r"[0-9A-Fa-f_-]+\.sock")
DEVICE: Final = DeviceFacts(UsbId(0x1209, 1), BusAddress(1, 2), "Example", "Jet", "S1")
TARGET: Final = MatchTarget.from_facts(DEVICE)
ADDED: Final = (Addition("access", "print", ("lp",), "x"), Addition("new", "key", True, "y"))


def broker(data: bytes) -> None:
    """Messages one after the other, each as a question."""
    with suppress(BadRequest):
        while (found := messages.next_message(data)) is not None:
            text, rest = found
            assert messages.encode(text) + rest == data
            data = rest
            question = messages.parse_question(text)
            name = messages.socket_name(question.usb_id, question.serial)
            assert SOCKET.fullmatch(name)
            assert messages.next_message(messages.encode(name)) == (name, b"")


def state(data: bytes) -> None:
    """Any file gives a state that works."""
    kind, content = data[:1], data[1:]
    if kind == b"c":
        (_folder() / cancels_file.NAME).write_bytes(content)
        for kept in cancels_file.take(_folder(), time.time).values():
            PendingCancels().restore(kept)
        return
    path = _folder() / "printers.json"
    path.write_bytes(content)
    written = []
    known = StateFile(path, clock=lambda: 1.0, replace=lambda _, document: written.append(document))
    table = quirk_files.QuirkTable([])
    for key in (*known.printers(), "new"):
        assert known.port_for(key) in DEFAULT_PORTS
        assert isinstance(known.name_for(key) + known.recovery(key), str)
        table.effective_for(TARGET, known.learned(key))
    for record in known.printers().values():
        assert known.document_age_s(record.document_address) > 0
    path.write_bytes(written[-1])
    assert StateFile(path, replace=lambda *_: None).printers() == known.printers()


def config(data: bytes) -> None:
    """Any file gives settings or an error that names it."""
    kind, content = data[:1], data[1:]
    text = content.decode("utf-8", "replace")
    if kind == b"u":
        (_folder() / "users").write_bytes(content)
        with suppress(ConfigError):
            _users().refresh()
    elif kind == b"i":
        conf = ipp_usb_conf.parse(text, Path("ipp-usb.conf"))
        assert all(conf.access.values())  # an empty list would allow everybody
        parse_imported(text)
    elif kind == b"m":
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            _merges(text)
    else:
        with _named("file"):
            settings.parse(content, "file")


def _merges(text: str) -> None:
    before = tomllib.loads(text)
    if all(isinstance(before.get(each.section, {}), dict) for each in ADDED):
        additions = [each for each in ADDED if each.key not in before.get(each.section, {})]
        after = merged(text, additions)
        with suppress(tomllib.TOMLDecodeError):  # `migrate` writes no such file
            found = tomllib.loads(after)
            for each in additions:
                assert found[each.section].pop(each.key) is not None


def quirks(data: bytes) -> None:
    """Any file gives quirks, or an error or remarks that name it."""
    kind, content = data[:1], data[1:]
    entries = []
    if kind == b"i":
        found, unused = ipp_usb_files.sections(content.decode("utf-8", "replace"), "file")
        assert all(str(each).startswith("file:") for each in unused)
        entries = [quirk_files.Entry((s.pattern,), s.values, s.origins) for s in found]
    else:
        with _named("file"):
            entries = quirk_files.parse(content, "file")
    quirk_files.QuirkTable(entries).effective_for(TARGET)


@contextmanager
def _named(file: str) -> Iterator[None]:
    """A ConfigError names the file."""
    raised = ""
    try:
        yield
    except ConfigError as exc:
        raised = str(exc) or "nothing"
    assert raised.startswith(file if raised else "")


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


@cache
def _users() -> Users:
    """Made once, of an empty file: that takes as long as a password."""
    path = _folder() / "users"
    content = path.read_bytes()
    path.write_bytes(b"")
    users = Users(path)
    path.write_bytes(content)
    return users


def _folder() -> Path:
    return Path(_temporary().name)
