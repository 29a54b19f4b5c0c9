"""A connection to D-Bus: calls, signals, and the notice of its loss.

The only module that knows dbus-fast, which is loaded on the first connection: the daemon runs
without it. Messages are raw, nothing is introspected: the few calls we make are fixed by Avahi's
interface. Every wait is bounded; every failure is a PublishError.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ippusbd.errors import PublishError

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"


class CallRefused(PublishError):
    """The called service answered with an error; `name` is its D-Bus name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name.rpartition('.')[2]}: {text}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as it arrived."""

    sender: str
    path: str
    interface: str
    member: str
    body: tuple[object, ...]


class Bus:
    """One connection; made by `connect`, unusable once `lost`."""

    def __init__(self, bus: MessageBus, on_lost: Callable[[], None], call_s: float) -> None:
        self.lost = False
        self._bus = bus
        self._on_lost = on_lost
        self._call_s = call_s
        self._watcher = asyncio.create_task(self._watch(), name="dnssd: D-Bus connection")

    @classmethod
    async def connect(
        cls,
        address: str | None,
        on_signal: Callable[[Signal], None],
        on_lost: Callable[[], None],
        *,
        call_s: float,
    ) -> Bus:
        """Connect to `address`, or to the system bus.

        `on_signal` gets what `match` asked for; both are called in the loop.
        """
        try:
            # 40 ms on a fast machine, so in a thread.
            await asyncio.to_thread(importlib.import_module, "dbus_fast.aio")
        except ImportError as exc:
            raise PublishError(f"dbus-fast is not installed ({exc})") from exc
        return cls(await _open(address, on_signal, call_s), on_lost, call_s)

    async def _watch(self) -> None:
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError):
            pass  # the cause of the loss does not matter
        finally:
            self.lost = True
            self._on_lost()

    async def call(
        self,
        destination: str,
        path: str,
        member: str,
        signature: str = "",
        body: Sequence[object] = (),
    ) -> tuple[object, ...]:
        """Call `member` (`interface.Method`); its results. CallRefused or PublishError."""
        from dbus_fast import Message, MessageType

        interface, _, method = member.rpartition(".")
        reply = await self._reply(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=method,
                signature=signature,
                body=list(body),
            )
        )
        if reply.message_type is MessageType.ERROR:
            raise CallRefused(reply.error_name or "", str(reply.body[0] if reply.body else ""))
        return tuple(reply.body)

    async def _reply(self, message: Message) -> Message:
        if self.lost:
            raise PublishError("the connection to D-Bus is lost")
        try:
            async with asyncio.timeout(self._call_s):
                reply: Message | None = await self._bus.call(message)
        except TimeoutError as exc:
            raise PublishError(f"{message.member}: no answer in {self._call_s:g} s") from exc
        except (OSError, EOFError) as exc:
            raise PublishError("the connection to D-Bus is lost") from exc
        if reply is None:  # closed by us during the call
            raise PublishError("the connection to D-Bus is closed")
        return reply

    async def match(self, **wanted: str) -> None:
        """Subscribe to signals, by the keys of a D-Bus match rule."""
        rule = ",".join(f"{key}='{value}'" for key, value in {"type": "signal", **wanted}.items())
        await self.call(BUS, BUS_PATH, f"{BUS}.AddMatch", "s", [rule])

    async def close(self) -> None:
        """Disconnect; done when the socket is closed. Idempotent."""
        if not self.lost:
            self._bus.disconnect()
        await self._watcher


async def _open(
    address: str | None, on_signal: Callable[[Signal], None], timeout_s: float
) -> MessageBus:
    from dbus_fast import AuthError, BusType, InvalidAddressError
    from dbus_fast.aio import MessageBus
    from dbus_fast.auth import UID_NOT_SPECIFIED, AuthExternal

    try:
        bus = MessageBus(
            bus_address=address,
            bus_type=BusType.SYSTEM,
            # The kernel's uid counts: inside a user namespace ours would be wrong.
            auth=AuthExternal(UID_NOT_SPECIFIED),
        )
        async with asyncio.timeout(timeout_s):
            await bus.connect()
    except TimeoutError as exc:
        raise PublishError("D-Bus does not answer") from exc
    except (OSError, EOFError, AuthError, InvalidAddressError) as exc:
        raise PublishError(f"no D-Bus: {exc}") from exc
    bus.add_message_handler(_handler(on_signal))
    return bus


def _handler(on_signal: Callable[[Signal], None]) -> Callable[[Message], None]:
    from dbus_fast import MessageType

    def handle(message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            on_signal(
                Signal(
                    message.sender or "",
                    message.path or "",
                    message.interface or "",
                    message.member or "",
                    tuple(message.body),
                )
            )

    return handle
