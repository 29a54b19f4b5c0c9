"""Bytes that wait between USB and their reader."""

from __future__ import annotations

from ippusbd.usbio.read_buffer import ReadBuffer


async def test_what_waits_is_read_in_few_pieces_of_a_bounded_size():
    waiting = ReadBuffer(joined=5)
    for piece in (b"ab", b"cde", b"f", b"a piece that is larger", b"g"):
        waiting.put(piece)
    read = [await waiting.get() for _ in range(4)]
    assert read == [b"abcde", b"f", b"a piece that is larger", b"g"]
    assert waiting.size == 0
