"""Messages alike are walked once, and nothing else is found in them than by a walk."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ipp_strategies import item_streams, messages

from ippusbd.wire import ipp
from ippusbd.wire.ipp_layout import KEPT, KEPT_BYTES, Layouts, Place
from ippusbd.wire.links import PrinterHosts, rewriter

NAMES = (b"uri-security-supported", b"uri-authentication-supported")
BASE = "http://localhost:60000/ipp/print"


def answer(uptime: int = 1, *, uri: str = "ipp://a.local/p", message: str = "ready") -> bytes:
    attributes = (
        ipp.attribute("printer-up-time", ipp.integer(uptime)),
        ipp.attribute("printer-uri-supported", ipp.uri(uri), ipp.uri("urn:x")),
        ipp.attribute("printer-state-message", ipp.text(message)),
        ipp.attribute("uri-security-supported", ipp.keyword("none"), ipp.keyword("tls")),
    )
    return ipp.encode(ipp.Message(0, 1, (ipp.Group(ipp.Tag.PRINTER, attributes),)))


def found(layouts: Layouts, body: bytes) -> list[bytes]:
    return [place.name + b"=" + body[place.at : place.end] for place in layouts.places(body)]


class Walks(Layouts):
    """Counts them."""

    count = 0

    def _walked(self, message: bytes) -> tuple[Sequence[Place], int]:
        self.count += 1
        return super()._walked(message)


def test_uris_and_the_keywords_of_the_given_attributes_are_found():
    assert found(Layouts(NAMES), answer() + b"document") == [
        b"=ipp://a.local/p",
        b"=urn:x",
        b"uri-security-supported=none",
        b"uri-security-supported=tls",
    ]


def test_an_answer_with_other_values_is_not_walked_again():
    layouts = Walks(NAMES)
    for uptime in range(5):
        body = answer(uptime, uri=f"ipp://{uptime}.local/p")
        assert found(layouts, body)[0] == b"=ipp://%d.local/p" % uptime
    assert layouts.count == 1

    moved = answer(uri="ipp://longer.local/p", message="")
    assert len(moved) == len(body)
    assert found(layouts, moved)[0] == b"=ipp://longer.local/p"
    assert layouts.count == 2


@given(
    st.one_of(item_streams(), messages.map(ipp.encode), st.just(answer())),
    st.binary(max_size=8),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=4),
)
@settings(max_examples=500)
def test_what_is_remembered_of_one_message_changes_nothing_for_another(body, document, changes):
    """The other has the same size, and some other bytes."""
    layouts, other = Layouts(NAMES), bytearray(body + document)
    layouts.places(bytes(other))
    for at, byte in changes:
        other[at % len(other)] = byte
    assert layouts.places(bytes(other)) == Layouts(NAMES).places(bytes(other))


@given(
    st.one_of(item_streams(), messages.map(ipp.encode), st.binary(max_size=40)),
    st.lists(st.sampled_from(["ipp://p.example/", "http://p.example/x", "urn:x"]), max_size=3),
    st.booleans(),
)
@settings(max_examples=300)
def test_a_whole_message_becomes_what_its_stream_becomes(body, uris, password):
    sent = answer(uri="ipp://p.example/")[:-1] + body[8:]
    for data in (body, sent, *(answer(uri=uri) for uri in uris)):
        links = [
            rewriter("application/ipp", BASE, PrinterHosts(["p.example"]), password=password)
            for _ in range(2)
        ]
        assert links[0] is not None
        assert links[1] is not None
        assert links[0].whole(data) == links[1].feed(data) + links[1].finish()


def test_where_a_stream_is_cut_changes_none_of_an_attributes_keywords():
    """The second one has no name of its own."""
    body = answer()
    links = rewriter("application/ipp", BASE, PrinterHosts())
    assert links is not None
    whole = links.whole(body)
    assert whole.endswith(b"none\x44\0\0\0\4none\3")
    for at in range(len(body)):
        stream = rewriter("application/ipp", BASE, PrinterHosts())
        assert stream is not None
        assert stream.feed(body[:at]) + stream.feed(body[at:]) + stream.finish() == whole


def test_every_byte_but_those_of_values_tells_of_a_layout():
    body = answer()
    for at in range(8, len(body)):
        layouts, other = Layouts(NAMES), bytearray(body)
        layouts.places(body)
        for byte in (0, 3, 0x44, 0x45, other[at] + 1):
            other[at] = byte
            assert layouts.places(bytes(other)) == Layouts(NAMES).places(bytes(other))


def test_a_message_that_was_cut_says_nothing_of_the_whole_one():
    whole = answer()
    cut = whole[:-10] + b"\x44\xff\xff" + bytes(7)
    layouts = Layouts(NAMES)
    assert len(found(layouts, cut)) < len(found(Layouts(NAMES), whole))
    assert found(layouts, whole) == found(Layouts(NAMES), whole)


@pytest.mark.parametrize("no_message", [b"", answer()[:7], b"<" + answer()[1:]])
def test_nothing_is_found_in_what_is_no_message(no_message: bytes):
    assert Layouts(NAMES).places(no_message) == []


def test_memory_is_bounded():
    layouts = Walks(NAMES)
    for size in range(10 * KEPT):
        layouts.places(answer(message="x" * size))
    layouts.places(answer(message="x" * (10 * KEPT - 1)))
    assert layouts.count == 10 * KEPT
    layouts.places(answer(message=""))
    assert layouts.count == 10 * KEPT + 1

    large = answer() + bytes(KEPT_BYTES)
    layouts.places(large)
    layouts.places(large)
    assert layouts.count == 10 * KEPT + 3
