"""The response parser on any bytes, cut anywhere, and beside h11."""

from __future__ import annotations

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from support.http1_streams import Outcome, chunked, cut_at, mangled, outcome, single_bytes

from ippusbd.wire.http1_response import BodyFraming

cuts = st.lists(st.integers(0, 400), max_size=12)
methods = st.sampled_from(["GET", "POST", "HEAD"])
# Small enough that the streams reach them.
limits = st.sampled_from(
    [{}, {"max_head": 40}, {"max_junk": 3}, {"max_fields": 1}, {"max_informational": 1}]
)

names = st.sampled_from(["Server", "x-a", "ETag", "Date", "Content-Type", "!odd"])
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
fields = st.lists(st.tuples(names, values), max_size=5)
bodies = st.lists(st.binary(min_size=1, max_size=60), max_size=6)
statuses = st.integers(200, 599)
surpluses = st.sampled_from([b"", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"junk\0"])


@given(mangled, cuts, methods, limits)
@settings(max_examples=500)
def test_where_usb_cuts_the_stream_changes_nothing(stream, cuts, method, limits):
    whole = outcome([stream], method=method, **limits)

    assert outcome(cut_at(stream, cuts), method=method, **limits) == whole
    assert outcome(single_bytes(stream), method=method, **limits) == whole


@given(st.lists(st.one_of(mangled, st.binary(max_size=50)), max_size=5))
@settings(max_examples=300)
def test_any_bytes_give_a_value_or_our_error_and_invent_nothing(pieces):
    result = outcome(pieces)

    assert len(result.body) + len(result.surplus) <= sum(map(len, pieces))
    assert result.head is not None or not (result.body or result.surplus or result.done)


@given(mangled)
@settings(max_examples=300)
def test_a_head_that_was_read_can_be_written_to_a_client(stream):
    head = outcome([stream]).head
    if head is not None:
        text = head.reason + "".join(name + value for name, value in head.headers)
        assert not set(text) & {chr(code) for code in (*range(9), *range(10, 32), 127)}


@given(statuses, fields, bodies, st.booleans(), surpluses, cuts)
@settings(max_examples=400)
def test_h11_reads_the_same(status, fields, body, in_chunks, surplus, cuts):
    stream = _response(status, fields, body, in_chunks=in_chunks)
    result = outcome(cut_at(stream + surplus, cuts))

    _compare(result, _by_h11(stream + surplus))
    assert result.done
    assert result.surplus == surplus


@given(statuses, bodies, cuts)
@settings(max_examples=200)
def test_without_framing_nothing_ends_the_body_but_silence(status, body, cuts):
    stream = b"HTTP/1.1 %d x\r\n\r\n" % status + b"".join(body)
    result = outcome(cut_at(stream, cuts))

    assert result.error is None
    assert result.head is not None
    if result.head.framing is BodyFraming.EOF:
        assert (result.body, result.done) == (b"".join(body), False)
    else:
        assert (result.surplus, result.done) == (b"".join(body), True)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=40), st.integers(1, 300))
@settings(max_examples=300)
def test_chunks_come_out_as_they_went_in(pieces, read_size):
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(pieces)
    reads = [stream[at : at + read_size] for at in range(0, len(stream), read_size)]

    assert outcome(reads).body == b"".join(pieces)


def _response(
    status: int, fields: list[tuple[str, str]], body: list[bytes], *, in_chunks: bool
) -> bytes:
    framing = (
        "Transfer-Encoding: chunked" if in_chunks else f"Content-Length: {len(b''.join(body))}"
    )
    lines = [f"HTTP/1.1 {status} Some Reason", *(f"{n}: {v}" for n, v in fields), framing, "", ""]
    bodiless = status in (204, 304)
    data = b"" if bodiless else chunked(body) if in_chunks else b"".join(body)
    return "\r\n".join(lines).encode() + data


def _by_h11(stream: bytes) -> tuple[h11.Response, bytes, bytes]:
    """The head, the body and what follows, as h11 has it in the client's role."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(stream)
    head = peer.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while not isinstance(event := peer.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
        body += event.data
    return head, body, peer.trailing_data[0]


def _compare(ours: Outcome, theirs: tuple[h11.Response, bytes, bytes]) -> None:
    head, body, surplus = theirs
    assert ours.error is None
    assert ours.head is not None
    assert (ours.head.status, ours.head.reason) == (head.status_code, head.reason.decode())
    assert [(name.lower(), value) for name, value in ours.head.headers] == [
        (name.decode(), value.decode()) for name, value in head.headers
    ]
    assert (ours.body, ours.surplus) == (body, surplus)
