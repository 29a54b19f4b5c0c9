"""aiohttp's HTTP server as it is used here; the one module that knows aiohttp's private parts.

aiohttp is a client too, and creates a TLS context while it is imported: all certificates that the
system trusts are read and parsed, 60 ms and 2 MB for a daemon that needs none of them. And
frozenlist's extension loads the library of C++, 1 MB. So aiohttp is imported here first, with an
empty certificate store and without that extension, and the other modules import it from here.

Knows aiohttp; nothing of printers.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from ippusbd.kinds import Diagnosis
from ippusbd.proxy.admission.handover import dismiss, malformed

_ENVIRONMENT: Final = {
    "SSL_CERT_FILE": os.devnull,
    "SSL_CERT_DIR": os.devnull,
    "FROZENLIST_NO_EXTENSIONS": "1",  # used by web.Application, which is not used here
}


@contextmanager
def _environment() -> Iterator[None]:
    """For imports, before threads start."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _environment():
    from aiohttp import web as web
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import SERVER_SOFTWARE, RawRequestMessage, StreamWriter
    from aiohttp.http_exceptions import HttpProcessingError as HttpProcessingError
    from aiohttp.streams import StreamReader
    from aiohttp.web_protocol import _ErrInfo

NO_TYPE: Final = ""  # a Content-Type that is not sent
LINGER_S: Final = 0.5  # for reading the rest of a refused request
ABORTED_S: Final = 1.0  # for the end of requests whose connection was aborted
READ_BUFFER: Final = 128 * 1024
MALFORMED_BODY: Final = malformed("the chunks of the request's body are malformed")


class HttpServer(web.Server):
    """Makes the protocol of each connection; `lost` hears of those that were closed."""

    def __init__(
        self,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        lost: Callable[[web.RequestHandler], None],
        log: logging.Logger,
        idle_s: float,
        max_header_bytes: int,
    ) -> None:
        """`idle_s`: a connection without a complete request head is closed after this time."""
        super().__init__(
            handle,
            request_factory=_plain_request,
            handler_cancellation=True,
            auto_decompress=False,  # else a document is unpacked while Content-Encoding stays
            access_log=None,
            lingering_time=LINGER_S,
            keepalive_timeout=idle_s,
            read_bufsize=READ_BUFFER,
            max_line_size=max_header_bytes,
            max_field_size=max_header_bytes,
            max_headers=1000,
            logger=_ServerLog(log),
        )
        self._lost = lost

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self._lost(handler)

    async def close(self, grace_s: float) -> None:
        """Close idle connections; requests in progress finish within `grace_s`."""
        await asyncio.sleep(0)  # requests that were just received begin
        self.pre_shutdown()
        # aiohttp's own time must not be over in the same moment: it would log each as an error.
        closing = asyncio.create_task(self.shutdown(grace_s + ABORTED_S))
        await asyncio.wait([closing], timeout=grace_s)
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await closing


def target_of(request: web.BaseRequest) -> str:
    """The request target as it was sent, with its escapes."""
    return request._message.path


async def write_at_once(response: web.StreamResponse, data: bytes) -> None:
    """As `response.write`, but never waits for the client: see `writing_paused` of its protocol."""
    writer = cast(StreamWriter, response._payload_writer)
    await writer.write(data, drain=False)


async def taken(response: web.StreamResponse) -> None:
    """Wait until the connection takes more: the client read most of what was written."""
    await cast(StreamWriter, response._payload_writer).drain()


class _Connection(web.RequestHandler):
    """Ends a request as soon as the framing of its body is malformed.

    aiohttp queues its answer 400 behind the request, whose handler waits for the rest of the body
    as long as the client stays.
    """

    body: StreamReader | None = None  # of the request that is handled
    is_answering = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._messages or not isinstance(self._messages[-1][0], _ErrInfo):
            return
        if len(self._messages) > 1:
            if not self._messages[-2][1].is_eof():
                del self._messages[-2]  # not begun: answered 400 in its turn
        elif self.body is not None and not self.body.is_eof():
            self._dismiss()

    def _dismiss(self) -> None:
        """For its request the client is gone; the client learns why."""
        transport, self.transport = self.transport, None  # else it is closed at once
        self.logger.info("a client is disconnected: the chunks of its body are malformed")
        self.connection_lost(None)
        if transport is not None:
            dismiss(transport, b"" if self.is_answering else MALFORMED_BODY)


class _PlainRequest(web.BaseRequest):
    """Its response has no fields that aiohttp adds by itself; its body outlives its client."""

    def _cancel(self, exc: BaseException) -> None:
        # A document whose last byte is here is whole, whoever leaves before it was forwarded.
        if not self.content.is_eof():
            super()._cancel(exc)

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        cast(_Connection, self.protocol).is_answering = True
        if response.headers.get("Content-Type") == NO_TYPE:
            del response.headers["Content-Type"]
        if response.headers.get("Server") == SERVER_SOFTWARE:
            del response.headers["Server"]


def _plain_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """aiohttp's request factory."""
    connection = cast(_Connection, protocol)
    connection.body, connection.is_answering = payload, False
    return _PlainRequest(message, payload, protocol, writer, task, connection._loop)


class _ServerLog(logging.Logger):
    """What aiohttp logs, passed to `log`, but malformed requests in one line that quotes nothing.

    aiohttp logs them as errors with a traceback and the client's bytes: any client could fill the
    journal, and parts of a document with broken framing would be in it.
    """

    def __init__(self, log: logging.Logger) -> None:
        super().__init__(log.name)
        self.parent = log
        self._site_log = log

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        if not self._is_malformed_request(kwargs.get("exc_info")):
            super().exception(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        if not self._is_malformed_request(kwargs.get("exc_info")):
            super().debug(msg, *args, **kwargs)

    def _is_malformed_request(self, exc: object) -> bool:
        if not isinstance(exc, HttpProcessingError):
            return False
        # Its text may quote any of the client's bytes.
        self._site_log.info("refused a malformed request: %s", type(exc).__name__)
        return True


def told(status: int, reason: Diagnosis) -> web.Response:
    """What is the matter and what to do, for whoever reads the body; the kind for programs."""
    text = f"ippusbd: {reason}\n{reason.remedy}\n"
    return web.Response(status=status, text=text, headers={"Ippusbd-Kind": reason.kind})
