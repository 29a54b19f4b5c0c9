"""The broker's messages, held against the checks that clients in the field make."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.errors import BadRequest
from ippusbd.model import UsbId
from ippusbd.wire.broker import (
    KEEP_ALIVE,
    KEEP_ALIVE_ANSWER,
    MAX_MESSAGE,
    NOT_FOUND,
    Question,
    encode,
    keep_alive_name,
    next_message,
    parse_question,
    socket_name,
)

EXAMPLE = UsbId(0x04A9, 0x27E8)
ids = st.builds(UsbId, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
serials = st.text(st.characters(exclude_categories=()), max_size=200)

# One client's check of any answer, and another's of a socket's name.
ANSWER_CHARACTERS = set(string.ascii_letters + string.digits + "_.- ")
SOCKET_NAME = re.compile(r"^[0-9A-Fa-f_-]+\.sock$")


def test_messages_are_byte_exact():
    assert encode("04a9_27e8") == b"\x0a04a9_27e8\0"
    assert encode(socket_name(EXAMPLE)) == b"\x0f04a9_27e8.sock\0"
    assert encode(NOT_FOUND) == b"\x11Device not found\0"
    assert encode(KEEP_ALIVE) == b"\x0bkeep-alive\0"
    assert encode(KEEP_ALIVE_ANSWER) == b"\x04ack\0"


@pytest.mark.parametrize("text", ["x" * 255, "ä" * 128, "a\0b"])
def test_what_is_no_text_of_a_message_is_refused(text: str):
    with pytest.raises(BadRequest):
        encode(text)


def test_the_longest_message_fills_its_length_byte():
    message = encode("x" * 254)

    assert message[0] == 255
    assert len(message) == MAX_MESSAGE
    assert next_message(message) == ("x" * 254, b"")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_a_message_is_read_as_it_was_written_and_not_before_it_is_whole(text: str):
    message = encode(text)

    assert next_message(message + b"rest") == (text, b"rest")
    assert all(next_message(message[:size]) is None for size in range(len(message)))


@pytest.mark.parametrize(
    "data",
    [b"\0", b"\x03a\0b", b"\x03a\0", b"\x03abc", b"\x02\xff\0", b"\x02\0", b"GET / HTTP/1.1" * 9],
)
def test_bytes_that_cannot_become_a_message_are_refused(data: bytes):
    with pytest.raises(BadRequest):
        next_message(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_nothing_yet_or_refused(data: bytes):
    try:
        found = next_message(data)
    except BadRequest:
        return
    if found is None:
        assert len(data) < MAX_MESSAGE
    else:
        assert encode(found[0]) + found[1] == data


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("04a9_27e8", Question(EXAMPLE)),
        ("04A9_27E8", Question(EXAMPLE)),
        ("04a9_27e8_CN 12/x_3", Question(EXAMPLE, "CN 12/x_3")),
        ("04a9_27e8_Ä", Question(EXAMPLE, "Ä")),
    ],
)
def test_a_question_names_a_printer_and_perhaps_its_serial_number(text: str, question: Question):
    assert parse_question(text) == question


@pytest.mark.parametrize(
    "text",
    [
        "",
        "04a9",
        "4a9_27e8",
        "04a9-27e8",
        "04a9_27e8_",
        "04a9_27e8x",
        "04a9_27e8\n",
        "04a9_27e8_a\x1b",
        "04g9_27e8",
        "0x49_27e8",
        "٠٤٠٩_27e8",
        " 04a9_27e8",
    ],
)
def test_anything_else_is_no_question(text: str):
    with pytest.raises(BadRequest):
        parse_question(text)


@pytest.mark.parametrize(
    ("serial", "name"),
    [
        ("", "04a9_27e8.sock"),
        ("0A1b", "04a9_27e8_0A1b.sock"),
    ],
)
def test_sockets_are_named_as_clients_expect(serial: str, name: str):
    assert socket_name(EXAMPLE, serial) == name
    assert keep_alive_name(EXAMPLE, serial) == name.replace(".sock", "_keep_alive.sock")


@given(ids, serials)
def test_every_answer_passes_every_clients_check(usb_id: UsbId, serial: str):
    name = socket_name(usb_id, serial)

    assert set(name) <= ANSWER_CHARACTERS
    assert set(NOT_FOUND) <= ANSWER_CHARACTERS
    assert SOCKET_NAME.match(name)
    assert len(keep_alive_name(usb_id, serial)) < 64  # a socket's path holds 107 bytes


@given(
    st.lists(st.one_of(serials, st.text("0aA-_", max_size=4)), min_size=2, max_size=2, unique=True)
)
def test_different_serial_numbers_never_share_a_socket(pair: list[str]):
    names = [name(EXAMPLE, serial) for serial in pair for name in (socket_name, keep_alive_name)]

    assert len(set(names)) == 4


def test_a_serial_number_cannot_pose_as_the_digest_of_another():
    digest = socket_name(EXAMPLE, "not hexadecimal").split("_")[-1].removesuffix(".sock")

    assert socket_name(EXAMPLE, digest.strip("-")) != socket_name(EXAMPLE, "not hexadecimal")
    assert socket_name(EXAMPLE, digest) != socket_name(EXAMPLE, "not hexadecimal")
