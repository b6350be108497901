"""Requests over a number of connections, each sending its next one when the one before it is answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from bench.running_pair import HOST
from bench.turns import percentile_ms

_RECEIVED_BYTES = 1 << 20


class Answered(NamedTuple):
    """What came back: how many per status, and how long each took in seconds, in order."""

    seconds: float
    statuses: Counter[int]
    latencies: list[float]

    @property
    def per_s(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        return percentile_ms(self.latencies, percent)


def make_request(method: str, path: str, *, token: str = "", body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of one request; `headers` are lines that end with CRLF."""
    if token:
        headers += f"Authorization: Bearer {token}\r\n"
    if body:
        headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n".encode() + body


def send(port: int, next_request: Callable[[], bytes], *, connections: int, seconds: float) -> Answered:
    """As many requests as are answered meanwhile."""
    return asyncio.run(_send(port, next_request, connections, seconds))


async def _send(port: int, next_request: Callable[[], bytes], connections: int, seconds: float) -> Answered:
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    started = time.perf_counter()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(HOST, port, limit=_RECEIVED_BYTES)
        while (sent := time.perf_counter()) < started + seconds:
            writer.write(next_request())
            statuses[await read_status(reader)] += 1
            latencies.append(time.perf_counter() - sent)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return Answered(time.perf_counter() - started, statuses, sorted(latencies))


async def read_status(reader: asyncio.StreamReader) -> int:
    """Of one answer, whose body is read and dropped."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return int(lines[0].split()[1])
