"""FastStream on a stream of its own, in its own format, with the settings that were fastest for it.

No consumer group, no acknowledgements, no validation of what a handler is given; what it writes is what
the loop written by hand writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import redis
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.parser import BinaryMessageFormatV1

from bench.handwritten import HandWrittenRows, open_file

STREAM: Final = "faststream"
BATCH: Final = 1000

Message = tuple[str, str, str, str]  # position, type, payload and metadata, as they are in ours


def copy_to_its_stream(client: redis.Redis, stream: str, count: int) -> None:
    """The first entries of ours."""

    async def copy() -> None:
        after, left = "-", count
        while left:
            entries: Any = client.xrange(stream, min=after, count=min(BATCH, left))
            with client.pipeline(transaction=False) as pipeline:
                for position, fields in entries:
                    message = [position, fields[b"EventTypeName"], fields[b"Payload"], fields[b"Metadata"]]
                    encoded = await BinaryMessageFormatV1.encode(
                        message=[part.decode() for part in message],
                        reply_to=None,
                        headers=None,
                        correlation_id=position.decode(),
                    )
                    pipeline.xadd(STREAM, {"__data__": encoded})
                pipeline.execute()
            after, left = f"({entries[-1][0].decode()}", left - len(entries)

    asyncio.run(copy())


def follow_one_by_one(url: str, path: Path, schema: str, count: int) -> None:
    """A handler for each message, which commits it."""
    _follow(url, path, schema, count, batch=False)


def follow_in_batches(url: str, path: Path, schema: str, count: int) -> None:
    """A handler for up to 1,000 messages, which commits them together."""
    _follow(url, path, schema, count, batch=True)


def _follow(url: str, path: Path, schema: str, count: int, *, batch: bool) -> None:
    with closing(open_file(path, schema)) as database:
        asyncio.run(_run(url, HandWrittenRows(database), count, batch=batch))


async def _run(url: str, rows: HandWrittenRows, count: int, *, batch: bool) -> None:
    broker = RedisBroker(url, logger=None, apply_types=False)
    all_done, done = asyncio.Event(), 0

    def applied(messages: list[Message]) -> None:
        nonlocal done
        rows.apply([_as_entry(message) for message in messages])
        done += len(messages)
        if done >= count:
            all_done.set()

    if batch:

        @broker.subscriber(stream=StreamSub(STREAM, last_id="0", batch=True, max_records=BATCH))
        async def follow_batch(messages: list[Message]) -> None:
            applied(messages)
    else:

        @broker.subscriber(stream=StreamSub(STREAM, last_id="0", max_records=BATCH))
        async def follow_one(message: Message) -> None:
            applied([message])

    async with broker:
        await broker.start()
        await all_done.wait()


def _as_entry(message: Message) -> tuple[bytes, Mapping[bytes, bytes]]:
    position, event_type, payload, metadata = (part.encode() for part in message)
    return position, {b"EventTypeName": event_type, b"Payload": payload, b"Metadata": metadata}
