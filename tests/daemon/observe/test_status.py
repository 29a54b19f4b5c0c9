"""The status survives its way through JSON, and nothing else is taken for one."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.daemon import run_daemon
from support.page_status import STATUS

from ippusbd.daemon.observe.status import SCHEMA, PrinterStatus, Status, read
from ippusbd.dataclass_json import NotDecoded, decode, encode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(), each, max_size=4),
    max_leaves=5,
)
NAMES = st.sampled_from(["printers", "pid", "uptime_s", "sharing", "page", "state", "condition"])


def sent(status: object) -> dict[str, object]:
    return dict(json.loads(json.dumps(encode(status))))


async def test_a_status_is_the_same_after_its_way_through_json(make_printer, state_path):
    async with run_daemon(make_printer(), state_path=state_path) as daemon:
        await daemon.until(lambda: daemon.row()["condition"])
        for status in (daemon.status(), STATUS, Status()):
            raw = sent(status)
            assert raw["schema"] == SCHEMA
            assert read(raw) == status


@given(st.dictionaries(NAMES, JSON))
def test_what_is_no_status_is_refused_and_nothing_else_happens(raw: dict[str, object]):
    for cls, each in ((Status, raw), (Status, {"printers": [raw]})):
        with suppress(NotDecoded):
            assert isinstance(decode(cls, each), cls)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"pid": "1"}, "status.pid"),
        ({"pid": True}, "status.pid"),
        ({"printers": [{}, {"state": "odd"}]}, "status.printers[1].state"),
        ({"printers": [{"interfaces": None}]}, "status.printers[0].interfaces"),
        ({"sharing": {"addresses": [1]}}, "status.sharing.addresses[0]"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(wrong: dict[str, object], where: str):
    with pytest.raises(NotDecoded) as refused:
        decode(Status, wrong)
    assert str(refused.value).startswith(f"{where} ")


def test_what_is_left_out_has_its_default():
    assert decode(PrinterStatus, {"id": "1:2"}) == PrinterStatus(id="1:2")
