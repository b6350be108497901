"""The chain of an archive: each entry's link is a digest over the link before it and all that is kept of the entry.

It shows what was altered, put in or taken out by anything but the archive. Whoever can compute it anew for the
whole file can forge it: it is no signature.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from eventlog.codec import Entry
from eventlog.errors import ArchiveAltered
from eventlog.position import START, Position

LINK_BYTES: Final = 32  # of BLAKE2b (RFC 7693), the fastest in hashlib; long enough to be signed

NO_COMMANDS: Final = bytes(LINK_BYTES)  # the digest of no named commands

# The columns of a named command, in the order in which its digest is over them.
COMMAND_COLUMNS: Final = "record, position, sequence, fingerprint, result"
CREATE_SEAL: Final = (
    "CREATE TABLE seal (only INTEGER PRIMARY KEY CHECK (only = 1), link BLOB NOT NULL, meta BLOB NOT NULL,"
    " commands BLOB NOT NULL) STRICT"
)

_HALF_BYTES = 8  # of a position: an unsigned 64-bit integer, which SQLite has not got
_SUMS_BELOW = 1 << 8 * LINK_BYTES


class Row(NamedTuple):
    """An entry as it is stored; `link` is empty in a file of the form without a chain."""

    sequence: int
    position: bytes
    fields: bytes
    link: bytes


class Seal(NamedTuple):
    """The last link, and what shows that meta and named commands are those that were kept with it."""

    link: bytes
    meta: bytes
    commands: bytes


def first_link(log_id: str) -> bytes:
    """What the first entry's link follows: entries of another log never fit."""
    return _digest(log_id.encode())


def next_link(previous: bytes, sequence: int, position: bytes, fields: bytes) -> bytes:
    """The link of the entry behind the one whose link is `previous`."""
    return _digest(previous + sequence.to_bytes(8) + position + fields)


def next_link_of(previous: bytes, sequence: int, entry: Entry) -> bytes:
    """As `next_link`, of an entry as it is read from the log."""
    return next_link(previous, sequence, to_stored(entry.position), msgspec.msgpack.encode(entry.fields))


def follow(path: Path, before: tuple[int, bytes], rows: Iterable[Row], *, chained: bool) -> tuple[int, bytes]:
    """Sequence and link of the last of the rows that follow an entry with these; the same where there are none.

    ArchiveAltered names the first that is missing or, where there is a chain, altered.
    """
    sequence, link = before
    for row in rows:
        sequence += 1
        if row.sequence != sequence:
            raise ArchiveAltered(path, sequence, START, "is missing")
        if chained:
            link = next_link(link, sequence, row.position, row.fields)
            if link != row.link:
                raise ArchiveAltered(path, sequence, from_stored(row.position), "was altered")
    return sequence, link


def meta_digest(meta: Mapping[bytes, bytes]) -> bytes:
    return _digest(msgspec.msgpack.encode(sorted(meta.items())))


def add_commands(digest: bytes, more: Iterable[Sequence[object]], less: Iterable[Sequence[object]]) -> bytes:
    """The digest of a set of rows, of which some came and some went; that of none is `NO_COMMANDS`."""
    total = int.from_bytes(digest) + sum(map(_number, more)) - sum(map(_number, less))
    return (total % _SUMS_BELOW).to_bytes(LINK_BYTES)


def digest_beside(connection: sqlite3.Connection) -> tuple[bytes, bytes]:
    """The digests of meta and of named commands as they are in the file; reads them all."""
    meta = dict(connection.execute("SELECT field, value FROM meta").fetchall())
    commands = connection.execute(f"SELECT {COMMAND_COLUMNS} FROM commands")
    return meta_digest(meta), add_commands(NO_COMMANDS, commands, ())


def read_seal(connection: sqlite3.Connection) -> Seal | None:
    """None while nothing is kept."""
    found = connection.execute("SELECT link, meta, commands FROM seal").fetchone()
    return None if found is None else Seal(*found)


def write_seal(connection: sqlite3.Connection, seal: Seal) -> None:
    connection.execute("INSERT OR REPLACE INTO seal (only, link, meta, commands) VALUES (1, ?, ?, ?)", seal)


def to_stored(position: Position) -> bytes:
    """16 bytes that sort as the position does."""
    return position.milliseconds.to_bytes(_HALF_BYTES) + position.counter.to_bytes(_HALF_BYTES)


def from_stored(stored: bytes) -> Position:
    """The position that was stored as these bytes."""
    return Position(int.from_bytes(stored[:_HALF_BYTES]), int.from_bytes(stored[_HALF_BYTES:]))


def _number(row: Sequence[object]) -> int:
    return int.from_bytes(_digest(msgspec.msgpack.encode(row)))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=LINK_BYTES).digest()
