"""A log on disk as it was before anything damaged it, three readers of it, and the rows it makes, entry by entry."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec
import redis

from accounts.revenue import revenue
from eventlog import START, Event, EventLog, Moment, Position, ProjectionFile, Subscription
from eventlog.codec import Entry
from eventlog.embedded_redis import EmbeddedRedis, Server
from eventlog.log import DEFAULT_STREAM
from shared.events import make_codec
from tests.faults.projection_rows import ProjectionRows, read_rows
from tests.services.facts import (
    a_customer_created,
    an_account_created,
    an_invoice_created,
    an_invoice_deleted,
)

READ_ALL = 10_000

_ACCOUNTS, _CUSTOMERS, _INVOICE_COMMANDS = 2, 5, 113
_LEFT_UNREAD = {"all": 0, "most": 25, "half": 60}  # entries, by how much a reader had read
READERS = len(_LEFT_UNREAD)


class AofHistory(NamedTuple):
    """`folder` is the server's; `readers` are folders of projections; `rows` are those after each entry."""

    server: Server
    folder: Path
    readers: dict[str, Path]
    entries: list[Entry]
    rows: dict[Position, ProjectionRows]


def write_history(
    folder: Path, server: Server, chance: random.Random, keys: Path | None = None
) -> AofHistory:
    """The server has ended when this returns. Every tenth append is foreign, and the others signed with `keys`."""
    with (
        EmbeddedRedis(folder / "redis", server=server) as running,
        closing(EventLog.connect(running.url, make_codec(), keys=keys)) as log,
        redis.Redis.from_url(running.url) as client,
    ):
        log_id = log.create()
        for number, events in enumerate(_make_events(chance)):
            if number % 10 == 9:
                _write_foreign(client, events)
            else:
                log.publish(events, decided_at=Moment(log_id, log.state().end))
        entries = log.read(count=READ_ALL)
        readers, rows = _read_step_by_step(log, entries, folder)
    return AofHistory(server, folder / "redis", readers, entries, rows)


def _make_events(chance: random.Random) -> Iterator[Sequence[Event]]:
    """What each publish appends: mostly one invoice, now and then two, or the end of one."""
    for account in range(1, _ACCOUNTS + 1):
        yield [an_account_created(account)]
    for customer in range(1, _CUSTOMERS + 1):
        yield [a_customer_created(customer, account=1 + customer % _ACCOUNTS)]
    for number in range(_INVOICE_COMMANDS):
        first, second = (
            an_invoice_created(
                2 * number + more, chance.randrange(1, _CUSTOMERS + 1), chance.randrange(1, 10**6)
            )
            for more in (1, 2)
        )
        if number % 7 == 6:
            yield [first]
            yield [an_invoice_deleted(int(first.id), int(first.customer_id), first.purchase_price_cents)]
        else:
            yield [first, second] if number % 9 == 8 else [first]


def _write_foreign(client: redis.Redis, events: Sequence[Event]) -> None:
    for event in events:
        client.xadd(DEFAULT_STREAM, {"EventTypeName": event.type_name, "Payload": msgspec.json.encode(event)})


def _read_step_by_step(
    log: EventLog, entries: Sequence[Entry], folder: Path
) -> tuple[dict[str, Path], dict[Position, ProjectionRows]]:
    """The readers, and the rows after each entry."""
    readers = {name: folder / name for name in _LEFT_UNREAD}
    growing = folder / "growing"
    rows: dict[Position, ProjectionRows] = {START: {}}
    for left, entry in zip(reversed(range(len(entries))), entries, strict=True):
        with closing(ProjectionFile(growing, revenue)) as file:
            Subscription(log, file, batch_size=1).run_once()
        rows[entry.position] = read_rows(growing, revenue)
        for name in (name for name, unread in _LEFT_UNREAD.items() if unread == left):
            shutil.copytree(growing, readers[name], symlinks=True)
    return readers, rows
