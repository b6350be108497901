"""Requests that are sent when they are due, whether or not those before them are answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from bench.running_pair import HOST
from bench.turns import percentile_ms

_LAST_ANSWERS_WITHIN_S = 10.0
_UNAVAILABLE = 503


class Steady(NamedTuple):
    """What came back: latencies in seconds by status, in order; `unsent` were due while every connection waited."""

    seconds: float
    latencies: dict[int, list[float]]
    unsent: int

    @property
    def statuses(self) -> Counter[int]:
        return Counter({status: len(found) for status, found in self.latencies.items()})

    def per_s(self, status: int) -> float:
        return len(self.latencies.get(status, [])) / self.seconds

    def percentile_ms(self, status: int, percent: float) -> float:
        """0 where none was answered so."""
        return percentile_ms(self.latencies.get(status, []), percent)


def send_steadily(
    port: int, next_request: Callable[[], bytes], *, per_s: float, connections: int, seconds: float
) -> Steady:
    """Over so many connections, each with one request at a time."""
    return asyncio.run(_send_steadily(port, next_request, per_s, connections, seconds))


async def _send_steadily(
    port: int, next_request: Callable[[], bytes], per_s: float, connections: int, seconds: float
) -> Steady:
    idle: deque[_Client] = deque()
    latencies: dict[int, list[float]] = {}
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: _Client(idle, latencies), HOST, port))[1]
        for _ in range(connections)
    ]
    due, unsent = 0, 0
    started = time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        while due < (now - started) * per_s:
            due += 1
            if idle:
                idle.popleft().send(next_request())
            else:
                unsent += 1
        await asyncio.sleep(0.001)
    async with asyncio.timeout(_LAST_ANSWERS_WITHIN_S):
        for client in clients:
            await client.answered.wait()
            client.close()
    return Steady(seconds, {status: sorted(found) for status, found in latencies.items()}, unsent)


class _Client(asyncio.Protocol):
    """One connection: back among the idle once its request is answered."""

    def __init__(self, idle: deque[_Client], latencies: dict[int, list[float]]) -> None:
        self._idle = idle
        self._latencies = latencies
        self._received = b""
        self._sent_at = 0.0
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answered_all()

    def send(self, request: bytes) -> None:
        self.answered.clear()
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._received = b""
        status = int(head[9:12])
        assert status != _UNAVAILABLE or b"\r\nretry-after:" in head.lower(), head
        self._latencies.setdefault(status, []).append(time.perf_counter() - self._sent_at)
        self._answered_all()

    def _answered_all(self) -> None:
        self._idle.append(self)
        self.answered.set()

    def close(self) -> None:
        self._transport.close()


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0
