"""A TCP proxy before Redis; its subclasses say what becomes of each chunk of bytes that passes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType
from typing import Self

from eventlog.embedded_redis import HOST

_CHUNK_BYTES = 1024 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s


class Way(Enum):
    REQUEST = auto()
    REPLY = auto()


class Fate(Enum):
    """What becomes of a chunk, and of the connection that it came by."""

    PASSED = auto()
    LOST = auto()  # as is all that follows, both ways, for TCP leaves no gaps; the connection stays open
    LOST_AND_CLOSED = auto()
    CUT_AND_RESET = auto()  # a part of it arrives, and both ends get a RST
    DRIBBLED = auto()  # one byte at a time
    LATE = auto()  # by `latency_s`, and even if its sender has hung up by then


class Link:
    """One connection, seen from the proxy."""

    def __init__(self, to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter) -> None:
        self._ends = (to_client, to_server)
        self.silent = False
        self.late = 0

    def close(self) -> None:
        for end in self._ends:
            end.close()

    def reset(self) -> None:
        for end in self._ends:
            if not end.is_closing():
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                end.transport.abort()


class Proxy(ABC):
    """Runs in a thread of its own: `with SomeProxy(server.port) as proxy: redis.Redis(port=proxy.port)`."""

    latency_s = 5.0  # as long as eventlog.redis_client waits: what it gave up still arrives

    def __init__(self, server_port: int, seed: str = "") -> None:
        self.chance = random.Random(seed)
        self._server_port = server_port
        self._links: set[Link] = set()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    @abstractmethod
    def fate(self, chunk: bytes, way: Way, link: Link) -> Fate:
        """Asked once for each chunk, in the proxy's thread. A message of a few kilobytes comes as one chunk."""

    @property
    def disturbed(self) -> bool:
        """Something late is still to arrive, or somebody still waits on a silent connection."""
        return any(link.silent or link.late for link in self._links.copy())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # cancels what is still connected
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connect, sock=self._listener)
        await self._ended.wait()
        server.close()

    async def _connect(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._server_port)
        except OSError:
            to_client.transport.abort()
            return
        link = Link(to_client, to_server)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._carry(link, Way.REQUEST, from_client, to_server),
                self._carry(link, Way.REPLY, from_server, to_client),
            )
        except asyncio.CancelledError:
            pass  # the proxy ends; asyncio would report the task
        finally:
            link.reset()
            self._links.remove(link)

    async def _carry(
        self, link: Link, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(_CHUNK_BYTES):
                if not link.silent:
                    await self._deliver(chunk, self.fate(chunk, way, link), link, sink)
        sink.close()

    async def _deliver(self, chunk: bytes, fate: Fate, link: Link, sink: asyncio.StreamWriter) -> None:
        match fate:
            case Fate.PASSED:
                await _write(sink, chunk)
            case Fate.LOST:
                link.silent = True
            case Fate.LOST_AND_CLOSED:
                link.silent = True
                link.close()
            case Fate.CUT_AND_RESET:
                await _write(sink, chunk[: self.chance.randrange(len(chunk) + 1)])
                link.reset()
            case Fate.DRIBBLED:
                for byte in chunk:
                    await _write(sink, bytes([byte]))
                    await asyncio.sleep(0)  # the other connections' turn
            case Fate.LATE:
                link.late += 1
                await asyncio.sleep(self.latency_s)
                await _write(sink, chunk)
                link.late -= 1


async def _write(sink: asyncio.StreamWriter, chunk: bytes) -> None:
    sink.write(chunk)
    await sink.drain()
