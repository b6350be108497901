"""One connection that asks and reads what is answered: for loads whose next request depends on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from bench.running_pair import HOST

_RECEIVED_BYTES = 1 << 20


class Answer(NamedTuple):
    """Header names in lower case; the body as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """Kept open; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def opened(cls, port: int) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection(HOST, port, limit=_RECEIVED_BYTES)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def ask(self, request: bytes) -> Answer:
        """Once all of the answer is here."""
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status_line.split()[1]), headers, body)
