"""The client's side of a large answer: written from a spool, at the client's pace.

`put` is called by whoever reads the printer; a task of its own writes to the client. When the
printer has been read to the end, its interface is free and the delivery goes on alone.

When the printer, or the spool's file, fails in the middle of an answer, the connection is closed
without a terminator: a cut answer must not look complete. Whatever ends the task, `put` waits for
nothing then: the interface must not be lost with one answer.

Knows aiohttp's responses and the spool; nothing of exchanges and leases.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ippusbd.aio import cancel_and_wait, retrieve_exception
from ippusbd.errors import ClientGone, IppUsbError
from ippusbd.proxy.admission.connection_limit import Doing
from ippusbd.proxy.aiohttp_server import taken, web, write_at_once
from ippusbd.proxy.requests import ClientRequest
from ippusbd.proxy.spool import Spool, SpoolSpace
from ippusbd.proxy.stall_timers import StallTimer

log = logging.getLogger("ippusbd.http")


class Delivery:
    """Writes what is `put` into `response`, whose head was sent, to `client`.

    It is disconnected when it reads fewer than `least` bytes in `stall_s` while space for answers
    is short and `contended()` is true.
    """

    def __init__(
        self,
        client: ClientRequest,
        response: web.StreamResponse,
        space: SpoolSpace,
        contended: Callable[[], bool],
        *,
        stall_s: float,
        least: int,
    ) -> None:
        self._client = client
        self._response = response
        self._spool = Spool(space)
        self._written = 0
        self._timer = StallTimer(
            lambda: self._written - client.unsent,
            lambda: not (space.is_short and contended()),
            self._disconnect,
            stall_s=stall_s,
            least=least,
        )
        self._stall_s = stall_s
        self._task = asyncio.get_running_loop().create_task(self._write(), name="delivery")
        self._task.add_done_callback(retrieve_exception)

    async def put(self, data: bytes) -> None:
        """More of the answer. Waits while there is no room for it; raises ClientGone."""
        if not self._spool.is_empty or self._client.web.protocol.writing_paused:
            await self._spool.put(data)
            return
        self._written += len(data)  # a client that keeps up costs no detour
        self._spool.passed(len(data))
        try:
            await write_at_once(self._response, data)
        except ConnectionError as exc:
            raise _gone(exc) from exc

    def end(self, failure: IppUsbError | None = None) -> None:
        """That was all; `failure`: because the printer failed."""
        self._spool.end(failure)

    async def finish(self) -> web.StreamResponse:
        """Wait until the client has all of it. Raises ClientGone."""
        self._client.is_at(Doing.READING)
        try:
            await self._task
        finally:
            await self.cancel()
        return self._response

    async def cancel(self) -> None:
        """Write nothing more."""
        await cancel_and_wait(self._task)

    async def _write(self) -> None:
        gone = ClientGone("its answer is delivered no further")
        try:
            with self._timer:
                while data := await self._spool.take():
                    self._written += len(data)
                    await self._response.write(data)
                    if self._spool.is_over:
                        self._client.made_progress()
                await taken(self._response)  # a client that dies here has not got its answer
        except ConnectionError as exc:
            gone = _gone(exc)
            raise gone from exc
        except (IppUsbError, OSError) as exc:  # of the printer; of the spool's file
            log.warning("%s: answer cut: %s", self._client, exc)
            self._client.hang_up()
        finally:
            self._spool.abandon(gone)
            self._spool.close()

    def _disconnect(self) -> None:
        log.info(
            "%s: disconnected, it read too little in %g s while others wait",
            self._client,
            self._stall_s,
        )
        self._client.abort()


def _gone(exc: ConnectionError) -> ClientGone:
    return ClientGone(f"the client left in the middle of the answer: {exc}")
