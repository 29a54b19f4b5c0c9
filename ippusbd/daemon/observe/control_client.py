"""The client of the control socket: sends a command to the running daemon, waits for its answer.

Blocks, and does not import asyncio: `ippusbd status` is done before that would be loaded.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ippusbd.errors import Forbidden, NotRunning, OtherDaemon, Told
from ippusbd.kinds import Diagnosis, Kind

MAX_ANSWER_BYTES: Final = 16 << 20


def ask(path: Path, command: str, *, timeout_s: float = 5.0, **arguments: object) -> object:
    """The daemon's answer to `command`, within `timeout_s` in all.

    Raises NotRunning, Forbidden, or Told with the daemon's own reason.
    """
    request = json.dumps({**arguments, "command": command}).encode() + b"\n"
    try:
        line = _exchange(path, request, time.monotonic() + timeout_s)
    except TimeoutError as exc:
        raise NotRunning(f"the daemon at {path} does not answer") from exc
    except PermissionError as exc:
        raise Forbidden(f"you may not use {path}: {exc.strerror}") from exc
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
            raise Forbidden(f"you may not use {path}: {exc.strerror}") from exc
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
        if ok:
            return answer[name]
        reason = _reason(answer)
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise OtherDaemon("what answers on the control socket is not an ippusbd") from exc
    if reason.kind == Kind.CONTROL.label:
        raise Forbidden(reason.text)  # how to run this as root is known here
    raise Told(reason)


def _reason(answer: Mapping[str, object]) -> Diagnosis:
    from ippusbd.dataclass_json import decode  # the types cost a successful command 50 ms

    reason = answer["reason"]
    if not isinstance(reason, Mapping):
        raise TypeError
    return decode(Diagnosis, reason)
