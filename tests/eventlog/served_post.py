"""The post office of parcels.py as operators meet it: served in a directory, looked at, and damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

from eventlog import EventLog, Projection, ProjectionFile, ProjectionReader, Subscription
from eventlog.checkpoints import Checkpoint
from eventlog.generations import FILE_NAME, Generations
from eventlog.position import LAST, Position
from eventlog.projection_reader import Look
from tests.eventlog.log_contract import STREAM, publish
from tests.eventlog.parcels import a_parcel_sent, make_post


def send_parcels(log: EventLog, first: int, last: int) -> Position:
    """Publish parcels of 11 customers by number, each as heavy as its number; answers the last position."""
    sent = [
        a_parcel_sent(number, customer_id=number % 11, weight_g=number) for number in range(first, last + 1)
    ]
    return publish(log, *sent).position


def add_unreadable(client: redis.Redis) -> None:
    """An entry that every projection parks."""
    client.xadd(STREAM, {"price": "5"})


def serve(
    log: EventLog, directory: Path, projection: Projection | None = None, up_to: Position = LAST
) -> Checkpoint:
    """What a tail does until it has nothing left up to a position."""
    with closing(ProjectionFile(directory, projection or make_post())) as file:
        Subscription(log, file).run_to_head(up_to)
        return file.checkpoint()


def build(log: EventLog, directory: Path, up_to: Position = LAST) -> Path:
    """A generation that is not served."""
    generation = Generations(directory, make_post()).begin()
    with closing(ProjectionFile(directory, make_post(), generation)) as file:
        Subscription(log, file).run_to_head(up_to)
    return generation


def served_number(directory: Path) -> int | None:
    served = Generations(directory, make_post()).serving()
    return None if served is None else int(served.name)


def generation_numbers(directory: Path) -> list[int]:
    return [int(path.name) for path in Generations(directory, make_post()).list_all()]


def acknowledge(directory: Path, up_to_sequence: int, projection: Projection | None = None) -> str:
    """Answers when."""
    at = datetime.now(UTC).isoformat()
    with closing(ProjectionFile(directory, projection or make_post())) as file:
        file.acknowledge(up_to_sequence, at)
    return at


def seen(
    directory: Path, generation: Path | None = None, projection: Projection | None = None
) -> list[str | None]:
    """When each parked entry was acknowledged."""
    with ProjectionReader(directory, projection or make_post(), generation).look() as look:
        return [entry.acknowledged_at for entry in look.list_parked()]


def all_rows(look: Look) -> dict[str, list[Any]]:
    """Every row of every table, and what was parked why."""
    rows: dict[str, list[Any]] = {table.name: list(look.iterate(table)) for table in make_post().tables}
    rows["parked"] = [(entry.position, entry.event_type, entry.reason) for entry in look.list_parked()]
    return rows


def rows_of(directory: Path, generation: Path | None = None) -> dict[str, list[Any]]:
    with ProjectionReader(directory, make_post(), generation).look() as look:
        return all_rows(look)


def sequence_of(directory: Path, generation: Path | None = None) -> int:
    with ProjectionReader(directory, make_post(), generation).look() as look:
        return look.checkpoint.sequence


@contextmanager
def edited(directory: Path, generation: Path | None = None) -> Iterator[sqlite3.Connection]:
    """What somebody does by hand to a file; committed at the end."""
    path = Generations(directory, make_post()).served_file if generation is None else generation / FILE_NAME
    with closing(sqlite3.connect(path.resolve())) as connection:
        yield connection
        connection.commit()


def damage(file: Path) -> None:
    """Everything but the first page is nonsense."""
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xff" * (file.stat().st_size - 4096))
