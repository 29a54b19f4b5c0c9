"""printer-state in passing answers: the same as a decoder finds, whatever the answer is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ipp_strategies import item_streams

from ippusbd.wire import ipp
from ippusbd.wire.ipp import Group, Message, Tag
from ippusbd.wire.overheard import printer_state


def answer(*attributes: ipp.Attribute) -> bytes:
    return ipp.encode(Message(0, 1, (Group(Tag.PRINTER, attributes),)))


def reasons(*keywords: str) -> ipp.Attribute:
    return ipp.attribute("printer-state-reasons", *(ipp.keyword(k) for k in keywords))


STATE = ipp.attribute("printer-state", ipp.enum(4))


@pytest.mark.parametrize(
    ("attributes", "heard"),
    [
        (
            (STATE, reasons("media-empty-error", "toner-low")),
            (4, ("media-empty-error", "toner-low")),
        ),
        ((reasons("none"), STATE), (4, ())),
        ((STATE,), (4, ())),
        ((reasons("media-empty"),), None),
        ((), None),
    ],
)
def test_state_and_reasons_are_found(attributes: tuple[ipp.Attribute, ...], heard: object):
    assert printer_state(answer(*attributes)) == heard


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data: bytes):
    printer_state(data)
    printer_state(b"\x23\x00\x0dprinter-state\x00\x04" + data)
    printer_state(answer(STATE)[:-1] + b"\x44\x00\x15printer-state-reasons" + data)


@given(item_streams())
def test_a_cut_answer_is_survived(data: bytes):
    for end in range(0, len(data), 7):
        printer_state(data[:end])
