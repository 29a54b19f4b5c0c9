"""A neighbour on multicast DNS: `python mdns_neighbour.py OWN_ADDRESS ASKED_ADDRESS [NAME]`.

Asks for all types, printers and the host in each way that multicast DNS knows: multicast, multicast
with a request for a unicast answer (QU), and unicast to `ASKED_ADDRESS`, from port 5353 and from
another one. Prints the answers of 1.5 s as Latin-1, in which names remain readable. With `NAME` it
asks nothing and announces a printer of that name by multicast and unicast until it is killed.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

GROUP, PORT = "224.0.0.251", 5353
A, PTR, TXT, SRV, ANY = 1, 12, 16, 33, 255
IN, UNICAST = 1, 0x8000
WAIT_S = 1.5


def name_of(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def question(name: str, class_: int) -> bytes:
    head = bytes([0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    return head + name_of(name) + ANY.to_bytes(2) + class_.to_bytes(2)


def claim(name: str) -> bytes:
    """An answer: "another.local" serves printer `name`."""

    def record(owner: str, type_: int, data: bytes) -> bytes:
        numbers = type_.to_bytes(2) + b"\0\1" + (120).to_bytes(4) + len(data).to_bytes(2)
        return name_of(owner) + numbers + data

    full = f"{name}._ipp._tcp.local"
    server = bytes(4) + (631).to_bytes(2) + name_of("another.local")
    return bytes([0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0]) + (
        record("_ipp._tcp.local", PTR, name_of(full))
        + record(full, SRV, server)
        + record(full, TXT, b"\0")
        + record("another.local", A, bytes([192, 0, 2, 20]))
    )


def sockets(own: str) -> tuple[socket.socket, socket.socket]:
    """One on port 5353, which is in the group, and one on another port."""
    mine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    mine.bind(("", PORT))
    join = socket.inet_aton(GROUP) + socket.inet_aton(own)
    mine.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
    mine.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    mine.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    legacy = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    legacy.bind((own, 0))
    return mine, legacy


def main(own: str, asked: str, name: str = "") -> None:
    mine, legacy = sockets(own)
    said = False
    while name:
        mine.sendto(claim(name), (GROUP, PORT))
        mine.sendto(claim(name), (asked, PORT))
        if not said:
            sys.stdout.write("claimed\n")
            sys.stdout.flush()
            said = True
        time.sleep(0.05)
    for wanted in ("_services._dns-sd._udp.local", "_ipp._tcp.local", "localhost.local"):
        for class_ in (IN, IN | UNICAST):
            mine.sendto(question(wanted, class_), (GROUP, PORT))
            mine.sendto(question(wanted, class_), (asked, PORT))
            legacy.sendto(question(wanted, class_), (asked, PORT))
    with selectors.DefaultSelector() as selector:
        selector.register(mine, selectors.EVENT_READ)
        selector.register(legacy, selectors.EVENT_READ)
        until = time.monotonic() + WAIT_S
        while (left_s := until - time.monotonic()) > 0:
            for key, _ in selector.select(left_s):
                data = key.fileobj.recv(9000)  # type: ignore[union-attr]
                if data[2] & 0x80:  # an answer
                    sys.stdout.write(data.decode("latin-1"))


if __name__ == "__main__":
    main(*sys.argv[1:])
