"""The log: publish, read, wait and head on one Redis stream; what it says to Redis goes through redis_client.py."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import starmap
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis

from eventlog.archive import Kept, NamedCommand
from eventlog.archive_reader import ArchiveReader
from eventlog.checkpoints import Checkpoint
from eventlog.codec import Codec, Entry
from eventlog.continuity import LogState, Snapshot, Verdict, find_divergence
from eventlog.counted import counted
from eventlog.errors import (
    ArchiveUnusable,
    CommandReused,
    Conflict,
    IdsTaken,
    LogUnavailable,
    OutcomeUnknown,
    WeakDurability,
    WrongLog,
)
from eventlog.events import Event, Metadata
from eventlog.key_file import ForgottenKeys, KeyFile
from eventlog.log_memory import LogMemory
from eventlog.log_readers import LogReaders
from eventlog.log_subjects import LogSubjects
from eventlog.mends import LOG_MEND, NO_LOG_MEND, wrong_log
from eventlog.new_ids import NewIds
from eventlog.permissions import TO_PUBLISH, Permissions
from eventlog.position import LAST, START, Position
from eventlog.published_ids import PublishedIds
from eventlog.redis_address import RedisAddress
from eventlog.redis_client import SOCKET_TIMEOUT_S, Asked, RedisClient, Script, make_pool
from eventlog.server_state import ServerState, read_server_state
from eventlog.staging import Staging
from eventlog.verification import why_unproven

DEFAULT_STREAM: Final = "event-stream"

NAMED_COMMAND_LIFETIME_MS: Final = 24 * 60 * 60 * 1000
UNNAMED_COMMAND_LIFETIME_MS: Final = 2 * 60 * 1000  # a day of them at full speed would be 15 GB

_PUBLISH, _CREATE_LOG = Script("positions", "publish"), Script("create_log")
_RESERVE_IDS = Script("reserve_ids")

_LONGEST_WAIT_MS = (
    int(SOCKET_TIMEOUT_S * 1000) - 2000
)  # a blocking read must end 2 s before the socket gives up, or it never returns
_COUNT_CHUNK = 10_000

DURABILITY_HOLDS_S: Final = 2.0  # for so long after its settings became weaker Redis may still be written to
DURABLE_SETTINGS: Final = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}

_META_FIELDS = ("log_id", "sequence", "last_position", "trimmed_to", "trimmed", "adopted_to", "floor")


class Moment(NamedTuple):
    """What a decision was made on: a log, and how far of it was known."""

    log_id: str
    position: Position


class Command(NamedTuple):
    """What makes publishing repeatable: same key and fingerprint, same answer, one effect.

    The log remembers a key for 24 hours if the client `named` it, else for two minutes.
    """

    key: str
    fingerprint: str
    named: bool = False

    @classmethod
    def unnamed(cls) -> Command:
        """A command of its own, for a caller that only wants its retries to be safe."""
        return cls(new_token(), "")

    @property
    def lifetime_ms(self) -> int:
        return NAMED_COMMAND_LIFETIME_MS if self.named else UNNAMED_COMMAND_LIFETIME_MS


class CommandRecord(NamedTuple):
    """How a command ended the first time; `position` and `sequence` are those of its last event."""

    fingerprint: str
    position: Position
    sequence: int
    result: str


class Published(NamedTuple):
    """Where the last event stands, and the command's result; `replayed` if it was there already."""

    log_id: str
    position: Position
    sequence: int
    result: str
    replayed: bool


class Durability(StrEnum):
    """What is known about an acknowledged event surviving a crash of Redis."""

    PROVEN = "proven"
    UNPROVEN = "unproven"  # the server does not let its settings be read, as managed ones do


def new_token() -> str:
    """16 URL-safe characters, 96 random bits: short, because every entry carries two."""
    return _new_tokens(1)[0]


def _new_tokens(count: int) -> list[str]:
    """In one call: each would give other threads the interpreter."""
    characters = secrets.token_urlsafe(12 * count)
    return [characters[start : start + 16] for start in range(0, 16 * count, 16)]


class EventLog:
    """One log: `EventLog.connect("redis://127.0.0.1:6379", codec)`. Safe to share between threads."""

    def __init__(
        self,
        pool: redis.ConnectionPool,
        codec: Codec,
        stream: str = DEFAULT_STREAM,
        *,
        archive: ArchiveReader | None = None,
        keys: KeyFile | ForgottenKeys | None = None,
        accept_weak_durability: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`pool` must speak RESP2 and not retry by itself; what was trimmed is read from `archive`.

        With `keys` what is published is signed, and projections park what is not.
        `accept_weak_durability` is for tests.
        """
        self.codec = codec
        self.stream = stream
        self.keys = keys
        self._published_ids = PublishedIds()
        self._redis = RedisClient(pool)
        self._clock = clock
        self._meta = f"{{{stream}}}:meta"
        self._subjects = f"{{{stream}}}:subjects"
        self.readers = LogReaders(self._redis, stream, self._meta)
        self.memory = LogMemory(self._redis, stream, self._subjects)
        self.subjects = LogSubjects(self._redis, self._meta, self._subjects)
        self._named_commands = f"{{{stream}}}:named-commands"
        self.permissions = Permissions(self._redis, stream)
        self._archive = archive
        self._trimmed_to = START  # as of the last look; only a hint at where to look next
        self._accept_weak_durability = accept_weak_durability
        self._durability: Durability | None = None
        self._durability_read_at_s = 0.0

    @classmethod
    def connect(
        cls,
        address: str | RedisAddress,
        codec: Codec,
        stream: str = DEFAULT_STREAM,
        *,
        archive: Path | None = None,
        keys: Path | ForgottenKeys | None = None,
        accept_weak_durability: bool = False,
    ) -> EventLog:
        """The log on this server, by its URL or a RedisAddress.

        What was trimmed of it is in the file `archive`, what signs it in the file `keys`.

        Opens no connection and no archive yet, so Redis may be away, and the archive not be there. Raises KeysUnusable.
        """
        return cls(
            make_pool(address),
            codec,
            stream,
            archive=ArchiveReader(archive) if archive else None,
            keys=KeyFile(keys) if isinstance(keys, Path) else keys,
            accept_weak_durability=accept_weak_durability,
        )

    def with_patience(self, timeout_s: float) -> EventLog:
        """The same log over connections of its own, which take no answer within `timeout_s` for none."""
        return EventLog(
            self._redis.make_impatient_pool(timeout_s),
            self.codec,
            self.stream,
            archive=self._archive,
            keys=self.keys,
            accept_weak_durability=self._accept_weak_durability,
            clock=self._clock,
        )

    def make_client(self, timeout_s: float) -> RedisClient:
        """Of the log's server, for what is no part of the log; it gives up after `timeout_s`."""
        return RedisClient(self._redis.make_impatient_pool(timeout_s))

    def close(self) -> None:
        """Close every connection; the log may be used again afterwards."""
        self._redis.close()

    # Making the log

    def create(self, *, adopt: bool = False, new_id: str = "") -> str:
        """Make the log if it is not there; answer its id either way.

        A stream with entries but no log id, or with entries of its log missing, is a WrongLog error.
        `adopt` makes a new log of what is there, whatever that is: who followed the old one halts. A new log has a
        random id, unless `new_id` is one.
        """
        with self._wrong_types_named():
            answer = self._redis.run(
                _CREATE_LOG,
                [self.stream, self._meta, self._subjects, self.readers.key, self._named_commands],
                [new_id or secrets.token_hex(16), "1" if adopt else "0"],
            )
        outcome, detail = answer[0].decode(), answer[1]
        if outcome in ("created", "exists"):
            return str(detail.decode())
        if outcome == "entries":
            raise WrongLog(
                Verdict.REPLACED,
                f"stream {self.stream!r} already has {counted(detail, 'entry')} and no log id",
                "Run `eventlog init --adopt` to take it over, or set EVENT_STREAM to another name.",
            )
        if outcome == "damaged":
            raise WrongLog(
                Verdict.REWOUND, f"entries of log {detail.decode()} are missing from the stream", LOG_MEND
            )
        raise WrongLog(
            Verdict.REPLACED,
            f"key {self.stream!r} is a {detail.decode()}, not a stream",
            "Set EVENT_STREAM to another name.",
        )

    def check_durability(self) -> Durability:
        """Read the server's settings; raise WeakDurability if it can lose what it acknowledged."""
        self._durability_read_at_s = time.monotonic()
        weak: dict[str, str] = {}
        hidden = False
        for setting, durable in DURABLE_SETTINGS.items():
            try:
                found = self._redis.execute("CONFIG", "GET", setting)
            except LogUnavailable as refusal:
                if isinstance(refusal.__cause__, redis.ResponseError):
                    self._durability = Durability.UNPROVEN
                    return Durability.UNPROVEN
                raise
            if not found:
                hidden = True
            elif found[1].decode() != durable:
                weak[setting] = found[1].decode()
        if weak and not self._accept_weak_durability:
            self._durability = None
            raise WeakDurability(weak)
        self._durability = Durability.UNPROVEN if weak or hidden else Durability.PROVEN
        return self._durability

    def _require_durability(self) -> None:
        """Settings change while a server runs: what was read of them holds for a few seconds."""
        age_s = time.monotonic() - self._durability_read_at_s
        if self._durability is None or age_s > DURABILITY_HOLDS_S:
            self.permissions.require(TO_PUBLISH)
            self.check_durability()

    def server_state(self) -> ServerState:
        """What the server says of itself; LogUnavailable where it is away or does not tell."""
        return read_server_state(self._redis)

    def check_writable(self) -> None:
        """Ask the script all it asks before an append, and append nothing; raises what publish would raise."""
        self._require_durability()
        if self.keys is not None:
            self.keys.read()
        state = self.state()
        if state.log_id is None:
            raise WrongLog(Verdict.REPLACED, "there is no log", LOG_MEND)
        moment, command = Moment(state.log_id, START), Command.unnamed()
        arguments = [moment.log_id, str(moment.position), "", 0, "", "", 0, 0]
        keys = self._publish_keys(command, state.log_id)
        self._read_publish_answer(self._redis.run(_PUBLISH, keys, arguments), moment, command)

    # Writing

    def find_command(self, command: Command, *, log_id: str) -> CommandRecord | None:
        """How this command ended in that log, if it still remembers; CommandReused for other content."""
        fields = self._redis.execute(
            "HMGET", self._record_key(command, log_id), "fingerprint", "position", "sequence", "result"
        )
        if fields[0] is None:
            return None
        record = CommandRecord(
            fields[0].decode(), Position.parse(fields[1]), int(fields[2]), fields[3].decode()
        )
        if record.fingerprint != command.fingerprint:
            raise CommandReused(command.key)
        return record

    def publish(
        self,
        events: Sequence[Event],
        *,
        decided_at: Moment,
        guards: Sequence[str] = (),
        touches: Sequence[str] = (),
        command: Command | None = None,
        result: str = "",
        new_ids: NewIds | None = None,
        actor: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        command_name: str | None = None,
        traceparent: str | None = None,
        retry_unknown_for_s: float = 60,
    ) -> Published:
        """Append all events or none, unless a guarded subject was touched after `decided_at`.

        A lost answer is retried with the same command until it comes, so nothing is written twice.
        Raises Conflict, IdsTaken, CommandReused, WrongLog, WeakDurability or LogUnavailable with nothing
        written, and OutcomeUnknown if no answer came within `retry_unknown_for_s`.
        """
        if not events:
            raise ValueError("publish needs at least one event")
        if not decided_at.log_id:
            raise WrongLog(Verdict.REPLACED, "there is no log yet", NO_LOG_MEND)
        self._require_durability()
        keys = self.keys.read() if self.keys else None
        with_ids: Callable[[str], str] = str
        if keys and new_ids:  # what is signed cannot be given its ids inside Redis any more
            with_ids, new_ids = self._reserve(new_ids, decided_at.log_id), None
            guards, touches = [*map(with_ids, guards)], [*map(with_ids, touches)]
            result = with_ids(result)
        command = command or Command.unnamed()
        arguments: list[Any] = [decided_at.log_id, str(decided_at.position), command.fingerprint]
        arguments += [command.lifetime_ms, result]
        if new_ids is None:
            arguments.append("")
        else:
            arguments += [
                f"next:{new_ids.counter}",
                new_ids.digits,
                new_ids.how_many,
                new_ids.above,
                new_ids.below,
            ]
        arguments += [len(guards), *guards, len(touches), *touches]
        event_ids = self._published_ids.take(len(events)) if keys else _new_tokens(len(events))
        metadata = Metadata(
            event_id=event_ids[0],
            occurred_at=self._clock(),
            correlation_id=correlation_id or event_ids[0],  # what is published together belongs together
            causation_id=causation_id,
            actor=actor,
            command=command_name,
            traceparent=traceparent,
        )
        for encoded in self.codec.encode_together(events, metadata, event_ids):
            if keys:
                numbered = encoded._replace(payload=with_ids(encoded.payload.decode()).encode())
                arguments += keys.sign(decided_at.log_id, numbered)
            else:
                arguments += encoded
        redis_keys = self._publish_keys(command, decided_at.log_id)
        try:
            answer = self._redis.run_until_known(_PUBLISH, redis_keys, arguments, retry_unknown_for_s)
        except (LogUnavailable, OutcomeUnknown):
            self._durability = None  # it may be another server, with other settings, that answers next
            raise
        return self._read_publish_answer(answer, decided_at, command)

    def _read_publish_answer(self, answer: list[Any], decided_at: Moment, command: Command) -> Published:
        outcome = answer[0].decode()
        match outcome:
            case "published":
                return Published(
                    decided_at.log_id,
                    Position.parse(answer[-1]),
                    answer[1],
                    answer[2].decode(),
                    replayed=False,
                )
            case "writable":
                return Published(decided_at.log_id, decided_at.position, 0, "", replayed=False)
            case "no id left":
                raise LogUnavailable(
                    f"no id is left behind {answer[1].decode()}: delete the entries of another writer that used them "
                    "up (XDEL), then set the stream's last id back to that of its last entry (XSETID)"
                )
            case "replayed":
                return Published(
                    decided_at.log_id, Position.parse(answer[2]), answer[1], answer[3].decode(), replayed=True
                )
            case "reused":
                raise CommandReused(command.key)
            case "beyond the end":
                field, said, right = (each.decode() for each in answer[1:])
                raise WrongLog(
                    Verdict.REWOUND,
                    f"{field} of {self._meta!r} is {said}, and log {decided_at.log_id} ends before that",
                    f"Set it right: `redis-cli HSET '{self._meta}' {field} {right}`.",
                )
            case "taken":
                raise IdsTaken(int(answer[1]))
            case "conflict":
                raise Conflict(Position.parse(answer[1]), answer[2].decode())
            case _:
                raise WrongLog(
                    Verdict(outcome),
                    f"log {decided_at.log_id} is not what was read: {answer[1].decode()}",
                    LOG_MEND,
                )

    def _reserve(self, new_ids: NewIds, log_id: str) -> Callable[[str], str]:
        """How to put ids that nobody else gets in place of provisional ones. Raises IdsTaken or WrongLog."""
        outcome, detail = self._redis.run(
            _RESERVE_IDS,
            [self._meta],
            [log_id, f"next:{new_ids.counter}", new_ids.how_many, new_ids.above, new_ids.below],
        )
        match outcome.decode():
            case "reserved":
                return new_ids.given_from(int(detail))
            case "taken":
                raise IdsTaken(int(detail))
            case verdict:
                raise WrongLog(
                    Verdict(verdict), f"log {log_id} is not what was read: {detail.decode()}", LOG_MEND
                )

    # Reading

    def now(self) -> datetime:
        """The time by the clock of Redis, which gives positions their milliseconds."""
        seconds, microseconds = self._redis.execute("TIME")
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))

    def state(self) -> LogState:
        """What the log says of itself now."""
        return _log_state(*self._look(self._state_commands()))

    def snapshot(self, after: Position, count: int) -> Snapshot:
        """The log's state, the entry at `after` and up to `count` entries behind it, of one moment."""
        return self.begin_snapshot(after, count).take()

    def begin_snapshot(self, after: Position, count: int) -> Asked[Snapshot]:
        """Ask for a snapshot, of the moment when Redis gets to it, and fetch it later."""
        commands = self._state_commands()
        commands.append(("XRANGE", self.stream, str(after), str(after)))
        following = after.next()
        if following is not None:
            # Where the archive gives the whole batch, don't fetch another from Redis to drop it.
            archived = self._archive is not None and self._archive.has(
                after, self._trimmed_to.previous(), count
            )
            from_redis = 1 if archived else count
            commands.append(("XRANGE", self.stream, str(following), "+", "COUNT", from_redis))
        asked = self._redis.begin_read_all(commands)

        def take() -> Snapshot:
            with self._wrong_types_named():
                return self._read_snapshot(asked.take(), after, count)

        return Asked(take, asked.drop)

    def _read_snapshot(self, answers: list[Any], after: Position, count: int) -> Snapshot:
        meta, entries, exists, newest, at, *behind = answers
        state = _log_state(meta, entries, exists, newest)
        self._trimmed_to = state.trimmed_to
        following_entries = list(starmap(Entry, behind[0])) if behind else []
        seen_to = following_entries[-1].position if following_entries else after
        snapshot = Snapshot(state, Entry(*at[0]) if at else None, following_entries, seen_to >= state.end)
        if self._archive and state.trimmed and after < state.trimmed_to:
            return self._archive.complete(snapshot, after, count)
        return snapshot

    def require_same(self, checkpoint: Checkpoint) -> None:
        """Raise WrongLog unless this is still the log that the checkpoint is of, as far as it had read it."""
        snapshot = self.snapshot(checkpoint.position, 1)
        divergence = find_divergence(checkpoint, snapshot)
        if divergence is not None:
            raise wrong_log(divergence, checkpoint)

    def ask_same(self, checkpoint: Checkpoint) -> Callable[[], bool]:
        """Begin to ask whether this surely is still the log that the checkpoint is of, and go on.

        What comes back, called once, waits for the answer; after a False `require_same` tells. Both raise
        LogUnavailable, and WrongLog where a key is no part of a log.
        """
        position = str(checkpoint.position)
        answers = self._redis.ask(
            [("HGET", self._meta, "log_id"), ("XRANGE", self.stream, position, position)]
        )

        def is_same() -> bool:
            with self._wrong_types_named():
                log_id, entries = answers()
            if not entries or log_id != checkpoint.log_id.encode():
                return False
            return Entry(*entries[0]).digest() == checkpoint.digest

        return is_same

    def read(self, after: Position = START, count: int = 1000) -> list[Entry]:
        """Up to `count` entries behind a position; an empty list at the end."""
        return self.snapshot(after, count).entries if self._archive else self.read_stored(after, count)

    def read_stored(self, after: Position = START, count: int = 1000) -> list[Entry]:
        """As `read`, of what Redis has, whatever the log says of itself."""
        following = after.next()
        if following is None:
            return []
        with self._wrong_types_named():
            found = self._redis.execute("XRANGE", self.stream, str(following), "+", "COUNT", count)
        return [Entry(*entry) for entry in found]

    def read_back(self, up_to: Position = LAST, count: int = 1000) -> list[Entry]:
        """Up to `count` entries that end with the one at a position, or before it; the newest first."""
        return [
            Entry(*entry)
            for entry in self._look([("XREVRANGE", self.stream, str(up_to), "-", "COUNT", count)])[0]
        ]

    def read_last(self, up_to: Position = LAST, count: int = 1000) -> list[Entry]:
        """As `read_back`, and on into what was trimmed; ArchiveUnusable where the archive cannot give that."""
        found = self.read_back(up_to, count)
        if len(found) == count:
            return found
        snapshot = self.snapshot(START, 1)
        if not snapshot.state.trimmed:
            return found
        unread = snapshot.why_unread(START)
        if self._archive is None or unread:
            raise ArchiveUnusable(unread)
        up_to = found[-1].position.previous() if found else up_to
        return found + self._archive.read_back(up_to, count - len(found))

    def why_unproven(self, entry: Entry, log_id: str) -> str | None:
        """Why its signature does not show that it was published to that log; empty if it does, None without keys."""
        return None if self.keys is None else why_unproven(self.keys.read(), log_id, entry)

    def count_entries(self, after: Position, up_to: Position) -> int:
        """How many entries lie behind `after`, up to and including `up_to`. Reads them all."""
        if self._archive is None:
            return self._count_in_redis(after, up_to)
        while True:
            trimmed_to = self.state().trimmed_to
            last_trimmed = trimmed_to.previous()
            archived = 0
            with suppress(ArchiveUnusable):  # they are missing then, and the verdict says why
                if after < last_trimmed:
                    archived = self._archive.count(after, min(up_to, last_trimmed))
            counted = archived + self._count_in_redis(max(after, last_trimmed), up_to)
            if self.state().trimmed_to == trimmed_to:  # else some went from there to here
                return counted

    def _count_in_redis(self, after: Position, up_to: Position) -> int:
        counted = 0
        following = after.next()
        while following is not None:
            chunk = self._redis.execute(
                "XRANGE", self.stream, str(following), str(up_to), "COUNT", _COUNT_CHUNK
            )
            counted += len(chunk)
            following = Position.parse(chunk[-1][0]).next() if len(chunk) == _COUNT_CHUNK else None
        return counted

    def read_kept(self, after: Position, up_to: Position) -> Kept:
        """What the archive keeps beside the entries behind `after`, up to and including `up_to`."""
        following = after.next() or up_to
        fields, values, commands = self._look(
            [
                ("HKEYS", self._meta),
                ("HVALS", self._meta),
                ("XRANGE", self._named_commands, str(following), str(up_to)),
            ]
        )
        return Kept(
            dict(zip(fields, values, strict=True)),
            [command for command in (_named_command(Entry(*entry)) for entry in commands) if command],
        )

    def wait(self, after: Position, timeout_ms: int) -> bool:
        """Block until an entry may lie behind `after`; False after `timeout_ms` (3,000 at most).

        Only a wake-up: what came is read by `snapshot`, together with the log's id.
        """
        block_ms = max(1, min(timeout_ms, _LONGEST_WAIT_MS))  # 0 would block for ever
        return (
            self._redis.execute("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self.stream, str(after))
            is not None
        )

    # Writing it back

    def staging(self) -> Staging:
        """Where the log can be written back beside what is there, unseen until it is whole."""
        own_keys = [self._meta, self._subjects, self._named_commands]
        return Staging(self._redis, self.stream, own_keys, self._record_prefix)

    # Speaking to Redis

    def _state_commands(self) -> list[tuple[Any, ...]]:
        return [
            ("HMGET", self._meta, *_META_FIELDS),
            ("XLEN", self.stream),
            ("EXISTS", self.stream),
            ("XREVRANGE", self.stream, "+", "-", "COUNT", 1),
        ]

    def _look(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        with self._wrong_types_named():
            return self._redis.read_all(commands)

    @contextmanager
    def _wrong_types_named(self) -> Iterator[None]:
        try:
            yield
        except LogUnavailable as problem:
            if "WRONGTYPE" in str(problem):
                raise WrongLog(
                    Verdict.REPLACED,
                    f"{self.stream!r} is not a stream, or {self._meta!r} not a hash",
                    f"Set EVENT_STREAM to another name; or, if it was the log, {LOG_MEND[0].lower()}{LOG_MEND[1:]}",
                ) from problem
            raise

    def _publish_keys(self, command: Command, log_id: str) -> list[str]:
        keys = [self.stream, self._meta, self._subjects, self._record_key(command, log_id)]
        return [*keys, self._named_commands] if command.named else keys

    def _record_key(self, command: Command, log_id: str) -> str:
        # With the log's id: what was done in a log that was given up is not done in the one after it.
        identity = hashlib.sha256(f"{log_id}\n{command.key}".encode()).hexdigest()[:32]
        return f"{self._record_prefix}{identity}"

    @property
    def _record_prefix(self) -> str:
        return f"{{{self.stream}}}:command:"


def _log_state(meta: list[bytes | None], entries: int, exists: int, newest: list[Any]) -> LogState:
    log_id, sequence, last_position, trimmed_to, trimmed, adopted_to, floor = meta
    try:
        return LogState(
            log_id=log_id.decode("ascii") if log_id else None,
            stream_exists=bool(exists),
            sequence=int(sequence or 0),
            last_position=Position.parse(last_position or b"0-0"),
            end=Position.parse(newest[0][0]) if newest else START,
            entries=entries,
            trimmed_to=Position.parse(trimmed_to or b"0-0"),
            trimmed=int(trimmed or 0),
            adopted_to=Position.parse(adopted_to or b"0-0"),
            floor=Position.parse(floor or b"0-0"),
        )
    except ValueError as problem:
        raise WrongLog(
            Verdict.REWOUND, f"what the log says of itself is damaged: {problem}", LOG_MEND
        ) from None


def _named_command(entry: Entry) -> NamedCommand | None:
    """As publish.lua adds it; None for what somebody else put there."""
    try:
        _, record, _, fingerprint, _, sequence, _, result = (field.decode() for field in entry.fields)
        return NamedCommand(record, entry.position, int(sequence), fingerprint, result)
    except ValueError:
        return None
