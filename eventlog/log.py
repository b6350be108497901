"""The log: publish, read, wait and head on one Redis stream; the only module that speaks to Redis."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from importlib import resources
from typing import Any, Final, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventlog.codec import Codec, Entry
from eventlog.continuity import LogState, Snapshot, Verdict
from eventlog.errors import (
    CommandReused,
    Conflict,
    LogUnavailable,
    OutcomeUnknown,
    WeakDurability,
    WrongLog,
)
from eventlog.events import Event, Metadata
from eventlog.position import START, Position

DEFAULT_STREAM: Final = "event-stream"

NAMED_COMMAND_LIFETIME_MS: Final = 24 * 60 * 60 * 1000
UNNAMED_COMMAND_LIFETIME_MS: Final = 2 * 60 * 1000  # a day of them at full speed would be 15 GB

_SOCKET_TIMEOUT_S = 5.0
_CONNECT_TIMEOUT_S = 2.0
_LONGEST_WAIT_MS = 3000  # a blocking read must end 2 s before the socket gives up, or it never returns
_FIRST_RETRY_PAUSE_S, _LONGEST_RETRY_PAUSE_S = 0.02, 0.5
_COUNT_CHUNK = 10_000
_LARGEST_EXACT = 2**53  # Lua counts in doubles

_DURABLE_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}

LOG_MEND: Final = (
    "Restore the Redis data that held this log; or accept what is there now: delete the directory of "
    "each projection that followed it, then run `eventlog init --adopt`: the tails rebuild by themselves."
)


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
    return secrets.token_urlsafe(12)


class EventLog:
    """One log: `EventLog.connect("redis://127.0.0.1:6379", codec)`. Safe to share between threads."""

    def __init__(
        self,
        pool: redis.ConnectionPool,
        codec: Codec,
        stream: str = DEFAULT_STREAM,
        *,
        accept_weak_durability: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`pool` must speak RESP2 and not retry by itself; `accept_weak_durability` is for tests."""
        self.codec = codec
        self.stream = stream
        self._pool = pool
        self._clock = clock
        self._meta = f"{{{stream}}}:meta"
        self._subjects = f"{{{stream}}}:subjects"
        self._accept_weak_durability = accept_weak_durability
        self._durability: Durability | None = None
        self._scripts = {name: _Script(name) for name in ("publish", "create_log", "next_id")}

    @classmethod
    def connect(
        cls, url: str, codec: Codec, stream: str = DEFAULT_STREAM, *, accept_weak_durability: bool = False
    ) -> EventLog:
        """Make a pool that suits the log. Opens no connection yet, so Redis may be away."""
        pool = redis.ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=_SOCKET_TIMEOUT_S,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            # The client's own retries would publish twice: 1,000 publishes became 1,111 entries.
            retry=Retry(NoBackoff(), 0),
        )
        return cls(pool, codec, stream, accept_weak_durability=accept_weak_durability)

    def close(self) -> None:
        """Close every connection; the log may be used again afterwards."""
        self._pool.disconnect()

    # Making the log

    def create(self, *, adopt: bool = False) -> str:
        """Make the log if it is not there; answer its id either way.

        A stream with entries but no log id, or with entries of its log missing, is a WrongLog error;
        `adopt` makes what is there a new log instead.
        """
        answer = self._run(
            "create_log",
            [self.stream, self._meta, self._subjects],
            [secrets.token_hex(16), "1" if adopt else "0"],
        )
        outcome, detail = answer[0].decode(), answer[1]
        if outcome in ("created", "exists"):
            return str(detail.decode())
        if outcome == "entries":
            raise WrongLog(
                Verdict.REPLACED,
                f"stream {self.stream!r} already has {detail} entries and no log id",
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
        weak: dict[str, str] = {}
        hidden = False
        for setting, durable in _DURABLE_SETTINGS.items():
            try:
                found = self._execute("CONFIG", "GET", setting)
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

    # Writing

    def next_id(self, counter: str, *, log_id: str, above: int) -> int:
        """A number never given before for `counter`, larger than `above`; gaps are normal.

        `above` is below 2^53, the largest that a script counts exactly.
        """
        if above >= _LARGEST_EXACT:
            raise ValueError(f"ids are counted up to {_LARGEST_EXACT}, not above {above}")
        answer = self._run("next_id", [self._meta], [log_id, f"next:{counter}", above])
        if answer is None:
            raise WrongLog(Verdict.REPLACED, f"log {log_id} is gone", LOG_MEND)
        return int(answer)

    def find_command(self, command: Command, *, log_id: str) -> CommandRecord | None:
        """How this command ended in that log, if it still remembers; CommandReused for other content."""
        fields = self._execute(
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
        actor: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        command_name: str | None = None,
        retry_unknown_for_s: float = 60,
    ) -> Published:
        """Append all events or none, unless a guarded subject was touched after `decided_at`.

        A lost answer is retried with the same command until it comes, so nothing is written twice.
        Raises Conflict, CommandReused, WrongLog, WeakDurability or LogUnavailable with nothing
        written, and OutcomeUnknown if no answer came within `retry_unknown_for_s`.
        """
        if not events:
            raise ValueError("publish needs at least one event")
        if self._durability is None:
            self.check_durability()
        command = command or Command.unnamed()
        arguments: list[Any] = [decided_at.log_id, str(decided_at.position), command.fingerprint]
        arguments += [command.lifetime_ms, result, len(guards), *guards, len(touches), *touches]
        occurred_at = self._clock()
        for event in events:
            event_id = new_token()
            metadata = Metadata(
                event_id=event_id,
                occurred_at=occurred_at,
                correlation_id=correlation_id or event_id,
                causation_id=causation_id,
                actor=actor,
                command=command_name,
            )
            arguments += self.codec.encode(event, metadata)
        keys = [self.stream, self._meta, self._subjects, self._record_key(command, decided_at.log_id)]
        answer = self._run_until_known("publish", keys, arguments, retry_unknown_for_s)
        return _read_publish_answer(answer, decided_at, command, result)

    # Reading

    def state(self) -> LogState:
        """What the log says of itself now."""
        meta, exists, newest = self._execute_all(self._state_commands())
        return _log_state(meta, exists, newest)

    def snapshot(self, after: Position, count: int) -> Snapshot:
        """The log's state, the entry at `after` and up to `count` entries behind it, of one moment."""
        commands = self._state_commands()
        commands.append(("XRANGE", self.stream, str(after), str(after)))
        following = after.next()
        if following is not None:
            commands.append(("XRANGE", self.stream, str(following), "+", "COUNT", count))
        meta, exists, newest, at, *behind = self._execute_all(commands)
        state = _log_state(meta, exists, newest)
        entries = [Entry(*entry) for entry in behind[0]] if behind else []
        seen_to = entries[-1].position if entries else after
        return Snapshot(state, Entry(*at[0]) if at else None, entries, seen_to >= state.end)

    def read(self, after: Position = START, count: int = 1000) -> list[Entry]:
        """Up to `count` entries behind a position; an empty list at the end."""
        following = after.next()
        if following is None:
            return []
        return [
            Entry(*entry)
            for entry in self._execute("XRANGE", self.stream, str(following), "+", "COUNT", count)
        ]

    def count_entries(self, after: Position, up_to: Position) -> int:
        """How many entries lie behind `after`, up to and including `up_to`. Reads them all."""
        counted = 0
        following = after.next()
        while following is not None:
            chunk = self._execute("XRANGE", self.stream, str(following), str(up_to), "COUNT", _COUNT_CHUNK)
            counted += len(chunk)
            following = Position.parse(chunk[-1][0]).next() if len(chunk) == _COUNT_CHUNK else None
        return counted

    def wait(self, after: Position, timeout_ms: int) -> bool:
        """Block until an entry may lie behind `after`; False after `timeout_ms` (3,000 at most).

        Only a wake-up: what came is read by `snapshot`, together with the log's id.
        """
        block_ms = max(1, min(timeout_ms, _LONGEST_WAIT_MS))  # 0 would block for ever
        return (
            self._execute("XREAD", "COUNT", 1, "BLOCK", block_ms, "STREAMS", self.stream, str(after))
            is not None
        )

    # Speaking to Redis

    def _state_commands(self) -> list[tuple[Any, ...]]:
        return [
            ("HMGET", self._meta, "log_id", "sequence", "last_position", "trimmed_to"),
            ("EXISTS", self.stream),
            ("XREVRANGE", self.stream, "+", "-", "COUNT", 1),
        ]

    def _record_key(self, command: Command, log_id: str) -> str:
        # With the log's id: what was done in a log that was given up is not done in the one after it.
        identity = hashlib.sha256(f"{log_id}\n{command.key}".encode()).hexdigest()[:32]
        return f"{{{self.stream}}}:command:{identity}"

    def _execute(self, *arguments: Any) -> Any:
        with self._connection() as connection, _unavailable_if_failing():
            connection.send_command(*arguments)
            return connection.read_response()

    def _execute_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run the commands in one MULTI; every one of them must succeed."""
        with self._connection() as connection, _unavailable_if_failing():
            connection.send_packed_command(connection.pack_commands([("MULTI",), *commands, ("EXEC",)]))
            for _ in range(len(commands) + 1):
                connection.read_response()
            answers: list[Any] = connection.read_response()
        for answer in answers:
            if isinstance(answer, redis.ResponseError):
                raise LogUnavailable(f"Redis refused to read the log: {answer}") from answer
        return answers

    def _run(self, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        with self._connection() as connection, _unavailable_if_failing():
            return self._scripts[name].run(connection, keys, arguments)

    def _run_until_known(self, name: str, keys: Sequence[str], arguments: Sequence[Any], for_s: float) -> Any:
        """Run a script that may be repeated, again and again while it is unknown whether it ran."""
        deadline = time.monotonic() + for_s
        pause_s = _FIRST_RETRY_PAUSE_S
        may_have_run = False
        while True:
            try:
                with self._connection() as connection:
                    try:
                        return self._scripts[name].run(connection, keys, arguments)
                    except (redis.BusyLoadingError, redis.ResponseError) as refusal:
                        raise LogUnavailable(f"Redis refused the append: {refusal}") from refusal
                    except (redis.RedisError, OSError) as lost:
                        may_have_run = True
                        raise LogUnavailable(f"Redis did not answer: {lost}") from lost
            except LogUnavailable as problem:
                self._durability = None
                if not may_have_run:
                    raise
                if time.monotonic() + pause_s > deadline:
                    raise OutcomeUnknown(
                        f"no answer from Redis within {for_s:g} s: the append may or may not be in the log; "
                        "publish again with the same command"
                    ) from problem
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_RETRY_PAUSE_S)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connected connection; failing to get one is LogUnavailable, and nothing was sent."""
        try:
            connection: Any = self._pool.get_connection()  # redis-py leaves its methods untyped
        except (redis.RedisError, OSError) as problem:
            raise LogUnavailable(f"Redis is away: {problem}") from problem
        try:
            yield connection
        except BaseException:
            # An answer may still be on its way: this connection must not be read by anyone else.
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)


class _Script:
    """A Lua script run by its digest, and sent whole only to a server that has not got it."""

    def __init__(self, name: str) -> None:
        self._source = resources.files("eventlog").joinpath(f"{name}.lua").read_text("utf-8")
        self._sha1 = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def run(self, connection: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            connection.send_command("EVALSHA", self._sha1, len(keys), *keys, *arguments)
            return connection.read_response()
        except redis.exceptions.NoScriptError:
            connection.send_command("EVAL", self._source, len(keys), *keys, *arguments)
            return connection.read_response()


@contextmanager
def _unavailable_if_failing() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as problem:
        raise LogUnavailable(f"Redis did not answer: {problem}") from problem


def _log_state(meta: list[bytes | None], exists: int, newest: list[Any]) -> LogState:
    log_id, sequence, last_position, trimmed_to = meta
    return LogState(
        log_id=log_id.decode() if log_id else None,
        stream_exists=bool(exists),
        sequence=int(sequence or 0),
        last_position=Position.parse(last_position or b"0-0"),
        end=Position.parse(newest[0][0]) if newest else START,
        trimmed_to=Position.parse(trimmed_to or b"0-0"),
    )


def _read_publish_answer(answer: list[Any], decided_at: Moment, command: Command, result: str) -> Published:
    outcome = answer[0].decode()
    match outcome:
        case "published":
            return Published(decided_at.log_id, Position.parse(answer[-1]), answer[1], result, replayed=False)
        case "replayed":
            return Published(
                decided_at.log_id, Position.parse(answer[2]), answer[1], answer[3].decode(), replayed=True
            )
        case "reused":
            raise CommandReused(command.key)
        case "conflict":
            raise Conflict(Position.parse(answer[1]), answer[2].decode())
        case _:
            raise WrongLog(
                Verdict(outcome),
                f"log {decided_at.log_id} is not what was read: {answer[1].decode()}",
                LOG_MEND,
            )
