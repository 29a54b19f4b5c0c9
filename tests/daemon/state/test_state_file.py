"""Ports and names are permanent, whatever happens to the file."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import until

from ippusbd.daemon.state import state_file as module
from ippusbd.daemon.state.files import replace_file
from ippusbd.daemon.state.state_file import StateFile
from ippusbd.errors import StateError

PORTS = range(60000, 60003)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "printers.json"


def nobody_listens(port: int) -> bool:
    return True


# --- ports


def test_a_printer_has_the_same_port_after_every_restart(path: Path):
    first = StateFile(path, PORTS)
    assert first.port_for("a", nobody_listens) == 60000
    assert first.port_for("b", nobody_listens) == 60001
    second = StateFile(path, PORTS)
    assert second.port_for("b", nobody_listens) == 60001
    assert second.port_for("a", nobody_listens) == 60000


def test_a_new_printer_never_gets_the_port_of_an_absent_one(path: Path):
    StateFile(path, PORTS).port_for("absent")
    assert StateFile(path, PORTS).port_for("new") == 60001


def test_a_new_printer_skips_ports_in_use(path: Path):
    assert StateFile(path, PORTS).port_for("a", lambda port: port != 60000) == 60001


def test_a_printer_whose_port_is_taken_gets_another_for_this_time_and_keeps_its_own(
    path: Path, caplog: pytest.LogCaptureFixture
):
    state = StateFile(path, PORTS)
    assert state.port_for("a") == 60000
    assert state.port_for("b") == 60001
    assert state.port_for("a", lambda port: port != 60000) == 60002
    assert "is in use" in caplog.text
    assert StateFile(path, PORTS).port_for("a") == 60000


def test_when_no_port_is_left_the_one_of_the_printer_unused_for_longest_is_reassigned(
    path: Path, caplog: pytest.LogCaptureFixture
):
    now = iter(range(100, 200))
    state = StateFile(path, PORTS, clock=lambda: next(now))
    for key in ("a", "b", "c"):
        state.port_for(key)
    state.port_for("a")  # seen again
    assert state.port_for("d") == 60001
    assert "no port is left" in caplog.text
    state.set_name("b", "B")
    assert state.port_for("b") == 60002  # now that of c
    assert state.name_for("b") == "B"


def test_a_range_without_a_free_port_is_an_error_that_names_it(path: Path):
    with pytest.raises(StateError, match="no port from 60000 to 60002 is free"):
        StateFile(path, PORTS).port_for("a", lambda port: False)


def test_a_port_outside_a_changed_range_is_replaced(path: Path):
    StateFile(path, range(61000, 61002)).port_for("a")
    assert StateFile(path, PORTS).port_for("a") == 60000


def test_a_device_with_a_new_serial_number_at_every_plug_does_not_fill_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_PRINTERS", 2)
    state = StateFile(path, PORTS, clock=iter(range(100)).__next__)
    for key in ("a", "b", "c"):
        state.port_for(key)
    assert set(state.printers()) == {"b", "c"}


# --- the last document


def test_the_time_of_the_last_document_outlives_the_daemon(path: Path):
    StateFile(path, clock=lambda: 1000.0).set_document("a", "001:005", 50.0)
    after = StateFile(path, clock=lambda: 1100.0)
    assert after.document_age_s("001:005") == 150.0
    assert after.document_age_s("001:006") == math.inf


def test_a_document_is_not_known_any_more_when_there_is_none_or_the_clock_was_set_back(path: Path):
    state = StateFile(path, clock=lambda: 1000.0)
    state.set_document("a", "001:005", 50.0)
    assert StateFile(path, clock=lambda: 900.0).document_age_s("001:005") == math.inf
    state.set_document("a", "001:005", math.inf)
    assert StateFile(path, clock=lambda: 1000.0).document_age_s("001:005") == math.inf


@pytest.mark.parametrize(
    "damaged", ["1e999", "NaN", "-1", f"1{'0' * 400}", f"-1{'0' * 400}", '"x"']
)
def test_a_damaged_time_of_a_document_is_none(path: Path, damaged: str):
    path.parent.mkdir()
    record = f'{{"document_at": {damaged}, "document_address": "001:005"}}'
    path.write_text(f'{{"version": 1, "printers": {{"a": {record}}}}}')
    assert StateFile(path).document_age_s("001:005") == math.inf


# --- names and what was learned


def test_names_and_learned_settings_survive(path: Path):
    state = StateFile(path)
    state.set_name("a", "Büro (USB 2)")
    state.learn("a", "max_interfaces", 1)
    state.set_recovery("a", "soft-reset")
    again = StateFile(path)
    assert again.name_for("a") == "Büro (USB 2)"
    assert again.learned("a") == {"max_interfaces": 1}
    assert again.recovery("a") == "soft-reset"


def test_forgetting_keeps_port_and_name(path: Path):
    state = StateFile(path)
    port = state.port_for("a")
    state.set_name("a", "A")
    state.learn("a", "max_interfaces", 1)
    state.set_recovery("a", "soft-reset")
    state.forget("a")
    state.forget("unknown")
    again = StateFile(path)
    assert (again.learned("a"), again.recovery("a")) == ({}, "")
    assert (again.port_for("a"), again.name_for("a")) == (port, "A")


def test_a_look_up_of_an_unknown_printer_creates_no_record(path: Path):
    state = StateFile(path)
    assert (state.name_for("x"), state.learned("x"), state.recovery("x")) == ("", {}, "")
    assert state.printers() == {}


# --- the file


def test_the_file_is_private_and_no_temporary_one_is_left(path: Path):
    StateFile(path).port_for("a")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


async def test_while_a_loop_runs_changes_are_written_in_a_thread_and_close_waits_for_them(
    path: Path,
):
    state = StateFile(path, PORTS)
    state.port_for("a")
    state.set_name("a", "one")
    state.set_name("a", "two")
    assert not path.exists()
    await state.close()
    assert StateFile(path, PORTS).name_for("a") == "two"


async def test_closing_without_a_change_writes_nothing(path: Path):
    await StateFile(path).close()
    assert not path.exists()


class Disk:
    """Where state is written, until it is full; `tries` counts the writes."""

    def __init__(self) -> None:
        self.full = False
        self.tries = 0

    def replace(self, path: Path, content: bytes) -> None:
        self.tries += 1
        if self.full:
            raise OSError(28, "No space left on device")
        replace_file(path, content)


def test_a_write_that_fails_leaves_the_old_file_and_is_retried(
    path: Path, caplog: pytest.LogCaptureFixture
):
    disk = Disk()
    state = StateFile(path, replace=disk.replace)
    state.set_name("a", "one")
    before = path.read_bytes()
    disk.full = True
    state.set_name("a", "two")
    state.set_name("a", "three")
    assert path.read_bytes() == before
    assert caplog.text.count("No space left") == 1  # logged once
    disk.full = False
    state.save()
    assert StateFile(path).name_for("a") == "three"


async def test_while_the_disk_is_full_writes_are_retried_with_pauses_and_nothing_is_lost(
    path: Path, caplog: pytest.LogCaptureFixture
):
    disk = Disk()
    state = StateFile(path, replace=disk.replace, retry_s=0.02)
    disk.full = True
    state.set_name("a", "one")
    await asyncio.sleep(0.3)  # time for thousands of writes, or for 4 with doubled pauses
    assert 2 <= disk.tries <= 6
    assert caplog.text.count("No space left") == 1
    state.set_name("b", "two")
    disk.full = False
    await until(lambda: path.exists())
    written = StateFile(path)
    assert (written.name_for("a"), written.name_for("b")) == ("one", "two")
    await state.close()


async def test_a_disk_that_stays_full_does_not_delay_the_shutdown(path: Path):
    disk = Disk()
    disk.full = True
    state = StateFile(path, replace=disk.replace)
    state.set_name("a", "one")
    await until(lambda: disk.tries)
    async with asyncio.timeout(0.5):
        await state.close()
    assert not path.exists()


def test_a_folder_that_was_removed_is_created_again(path: Path):
    state = StateFile(path)
    path.parent.rmdir()
    state.set_name("a", "one")
    assert StateFile(path).name_for("a") == "one"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"version": 1}',
        b'{"version": 2, "printers": {}}',
        b'{"version": 1, "printers": []}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_cannot_be_parsed_is_renamed_and_the_daemon_starts_empty(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    path.parent.mkdir()
    path.write_bytes(content)
    state = StateFile(path)
    assert "cannot be parsed" in caplog.text
    assert path.with_name("printers.json.corrupt").read_bytes() == content
    state.set_name("a", "A")
    assert StateFile(path).name_for("a") == "A"


def test_a_damaged_record_affects_only_its_own_printer(path: Path):
    path.parent.mkdir()
    printers = {
        "good": {"port": 60001, "name": "Good", "last_seen": 5, "learned": {"fax": False}},
        "bad": {"port": "60002", "name": ["x"], "last_seen": None, "learned": 3, "new": 1},
        "none": None,
        "twin": {"port": 60001, "name": "Twin"},
        "flag": {"port": True},
    }
    path.write_text(json.dumps({"version": 1, "printers": printers}))
    state = StateFile(path, PORTS)
    assert state.port_for("good") == 60001
    assert state.learned("good") == {"fax": False}
    assert (state.name_for("bad"), state.learned("bad")) == ("", {})
    assert state.name_for("twin") == "Twin"
    assert state.port_for("twin") == 60000
    assert state.port_for("flag") == 60002


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.text(max_size=5),
        _json
        | st.dictionaries(
            st.sampled_from(["port", "name", "last_seen", "learned", "recovery"]), _json
        ),
    )
)
def test_any_json_becomes_records_of_the_right_types(printers: dict[str, object]):
    raw = json.dumps({"version": 1, "printers": printers}).encode()
    for record in module._parse(raw).values():
        assert type(record.port) is int
        assert type(record.name) is str
        assert type(record.learned) is dict


def test_a_directory_that_cannot_be_created_is_our_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot create"):
        StateFile(tmp_path / "file" / "sub" / "state.json")


def test_a_state_that_cannot_be_read_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "state.json"
    path.mkdir()  # EISDIR
    state = StateFile(path)
    assert state.port_for("a printer") == 60000
    state.save()
    assert path.is_dir()
    assert "Ports and names are temporary" in caplog.text


@pytest.fixture(autouse=True)
def _see_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
