"""What printers call HTTP, whole and byte by byte: accepted, refused, and where it ends."""

from __future__ import annotations

import pytest
from support.http1_streams import outcome, single_bytes

from ippusbd.errors import BadResponse
from ippusbd.wire.http1_chunked import MAX_LINE
from ippusbd.wire.http1_response import (
    SURPLUS_KEPT,
    BodyFraming,
    Head,
    ResponseParser,
)

OK = b"HTTP/1.1 200 OK\r\n"
FIVE = b"Content-Length: 5\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

ACCEPTED = {
    "a length": (OK + FIVE + b"\r\nhello", b"hello"),
    "a length of nothing": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "a length with leading zeros": (OK + b"Content-Length: 00005\r\n\r\nhello", b"hello"),
    "chunks": (OK + CHUNKED + b"\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    "no chunks": (OK + CHUNKED + b"\r\n0\r\n\r\n", b""),
    "chunk extensions": (OK + CHUNKED + b'\r\n5;a="b\r\nhello\r\n0;z\r\n\r\n', b"hello"),
    "chunk sizes padded": (OK + CHUNKED + b"\r\n 0005  \r\nhello\r\n000\r\n\r\n", b"hello"),
    "trailers": (OK + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"hello"),
    "chunks of one size": (
        OK + CHUNKED + b"\r\n2\r\nhe\r\n2\r\nll\r\n1\r\no\r\n0\r\n\r\n",
        b"hello",
    ),
    "a chunk that looks like framing": (
        OK + CHUNKED + b"\r\n7\r\n\r\n2\r\n\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"\r\n2\r\n\r\nx",
    ),
    "Chunked in another case": (
        OK + b"TRANSFER-encoding:  Chunked \r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"x",
    ),
    "chunked said twice": (OK + CHUNKED + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
    "length and chunked": (OK + FIVE + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n", b"x"),
    "wrong lengths and chunked": (
        OK + FIVE + b"Content-Length: -1\r\n" + CHUNKED + b"\r\n1\r\nx\r\n0\r\n\r\n",
        b"x",
    ),
    "identity and length": (
        OK + b"Transfer-Encoding: identity\r\n" + FIVE + b"\r\nhello",
        b"hello",
    ),
    "equal lengths on two lines": (OK + FIVE + FIVE + b"\r\nhello", b"hello"),
    "equal lengths on one line": (OK + b"Content-Length: 5, 5\r\n\r\nhello", b"hello"),
    "no reason": (b"HTTP/1.1 200\r\n" + FIVE + b"\r\nhello", b"hello"),
    "no reason but a blank": (b"HTTP/1.1 200 \r\n" + FIVE + b"\r\nhello", b"hello"),
    "trailing blanks": (b"HTTP/1.1 200 OK  \r\nContent-Length: 5 \t\r\n\r\nhello", b"hello"),
    "bare LF": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
    "bare LF in chunks": (b"HTTP/1.1 200 OK\n" + CHUNKED + b"\n5\nhello\n0\n\n", b"hello"),
    "a blank before the colon": (OK + b"Content-Length : 5\r\n\r\nhello", b"hello"),
    "empty lines first": (b"\r\n\n\r\n" + OK + FIVE + b"\r\nhello", b"hello"),
    "junk first": (b"\0\xffHTTHTTP" + OK + FIVE + b"\r\nhello", b"hello"),
    "a folded field": (OK + b"Content-Length:\r\n  5\r\n\r\nhello", b"hello"),
    "a line that is no field": (
        OK + b"what is this\r\n: x\r\nA B: c\r\n" + FIVE + b"\r\nhello",
        b"hello",
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + FIVE + b"\r\nhello", b"hello"),
    "an answer to continue first": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + FIVE + b"\r\nhello",
        b"hello",
    ),
    "three 1xx first": (b"HTTP/1.1 102 x\r\nA: b\r\n\r\n" * 3 + OK + FIVE + b"\r\nhello", b"hello"),
    "noise between 1xx and the rest": (
        b"HTTP/1.1 100 Continue\r\n\r\n\r\n\0" + OK + FIVE + b"\r\nhello",
        b"hello",
    ),
    "a body of zero bytes and controls": (OK + FIVE + b"\r\n\0\x01\r\n\x7f", b"\0\x01\r\n\x7f"),
    "a head above 8 KB": (OK + b"A: " + b"x" * 20_000 + b"\r\n" + FIVE + b"\r\nhello", b"hello"),
    "more than 128 fields": (OK + b"A: b\r\n" * 500 + FIVE + b"\r\nhello", b"hello"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 with a length": (b"HTTP/1.1 204 No Content\r\n" + FIVE + b"\r\n", b""),
    "304 that is chunked": (b"HTTP/1.1 304 x\r\n" + CHUNKED + b"\r\n", b""),
}

REFUSED = {
    "different lengths": OK + FIVE + b"Content-Length: 6\r\n\r\n",
    "different lengths on one line": OK + b"Content-Length: 5, 6\r\n\r\n",
    "a negative length": OK + b"Content-Length: -5\r\n\r\n",
    "a signed length": OK + b"Content-Length: +5\r\n\r\n",
    "an empty length": OK + b"Content-Length:\r\n\r\n",
    "a length that is a superscript": OK + b"Content-Length: \xb2\r\n\r\n",
    "a length after a blank that is none": OK + b"Content-Length: \xa05\r\n\r\n",
    "a length of a billion gigabytes": OK + b"Content-Length: 1000000000000000000\r\n\r\n",
    "a NUL in a value": OK + b"A: b\0c\r\n\r\n",
    "a NUL in the status line": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "an unrequested coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "another protocol": b"HTTP/2.0 200 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 x\r\n\r\n",
    "a status above 599": b"HTTP/1.1 600 x\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 x\r\n\r\n",
    "a status line without a status": b"HTTP/1.1 OK\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 x\r\n\r\n",
    "a chunk size that is none": OK + CHUNKED + b"\r\nxyz\r\n",
    "an empty chunk size": OK + CHUNKED + b"\r\n\r\n",
    "a signed chunk size": OK + CHUNKED + b"\r\n+5\r\n",
    "a chunk size with a prefix": OK + CHUNKED + b"\r\n0x5\r\n",
    "a chunk size above the bound": OK + CHUNKED + b"\r\n1" + b"0" * 15 + b"\r\n",
    "a chunk longer than its size": OK + CHUNKED + b"\r\n2\r\nhello\r\n",
    "an endless chunk size": OK + CHUNKED + b"\r\n5;" + b"x" * 5000,
    "an endless trailer": OK + CHUNKED + b"\r\n0\r\nA: " + b"x" * 5000,
    "a thousand trailers and one": OK + CHUNKED + b"\r\n0\r\n" + b"A: b\r\n" * 1001,
    "a thousand fields and one": OK + b"A: b\r\n" * 1001 + b"\r\n",
    "a head without an end": OK + b"A: " + b"x" * 300_000,
    "junk without an end": b"x" * 20_000,
}


@pytest.mark.parametrize(("stream", "body"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_whole_and_byte_by_byte(stream: bytes, body: bytes):
    result = outcome([stream])

    assert (result.error, result.done, result.body, result.surplus) == (None, True, body, b"")
    assert outcome(single_bytes(stream)) == result


@pytest.mark.parametrize("stream", [stream for stream, _ in ACCEPTED.values()], ids=ACCEPTED)
def test_no_more_is_due_than_what_comes(stream: bytes):
    parser = ResponseParser("GET")
    for at, byte in enumerate(single_bytes(stream), start=1):
        parser.feed(byte)
        assert parser.due <= len(stream) - at
        if parser.due_exactly and parser.due:
            assert parser.due == len(stream) - at


@pytest.mark.parametrize(
    ("begun", "due", "exact"),
    [
        (b"HTTP/1.1 200 O", 0, False),
        (OK + FIVE + b"\r\nhe", 3, True),
        (OK + CHUNKED + b"\r\n5\r\nhe", 3, False),
        (OK + CHUNKED + b"\r\n5\r\nhello", 0, False),
        (OK + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n", 0, True),
        (OK + b"\r\nhe", 0, False),
    ],
)
def test_what_is_due_is_known_from_the_framing(begun: bytes, due: int, exact: bool):
    parser = ResponseParser("GET")
    parser.feed(begun)
    assert (parser.due, parser.due_exactly) == (due, exact)


@pytest.mark.parametrize("stream", REFUSED.values(), ids=REFUSED)
def test_refused_whole_and_byte_by_byte(stream: bytes):
    result = outcome([stream])

    assert result.error is not None
    assert not result.done
    assert outcome(single_bytes(stream)) == result


@pytest.mark.parametrize(("stream", "body"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_follows_the_end_is_told_apart(stream: bytes, body: bytes):
    result = outcome([stream + b"HTTP/1.1 500 Next\r\n\r\n"])

    assert (result.body, result.surplus) == (body, b"HTTP/1.1 500 Next\r\n\r\n")
    assert result.head is not None
    assert result.head.status != 500


def test_a_head_tells_everything():
    stream = b"HTTP/1.0  201 \xc4rger  \rmit Zeilen\r\nServer: a\x01b\rc\r\nset-cookie: \r\n\r\n"

    assert outcome([stream]).head == Head(
        status=201,
        reason="Ärger   mit Zeilen",
        version=(1, 0),
        headers=(("Server", "a b c"), ("set-cookie", "")),
        framing=BodyFraming.EOF,
        length=None,
    )


def test_an_answer_to_head_ends_with_its_head_and_keeps_the_length():
    result = outcome([OK + FIVE + b"\r\n"], method="HEAD")

    assert result.done
    assert result.head is not None
    assert (result.head.framing, result.head.length) == (BodyFraming.NONE, 5)


def test_informational_heads_are_read_and_dropped():
    parser = ResponseParser("POST")
    for _ in range(3):
        parser.feed(b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n")
    assert parser.head is None

    parser.feed(OK + b"Content-Length: 0\r\n\r\n")

    assert parser.done
    assert parser.head is not None
    assert parser.head.status == 200


def test_a_series_of_informational_heads_is_bounded():
    result = outcome([b"HTTP/1.1 102 x\r\n\r\n" * 11], max_informational=10)

    assert result.error == "too many 1xx responses"


def test_junk_is_counted():
    assert outcome([b"\r\njunk" + OK + FIVE + b"\r\nhello"]).skipped == 6


@pytest.mark.parametrize("size", [999, 1000, 1001])
def test_the_bound_of_a_head_is_exact(size: int):
    stream = OK + b"A: " + b"x" * (size - len(OK) - 7) + b"\r\n\r\n"
    assert len(stream) == size

    for pieces in ([stream], single_bytes(stream), [stream + b"x" * 5000]):
        assert (outcome(pieces, max_head=1000).error is None) is (size <= 1000)


@pytest.mark.parametrize("size", [99, 100, 101])
def test_the_bound_of_junk_is_exact(size: int):
    stream = b"x" * size + OK + b"\r\n"

    for pieces in ([stream], single_bytes(stream)):
        assert (outcome(pieces, max_junk=100).error is None) is (size <= 100)


@pytest.mark.parametrize("size", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1])
def test_the_bound_of_a_line_in_chunked_framing_is_exact(size: int):
    stream = OK + CHUNKED + b"\r\n0;" + b"x" * (size - 2) + b"\n\n"

    for pieces in ([stream], single_bytes(stream), [stream[:-3], stream[-3:]]):
        assert (outcome(pieces).error is None) is (size <= MAX_LINE)


def test_surplus_is_kept_up_to_a_bound():
    parser = ResponseParser("GET")
    parser.feed(OK + b"Content-Length: 0\r\n\r\n" + b"x" * SURPLUS_KEPT)
    parser.feed(b"y" * 10)

    assert parser.surplus == b"x" * SURPLUS_KEPT


def test_a_zero_length_packet_is_no_end():
    parser = ResponseParser("GET")
    for piece in (b"", OK, b"", b"\r\n", b"hel", b"", b"lo"):
        parser.feed(piece)

    assert not parser.done
    assert parser.take() == b"hello"


def test_silence_ends_a_body_without_framing():
    parser = ResponseParser("GET")
    parser.feed(OK + b"\r\nhello")
    assert not parser.done
    assert not parser.body_complete

    parser.end_of_stream()
    parser.end_of_stream()

    assert parser.done
    assert parser.take() == b"hello"


def test_silence_ends_chunks_whose_last_line_is_missing():
    parser = ResponseParser("GET")
    parser.feed(OK + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n")
    assert not parser.done
    assert parser.body_complete

    parser.end_of_stream()

    assert parser.done
    assert parser.take() == b"hello"


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"", "no response at all"),
        (OK + b"A: b", "no response at all"),
        (OK + FIVE + b"\r\nhe", "the response is incomplete, 3 bytes missing"),
        (OK + CHUNKED + b"\r\n5\r\nhello\r\n", "the response is incomplete"),
    ],
)
def test_silence_before_the_end_is_an_error_that_stays(stream: bytes, text: str):
    parser = ResponseParser("GET")
    parser.feed(stream)

    for again in (parser.end_of_stream, parser.end_of_stream, lambda: parser.feed(b"more")):
        with pytest.raises(BadResponse) as caught:
            again()
        assert str(caught.value) == text
    assert not parser.done


def test_the_body_before_a_fault_can_be_taken():
    result = outcome([OK + CHUNKED + b"\r\n5\r\nhello\r\n5\r\nworld\r\nfault\r\n"])

    assert result.body == b"helloworld"
    assert result.error == "a line that is not a chunk size"


def test_big_reads_of_a_body_are_passed_on_uncopied():
    parser = ResponseParser("GET")
    parser.feed(OK + b"Content-Length: 1000000\r\n\r\n")
    data = bytes(500_000)
    parser.feed(data)

    assert parser.take() is data


def test_framing_a_thousand_times_over_is_refused_in_linear_time():
    folds = OK + b"A: b\r\n" + b" x\r\n" * 60_000 + b"\r\n"
    blanks = b"HTTP/1.1 200 " + b" " * 200_000 + b"x\r\n\r\n"
    commas = OK + b"Content-Length: 5" + b",5" * 100_000 + b"\r\n\r\n"

    assert all(outcome([stream]).error is None for stream in (folds, blanks, commas))
