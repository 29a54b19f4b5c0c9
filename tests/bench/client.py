"""The client: plain sockets and as little Python as possible, in its own process."""

from __future__ import annotations

import socket
import threading
import time

from messages import (
    LAST_CHUNK,
    PIECE,
    answer_size,
    big,
    get_printer_attributes,
    piece,
    print_head,
    sink_head,
)
from worker import Numbers, serve

BUFFER = bytearray(1 << 20)


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", int(port)))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def exchange(client: socket.socket, request: bytes) -> int:
    """One small question; the size of its answer."""
    client.sendall(request)
    return read_answer(client)


def read_answer(client: socket.socket) -> int:
    start = b""
    while (size := answer_size(start)) is None:
        start += receive(client)
    have = len(start)
    while have < size:
        have += len(receive(client))
    return size


def receive(client: socket.socket) -> bytes:
    data = client.recv(1 << 16)
    if not data:
        raise SystemExit("bench: the daemon hung up")
    return data


def down(port: int, size: int, *, chunked: bool) -> Numbers:
    with connect(port) as client:
        start = time.perf_counter()
        client.sendall(big(size, chunked=chunked))
        # A chunked answer ends with a last chunk; one with a length after so many bytes.
        head = receive(client)
        total = None if chunked else answer_size(head)
        have, tail = len(head), head[-5:]
        while have < total if total is not None else tail != LAST_CHUNK:
            count = client.recv_into(BUFFER)
            if not count:
                raise SystemExit("bench: the daemon hung up")
            have += count
            tail = (tail + BUFFER[max(0, count - 5) : count])[-5:]
        seconds = time.perf_counter() - start
    if have < size:
        raise SystemExit(f"bench: {have} bytes of {size}")
    return {"seconds": seconds}


def up(port: int, size: int, *, chunked: bool) -> Numbers:
    return _upload(port, sink_head(size, chunked=chunked), size, chunked=chunked)


def print_(port: int, size: int, *, chunked: bool) -> Numbers:
    """A document of zeros in pieces; always chunked."""
    return _upload(port, print_head(), size, chunked=True)


def _upload(port: int, head: bytes, size: int, *, chunked: bool) -> Numbers:
    part = piece(chunked=chunked)
    with connect(port) as client:
        start = time.perf_counter()
        client.sendall(head)
        for _ in range(size // PIECE):
            client.sendall(part)
        if chunked:
            client.sendall(LAST_CHUNK)
        read_answer(client)
        return {"seconds": time.perf_counter() - start}


def latency(port: int, count: int) -> dict[str, object]:
    """Milliseconds of each of `count` questions on one connection."""
    request = get_printer_attributes()
    times = []
    with connect(port) as client:
        for _ in range(count):
            start = time.perf_counter()
            exchange(client, request)
            times.append(1000 * (time.perf_counter() - start))
    return {"ms": times}


def rate(port: int, count: int, clients: int) -> Numbers:
    """Questions per second of some clients, each on a connection of its own."""
    request = get_printer_attributes()

    def work() -> None:
        with connect(port) as client:
            for _ in range(count // clients):
                exchange(client, request)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"per_s": count / (time.perf_counter() - start)}


if __name__ == "__main__":
    jobs = {"down": down, "up": up, "print": print_, "latency": latency, "rate": rate}
    serve(jobs)  # type: ignore[arg-type]
