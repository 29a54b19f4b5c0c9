"""The client of the control socket: sends a command to the running daemon, waits for its answer.

Blocks, and does not import asyncio: `ippusbd status` is done before that would be loaded.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ippusbd.errors import IppUsbError, NotRunning

ALLOWED: Final = "run it as root, or set control_group in [daemon]"
MAX_ANSWER_BYTES: Final = 16 << 20


def ask(path: Path, command: str, *, timeout_s: float = 5.0, **arguments: object) -> object:
    """The daemon's answer to `command`, within `timeout_s` in all.

    Raises NotRunning, or IppUsbError with the daemon's own error.
    """
    request = json.dumps({**arguments, "command": command}).encode() + b"\n"
    try:
        line = _exchange(path, request, time.monotonic() + timeout_s)
    except TimeoutError as exc:
        raise NotRunning(f"the daemon at {path} does not answer") from exc
    except PermissionError as exc:
        raise IppUsbError(f"you may not use {path}: {exc.strerror}; {ALLOWED}") from exc
    except OSError as exc:
        raise NotRunning(f"no daemon is running ({path}: {exc.strerror or exc})") from exc
    return _result(line)


def stream(path: Path, command: str, **arguments: object) -> Iterator[object]:
    """The events of `command`, until the daemon ends or the caller stops iterating.

    Raises as `ask` does.
    """
    request = json.dumps({**arguments, "command": command}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except PermissionError as exc:
            raise IppUsbError(f"you may not use {path}: {exc.strerror}; {ALLOWED}") from exc
        except OSError as exc:
            raise NotRunning(f"no daemon is running ({path}: {exc.strerror or exc})") from exc
        client.sendall(request)
        with client.makefile("rb") as lines:
            while line := lines.readline(MAX_ANSWER_BYTES):
                yield _result(line, "event")


def _exchange(path: Path, request: bytes, end: float) -> bytes:
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_left(end))
        client.connect(str(path))
        with suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(request)  # refused early: the reason is in the answer
        while not answer.endswith(b"\n"):
            client.settimeout(_left(end))
            data = client.recv(1 << 16)
            if not data or len(answer) > MAX_ANSWER_BYTES:
                raise NotRunning("the daemon closed the connection without an answer")
            answer += data
    return bytes(answer)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _result(line: bytes, name: str = "result") -> object:
    try:
        answer = json.loads(line)
        ok = answer["ok"]
        return answer[name] if ok else _refused(answer["error"])
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise IppUsbError("what answers on the control socket is not an ippusbd") from exc


def _refused(error: object) -> object:
    raise IppUsbError(str(error))
