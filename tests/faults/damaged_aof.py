"""The file of Redis is cut short, or a bit of it flips: readers stay right about what they had read, or say so.

Each trial damages a copy of one data directory, starts a server on it, and lets three readers go on. A record that
was cut off at its end leaves a log that is whole: who had read it is told, and who had not cannot be. Nor can who had
not read an entry know that a bit of it flipped, unless it is signed. Both are counted.
"""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import redis

from accounts.revenue import revenue
from eventlog import EventLog, Moment, Position, ProjectionFile, Subscription
from eventlog.adopting import adopt
from eventlog.archive_reader import ArchiveReader
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry
from eventlog.embedded_redis import EmbeddedRedis, EmbeddedRedisError, list_servers
from eventlog.errors import HandlerFailed, KeysRefused, LogUnavailable, NewerSchema, WrongLog
from eventlog.key_file import new_key, write_keys
from eventlog.log import DEFAULT_STREAM
from eventlog.signing import Keys
from shared.events import make_codec
from tests.faults.aof_history import READ_ALL, AofHistory, write_history
from tests.faults.campaign import Fault, Outcome, Piece
from tests.faults.projection_rows import ProjectionRows, read_rows
from tests.services.facts import an_account_created

CUT_AT_RECORD, CUT_WITHIN = "cut at the end of a record", "cut within a record"
FLIP, FLIP_IN_LAST = "flip anywhere", "flip in the last record"
KINDS = (CUT_AT_RECORD, CUT_WITHIN, FLIP, FLIP_IN_LAST)

HALTED = "readers halted"
MISSING_UNREAD = "readers lack entries they had not read, which cannot be known"
CHANGED_UNREAD = "readers took a changed entry they had not read, which cannot be known without signatures"
PARKED_CHANGED = "readers parked a changed entry"
MOVED_UNREAD = "readers took an entry as it was published at another position, which is not signed"

_LAST_RECORDS = 50
_CUTS_AT_COMMAND, _CUTS_ELSEWHERE = 50, 450
_FLIPS = 500
_FLIPS_IN_LAST = 250  # what the log says of itself is in force only there: few of the flips anywhere meet it
_BATCH_SIZE = 7  # so that a hole can lie on the edge of two batches
_LATER_ACCOUNT = 900  # created after the damage, in a table of its own as far as rows are compared
_NAMED = re.compile(r"\b([0-9]+-[0-9]+): ")
_SAID_BY_A_SERVER = ("append only file", "appendonly", "RDB")


class Damage(NamedTuple):
    """Cut `file` off at `offset`, or flip that byte's `bit`."""

    kind: str
    file: Path
    offset: int
    bit: int | None = None

    def apply(self, directory: Path) -> None:
        path = directory / self.file
        content = bytearray(path.read_bytes())
        if self.bit is None:
            del content[self.offset :]
        else:
            content[self.offset] ^= 1 << self.bit
        path.write_bytes(content)


class _Read(NamedTuple):
    """How a reader got on: `named` is how it said that something is wrong, None if it said nothing."""

    before: Checkpoint
    after: Checkpoint
    rows: ProjectionRows
    named: str | None


class _Found(NamedTuple):
    """What became of a server or a reader, and whether it must not have."""

    what: str
    wrong: bool = False


def damage_aof(piece: Piece, kinds: Collection[str] = KINDS, *, signed: bool = False) -> Outcome:
    """A trial is one damage, drawn by lot from all there are, on each kind of server there is."""
    chance = random.Random(piece.seed)
    keys = piece.folder / "keys.json" if signed else None
    if keys:
        write_keys(keys, Keys([new_key()], {}))
    damages = []
    for server in list_servers():
        history = write_history(piece.folder / ".".join(map(str, server.version)), server, chance, keys)
        damages += [(history, damage) for damage in _list_damages(history, chance) if damage.kind in kinds]
    chance.shuffle(damages)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for history, damage in damages[: piece.trials]:
        counts[damage.kind] += 1
        found = _try(history, damage, piece.folder / "trial", keys, goes_on=chance.random() < 0.5)
        shutil.rmtree(piece.folder / "trial")
        counts.update(each.what for each in found if not each.wrong)
        version = ".".join(map(str, history.server.version))
        wrong += [f"Redis {version}, {damage}: {each.what}" for each in found if each.wrong]
    return Outcome(min(piece.trials, len(damages)), dict(counts), wrong)


def _list_damages(history: AofHistory, chance: random.Random) -> Iterator[Damage]:
    """Every end of the last records, offsets within them, and bits anywhere in the files."""
    files = [path for path in sorted(history.folder.rglob("appendonly*")) if path.is_file()]
    aof = next(path for path in files if path.suffix == ".aof" and path.stat().st_size)
    commands, records = _read_ends(aof.read_bytes())
    start, end = records[-_LAST_RECORDS - 1], records[-1]
    at_command = {cut for cut in commands if start < cut < end} - set(records)
    elsewhere = set(range(start, end)) - set(commands)
    cuts = {
        CUT_AT_RECORD: records[-_LAST_RECORDS - 1 : -1],
        CUT_WITHIN: chance.sample(sorted(at_command), _CUTS_AT_COMMAND)
        + chance.sample(sorted(elsewhere), _CUTS_ELSEWHERE),
    }
    for kind, offsets in cuts.items():
        for offset in offsets:
            yield Damage(kind, aof.relative_to(history.folder), offset)
    sizes = [path.stat().st_size for path in files]
    for path, size in chance.choices(list(zip(files, sizes, strict=True)), sizes, k=_FLIPS):
        yield Damage(FLIP, path.relative_to(history.folder), chance.randrange(size), chance.randrange(8))
    for _ in range(_FLIPS_IN_LAST):
        offset = chance.randrange(records[-2], end)
        yield Damage(FLIP_IN_LAST, aof.relative_to(history.folder), offset, chance.randrange(8))


def _read_ends(aof: bytes) -> tuple[list[int], list[int]]:
    """Where each command ends, and each record: a transaction, or a command outside one."""
    commands, records = [], []
    offset, inside = 0, False
    while offset < len(aof):
        words = []
        line_end = aof.index(b"\r\n", offset)
        count, offset = int(aof[offset + 1 : line_end]), line_end + 2
        for _ in range(count):
            line_end = aof.index(b"\r\n", offset)
            length, offset = int(aof[offset + 1 : line_end]), line_end + 2
            words.append(aof[offset : offset + length].upper())
            offset += length + 2
        commands.append(offset)
        inside = words[0] == b"MULTI" or (inside and words[0] != b"EXEC")
        if not inside:
            records.append(offset)
    return commands, records


def _try(
    history: AofHistory, damage: Damage, folder: Path, keys: Path | None, *, goes_on: bool
) -> list[_Found]:
    """With `goes_on` the log is written to before it is read."""
    shutil.copytree(history.folder, folder / "redis")
    keys = Path(shutil.copy(keys, folder)) if keys else None
    damage.apply(folder / "redis")
    server = EmbeddedRedis(folder / "redis", server=history.server)
    try:
        server.start()
    except EmbeddedRedisError as refusal:
        if any(word in str(refusal) for word in _SAID_BY_A_SERVER):
            return [_Found("servers refused to start")]
        return [_Found(f"refused to start and does not say why: {refusal}", wrong=True)]
    log = EventLog.connect(server.url, make_codec(), keys=keys)
    found: list[_Found] = []
    later: set[Position] = set()
    try:
        if goes_on:
            with _crashes_told(found, "the one who writes on"):
                _write_on(log, server.url, later)
        torn = any(server.directory.glob("torn-*.aof"))
        if torn:
            found.append(_Found("records cut off as torn"))
        for name, reader in history.readers.items():
            with _crashes_told(found, f"the tail of the one who read {name}"):
                read = _follow(log, shutil.copytree(reader, folder / name, symlinks=True))
                judged = _judge(history, log, read, later)
                may_lack = torn or damage.kind == CUT_AT_RECORD
                found.append(
                    judged._replace(wrong=judged.wrong or (judged.what == MISSING_UNREAD and not may_lack))
                )
        if any(each.what == HALTED for each in found):
            with _crashes_told(found, "the printed mend"):
                found.append(_mend(log, server.url, history, folder / "mended"))
    finally:
        log.close()
        server.kill()
    return found


@contextmanager
def _crashes_told(found: list[_Found], who: str) -> Iterator[None]:
    try:
        yield
    except Exception as crash:  # noqa: BLE001  # whatever it is, it ends a process that should say what is wrong
        found.append(_Found(f"{who} crashed: {crash!r}", wrong=True))


def _write_on(log: EventLog, url: str, later: set[Position]) -> None:
    """A foreign entry that changes no row, and an account of ours, as far as both are taken."""
    with redis.Redis.from_url(url) as client, suppress(redis.ResponseError):
        written: Any = client.xadd(DEFAULT_STREAM, {"EventTypeName": "Later", "Payload": "{}"})
        later.add(Position.parse(written))
    with suppress(WrongLog, LogUnavailable):
        state = log.state()
        moment = Moment(state.log_id or "", state.end)
        later.add(log.publish([an_account_created(_LATER_ACCOUNT)], decided_at=moment).position)


def _follow(log: EventLog, folder: Path) -> _Read:
    """Let a reader go on as its tail would; raises what would end the tail."""
    with closing(ProjectionFile(folder, revenue)) as file:
        before = file.checkpoint()
        named = None
        try:
            Subscription(log, file, batch_size=_BATCH_SIZE).run_to_head()
        except WrongLog:
            named = HALTED
        except NewerSchema:
            named = "readers wait for an upgrade"
        except (LogUnavailable, HandlerFailed, sqlite3.Error, OSError):
            named = "readers keep retrying"
        after = file.checkpoint()
    return _Read(before, after, read_rows(folder, revenue), named)


def _mend(log: EventLog, url: str, history: AofHistory, folder: Path) -> _Found:
    """What a halt prints: accept what is there, without what the keys do not prove, and rebuild."""
    data_directory = folder / "data"
    for name, reader in history.readers.items():
        shutil.copytree(reader, data_directory / name / revenue.name, symlinks=True)
    with redis.Redis.from_url(url) as client:
        while not _is_adopted(log, data_directory, client):
            pass
    with closing(ProjectionFile(folder, revenue)) as file:
        Subscription(log, file).run_to_head()
        applied = file.checkpoint().sequence
    state = log.state()
    if applied != state.sequence:
        return _Found(f"the mended log has {state.sequence} entries, and {applied} were applied", wrong=True)
    return _Found("logs mended")


def _is_adopted(log: EventLog, data_directory: Path, client: redis.Redis) -> bool:
    """`eventlog init --adopt`; the entries that it refuses and names are deleted."""
    try:
        adopt(log, data_directory, ArchiveReader(data_directory / "none.db"))
    except KeysRefused as refused:
        named = _NAMED.findall(str(refused))
        if not client.xdel(DEFAULT_STREAM, *named):
            raise
        return False
    return True


def _judge(history: AofHistory, log: EventLog, read: _Read, later: Collection[Position]) -> _Found:
    unread = [entry for entry in history.entries if entry.position > read.before.position]
    applied = []
    if read.after != read.before:
        applied = [
            entry
            for entry in log.read(read.before.position, READ_ALL)
            if entry.position <= read.after.position and entry.position not in later
        ]
    wrong = _find_wrong(history, log, read._replace(rows=_without_later(read.rows, later)), unread, applied)
    if wrong is not None:
        return _Found(wrong, wrong=True)
    if read.named is not None:
        return _Found(read.named)
    if applied == unread:
        return _Found("readers right")
    if applied == unread[: len(applied)]:
        return _Found(MISSING_UNREAD)
    if log.keys is not None:
        return _judge_signed(read, unread, applied)
    if read.rows["parked"]:
        return _Found(PARKED_CHANGED)
    return _Found(CHANGED_UNREAD)


def _judge_signed(read: _Read, unread: Sequence[Entry], applied: Sequence[Entry]) -> _Found:
    """The one entry that is not what it was must be parked, unless all that was published of it is."""
    place = _changed_place(unread, applied)
    assert place is not None
    if read.before.sequence + place + 1 in {row[0] for row in read.rows["parked"]}:
        return _Found(PARKED_CHANGED)
    if unread[place].fields == applied[place].fields:
        return _Found(MOVED_UNREAD)
    return _Found(f"{applied[place]} was applied, and {unread[place]} published", wrong=True)


def _find_wrong(
    history: AofHistory, log: EventLog, read: _Read, unread: Sequence[Entry], applied: Sequence[Entry]
) -> str | None:
    """What was served as right and is not; a changed entry nobody had read before cannot be known."""
    if read.named is None and not _still_there(log, read.before):
        return f"the entry at {read.before.position} was read before, is gone or changed, and nobody says so"
    if applied == unread[: len(applied)]:
        known_to = applied[-1].position if applied else read.before.position
        if read.rows != history.rows[known_to]:
            return f"the rows at {known_to} are not those of the undamaged log"
    elif not _one_changed(unread, applied):
        return f"{len(applied)} entries were applied that do not follow on {read.before.position}"
    return None


def _without_later(rows: ProjectionRows, later: Collection[Position]) -> ProjectionRows:
    """Who has keys parks what is foreign among it."""
    return {
        **rows,
        "accounts": [row for row in rows["accounts"] if row[0] != _LATER_ACCOUNT],
        "parked": [row for row in rows["parked"] if Position.parse(row[1]) not in later],
    }


def _still_there(log: EventLog, checkpoint: Checkpoint) -> bool:
    found = log.snapshot(checkpoint.position, 1).at_checkpoint
    return found is not None and found.digest() == checkpoint.digest


def _one_changed(unread: Sequence[Entry], applied: Sequence[Entry]) -> bool:
    """What was applied is what was unread, in order, but for a single entry in another's place."""
    place = _changed_place(unread, applied)
    return place is not None and unread[place + 1 : len(applied)] == applied[place + 1 :]


def _changed_place(unread: Sequence[Entry], applied: Sequence[Entry]) -> int | None:
    pairs = enumerate(zip(unread, applied, strict=False))
    return next((number for number, pair in pairs if pair[0] != pair[1]), None)


DAMAGED_AOF = Fault(
    "damaged-aof",
    "AOF cut at the end of each of its last 50 records and at 500 offsets within them; 500 flips anywhere and 250"
    " in the last record; each on every server program there is",
    2600,  # all there are, where there are two server programs
    2600,
    damage_aof,
)


DAMAGED_SIGNED_AOF = Fault(
    "damaged-signed-aof",
    "the same to a log whose entries are signed, but for every tenth, of another program",
    2600,
    2600,
    partial(damage_aof, signed=True),
)
