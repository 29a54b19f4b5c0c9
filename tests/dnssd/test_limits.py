"""Whatever a set holds, it is announced as it is or refused by our error, naming the record."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.dnssd.limits import check, describe, txt_items
from ippusbd.dnssd.naming import NameBook
from ippusbd.dnssd.zeroconf_publisher import wire_name
from ippusbd.errors import PublishError
from ippusbd.model import ServiceRecord, ServiceSet

P = ServiceSet("P", ())
records = st.builds(
    ServiceRecord,
    name=st.text(max_size=70),
    type=st.one_of(st.sampled_from(["_ipp._tcp", "_uscan._tcp", "_ipp-usb._tcp"]), st.text()),
    port=st.integers(-5, 70000),
    subtypes=st.lists(st.text(max_size=70), max_size=3).map(tuple),
    txt=st.lists(st.tuples(st.text(max_size=9), st.text(max_size=270)), max_size=4).map(tuple),
)


@given(record=records)
def test_a_set_is_within_the_limits_or_refused_naming_the_record(record: ServiceRecord) -> None:
    try:
        check(ServiceSet(record.name, (record,)))
    except PublishError as refusal:
        named = str(refusal).startswith(describe(record))
    else:
        named = False
    if named:
        return
    assert 1 <= len(record.name.encode()) <= 63
    assert all(len(item) <= 255 for item in txt_items(record))
    assert 0 <= record.port <= 65535
    assert all("=" not in key for key, _ in record.txt)


def test_a_record_under_another_name_belongs_among_the_fixed_ones() -> None:
    stray = ServiceRecord("Other", "_ipp._tcp", 1)
    with pytest.raises(PublishError, match=r"'Other' _ipp\._tcp: not under the set's name"):
        check(ServiceSet("Printer", (stray,)))
    check(ServiceSet("Printer", (), (stray,)))


@pytest.mark.parametrize(
    "record",
    [
        ServiceRecord("tab\there", "_ipp._tcp", 1),
        ServiceRecord("", "_ipp._tcp", 1),
        ServiceRecord("P", "_ipp._tcp", 1, ("a.b",)),
        ServiceRecord("P", "_ipp._tcp", 1, ("",)),
        ServiceRecord("P", "_ipp._tcp", 1, (), (("", "value"),)),
        ServiceRecord("P", "_ipp._tcp", 1, (), (("a=b", "value"),)),
        ServiceRecord("lone \ud800 surrogate", "_ipp._tcp", 1),
        ServiceRecord("P", "_ipp._tcp", 1, (), (("ty", "\udcff"),)),
    ],
)
def test_each_of_these_is_refused(record: ServiceRecord) -> None:
    with pytest.raises(PublishError):
        check(ServiceSet(record.name, (record,)))


def test_the_name_in_use_is_tried_first_then_the_projects_names() -> None:
    names = NameBook().free("P (USB 3)", P)
    assert [next(names) for _ in range(3)] == ["P (USB 3)", "P (USB)", "P (USB 2)"]
    names = NameBook().free("P", replace(P, suffix=""))
    assert [next(names) for _ in range(3)] == ["P", "P (USB)", "P (USB 2)"]


def test_a_name_that_another_set_holds_is_left_out_whatever_its_case() -> None:
    book = NameBook()
    with book.held("p"):
        assert next(book.free("P", P)) == "P (USB)"
    assert next(book.free("P", P)) == "P"


def test_names_come_to_an_end() -> None:
    book = NameBook()
    with pytest.raises(PublishError, match="every name like 'P' is taken"):
        for _ in book.free("P", P):
            pass


@given(name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=63))
def test_a_name_for_zeroconf_has_no_dot_and_fits_if_it_did(name: str) -> None:
    wired = wire_name(name)
    assert "." not in wired
    if len(name.encode()) <= 63:
        assert len(wired.encode()) <= 63
