"""Bulk pipes behave as endpoints of hardware do."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.errors import DeviceGone, EndpointHalted, TransferTimeout
from ippusbd.virtual.usb.pipes import InPipe, InterfaceSession, OutPipe, Overflow, SessionEnded
from ippusbd.virtual.usb.waits import run

PACKET = 512


@pytest.fixture
def session() -> InterfaceSession:
    return InterfaceSession()


def in_pipe(*transfers: bytes, capacity: int = 1 << 20) -> InPipe:
    pipe = InPipe(PACKET, capacity)
    run(pipe.send(InterfaceSession(), transfers))
    return pipe


# --- IN


def test_a_silent_device_leaves_the_read_pending() -> None:
    assert InPipe(PACKET).try_read(1024) is None


def test_a_short_packet_ends_a_transfer() -> None:
    pipe = in_pipe(b"first", b"second")

    assert pipe.try_read(1024) == b"first"
    assert pipe.try_read(1024) == b"second"
    assert pipe.try_read(1024) is None


def test_full_packets_without_an_end_stay_pending_until_taken() -> None:
    pipe = in_pipe(bytes(1024))

    assert pipe.try_read(4096) is None
    assert pipe.take(4096) == bytes(1024)
    assert pipe.take(4096) == b""


def test_a_full_buffer_completes_and_the_rest_waits_for_the_next_reader() -> None:
    pipe = in_pipe(b"a" * 1024 + b"b" * 100)

    assert pipe.try_read(1024) == b"a" * 1024
    assert pipe.try_read(1024) == b"b" * 100


def test_a_zero_length_packet_completes_a_read_with_nothing() -> None:
    pipe = in_pipe(bytes(512), b"", b"x")

    assert pipe.try_read(2048) == bytes(512)
    assert pipe.try_read(2048) == b"x"


def test_a_lone_zero_length_packet_is_an_empty_transfer_not_an_end() -> None:
    pipe = in_pipe(b"", b"x")

    assert pipe.try_read(512) == b""
    assert pipe.try_read(512) == b"x"


def test_a_buffer_that_is_no_multiple_of_the_packet_size_overflows() -> None:
    pipe = in_pipe(bytes(600))

    with pytest.raises(Overflow):
        pipe.try_read(100)


def test_a_blocking_read_returns_what_it_has_at_the_time_out(
    session: InterfaceSession,
) -> None:
    pipe = in_pipe(bytes(1024))
    buffer = bytearray(4096)

    assert pipe.read_into(memoryview(buffer), 0.01) == 1024
    with pytest.raises(TransferTimeout):
        pipe.read_into(memoryview(buffer), 0.01)


def test_a_reader_is_woken_by_data() -> None:
    pipe = InPipe(PACKET)
    buffer = bytearray(512)
    threading.Timer(0.02, pipe.push, (b"late",)).start()

    assert pipe.read_into(memoryview(buffer), 5.0) == 4
    assert bytes(buffer[:4]) == b"late"


def test_the_device_waits_while_nobody_reads_and_stops_when_the_session_ends(
    session: InterfaceSession,
) -> None:
    pipe = InPipe(PACKET, capacity=1024)
    run(pipe.send(session, [bytes(1024)]))

    def end() -> None:
        session.end()
        pipe.wake()

    threading.Timer(0.02, end).start()

    with pytest.raises(SessionEnded):
        run(pipe.send(session, [b"more"]))
    assert len(pipe) == 1024


def test_queued_bytes_outlive_the_session_until_flushed(session: InterfaceSession) -> None:
    pipe = InPipe(PACKET)
    run(pipe.send(session, [b"stale"]))
    session.end()

    assert len(pipe) == 5
    assert pipe.flush() == 5
    assert pipe.try_read(512) is None


def test_a_halted_endpoint_stalls_until_cleared() -> None:
    pipe = in_pipe(b"kept")
    pipe.halt()

    with pytest.raises(EndpointHalted):
        pipe.try_read(512)
    pipe.clear_halt()
    assert pipe.try_read(512) == b"kept"


def test_an_unplug_wakes_a_blocked_reader() -> None:
    pipe = InPipe(PACKET)
    threading.Timer(0.02, pipe.kill).start()

    with pytest.raises(DeviceGone):
        pipe.read_into(memoryview(bytearray(512)), None)


def test_a_subscriber_is_called_on_data_and_can_unsubscribe() -> None:
    pipe = InPipe(PACKET)
    told: list[int] = []
    stop = pipe.subscribe(lambda: told.append(len(pipe)))
    pipe.push(b"abc")
    stop()
    pipe.push(b"d")

    assert told == [3]


@given(
    st.lists(st.binary(max_size=1500), max_size=12),
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.booleans(),
)
def test_whatever_the_host_reads_no_byte_is_lost_or_reordered(
    transfers: list[bytes], sizes: list[int], impatient: bool
) -> None:
    pipe = in_pipe(*transfers)
    got = bytearray()
    for step in range(200):
        size = sizes[step % len(sizes)] * PACKET
        data = pipe.try_read(size)
        if data is None and (impatient or step > 100):
            data = pipe.take(size)
        got += data or b""

    assert bytes(got) == b"".join(transfers)
    assert len(pipe) == 0


# --- OUT


def test_a_full_buffer_accepts_whole_packets_and_then_nothing() -> None:
    pipe = OutPipe(PACKET, capacity=1300)

    assert pipe.try_write(bytes(2000)) == 1024
    assert pipe.try_write(bytes(1000)) == 0
    assert pipe.try_write(bytes(276)) == 276


def test_a_blocking_write_returns_how_much_was_accepted_at_the_time_out() -> None:
    pipe = OutPipe(PACKET, capacity=1024)

    assert pipe.write(bytes(3000), 0.01) == 1024
    with pytest.raises(TransferTimeout):
        pipe.write(b"x", 0.01)


def test_a_write_ends_when_the_device_reads(session: InterfaceSession) -> None:
    pipe = OutPipe(PACKET, capacity=1024)
    got = bytearray()

    def device() -> None:
        while len(got) < 5000:
            got.extend(run(pipe.recv(session)))

    thread = threading.Thread(target=device)
    thread.start()

    assert pipe.write(b"z" * 5000, 5.0) == 5000
    thread.join()
    assert bytes(got) == b"z" * 5000


def test_a_stopped_transfer_is_reported() -> None:
    pipe = OutPipe(PACKET, capacity=0)
    noticed: list[bool] = []
    pipe.gave_up = lambda: noticed.append(True)

    with pytest.raises(TransferTimeout):
        pipe.write(b"x", 0.001)
    assert noticed == [True]


def test_the_hosts_buffer_may_be_reused_after_a_write(session: InterfaceSession) -> None:
    pipe = OutPipe(PACKET)
    data = bytearray(b"before")
    pipe.try_write(data)
    data[:] = b"after!"

    assert run(pipe.recv(session)) == b"before"


def test_the_device_waits_for_bytes_until_its_time_out(session: InterfaceSession) -> None:
    assert run(OutPipe(PACKET).recv(session, 0.01)) == b""


def test_an_ended_session_returns_no_more_bytes(session: InterfaceSession) -> None:
    pipe = OutPipe(PACKET)
    pipe.try_write(b"old")
    session.end()

    with pytest.raises(SessionEnded):
        run(pipe.recv(session))


def test_a_closed_gate_is_a_nak() -> None:
    pipe = OutPipe(PACKET)
    pipe.gate = lambda: False

    assert pipe.try_write(b"x") == 0


def test_a_sink_receives_everything_at_once() -> None:
    pipe = OutPipe(PACKET, capacity=0)
    taken: list[bytes] = []
    pipe.sink = taken.append

    assert pipe.try_write(b"raw") == 3
    assert taken == [b"raw"]


def test_a_hundred_megabytes_pass_fast_enough(session: InterfaceSession) -> None:
    # The floor is a tenth of what one idle core does: machines that run tests are busy.
    pipe = OutPipe(PACKET)
    piece, count = bytes(256 * 1024), 400

    def host() -> None:
        for _ in range(count):
            assert pipe.write(piece, 20.0) == len(piece)

    thread = threading.Thread(target=host)
    start = time.perf_counter()
    thread.start()
    left = count * len(piece)
    while left:
        left -= len(run(pipe.recv(session)))
    thread.join()
    assert count * len(piece) / (time.perf_counter() - start) > 100e6
