"""A Redis in memory, on a clock that is given: the library's own scripts, and the few commands it and its tests send.

Fast, and the same every time, where fakeredis is neither; that it behaves as a server must is shown by the
log's contract suite (test_simulation.py).
"""

from __future__ import annotations

import fnmatch
import hashlib
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import redis
from lupa import lua51  # type: ignore[import-untyped]  # Redis runs Lua 5.1

from eventlog import START, Position

LAST_POSITION = Position(2**64 - 1, 2**64 - 1)

StreamEntry = tuple[Position, list[bytes]]


class Stream:
    """Entries in order, and the last id ever given, which a deleted entry leaves behind."""

    def __init__(self, entries: Iterable[StreamEntry] = (), last: Position = START) -> None:
        self.entries = list(entries)
        self.last = last

    def between(self, first: Position, last: Position) -> list[StreamEntry]:
        start = bisect_left(self.entries, first, key=_position)
        return self.entries[start : bisect_right(self.entries, last, key=_position)]

    def add(self, wanted: bytes, now_ms: int, fields: list[bytes]) -> Position:
        position = self._next(now_ms) if wanted == b"*" else Position.parse(wanted)
        if position <= self.last:
            raise redis.ResponseError(
                "The ID specified in XADD is equal or smaller than the target stream top item"
            )
        self.entries.append((position, fields))
        self.last = position
        return position

    def _next(self, now_ms: int) -> Position:
        if now_ms > self.last.milliseconds:
            return Position(now_ms, 0)
        following = self.last.next()
        if following is None:
            raise redis.ResponseError(
                "The stream has exhausted the last possible ID, unable to add more items"
            )
        return following


Value = Stream | dict[bytes, bytes] | bytes


class State(NamedTuple):
    """All that a server holds; nothing changes in it any more."""

    values: dict[bytes, Value]
    expires_at_ms: dict[bytes, int]


class _Status(bytes):
    """A simple string, as OK: a table with `ok` inside a script."""


_OK = _Status(b"OK")


class SimulatedRedis:
    """A command is a method, `_do_` and its name, that takes and gives bytes as they would go over the wire."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._values: dict[bytes, Value] = {}
        self._expires_at_ms: dict[bytes, int] = {}
        self._changed = threading.Condition(threading.RLock())
        self._scripts: dict[bytes, Callable[[], Any]] = {}
        self._lua = lua51.LuaRuntime(encoding=None)
        self._globals = self._lua.globals()
        self._globals[b"redis"] = self._lua.table_from(
            {b"call": self._call_from_lua, b"pcall": self._try_from_lua}
        )

    def answer(self, name: bytes, *arguments: bytes) -> Any:
        """What Redis would answer; its refusals are raised as redis-py raises them."""
        with self._changed:
            answer = self._run(name, arguments)
            self._changed.notify_all()
            return answer

    def _run(self, name: bytes, arguments: Iterable[bytes]) -> Any:
        command = getattr(self, f"_do_{name.decode().lower()}", None)
        if command is None:
            raise redis.ResponseError(f"unknown command '{name.decode()}'")
        try:
            return command(*arguments)
        except ValueError as wrong:
            raise redis.ResponseError(f"ERR {wrong}") from wrong

    def state(self) -> State:
        """A copy, to be put back later."""
        return State({key: _copied(value) for key, value in self._values.items()}, dict(self._expires_at_ms))

    def put_back(self, state: State) -> None:
        """Make the server what it was; the state can be put back again."""
        self._values, self._expires_at_ms = state
        self._values, self._expires_at_ms = self.state()

    def entries(self, key: bytes) -> list[StreamEntry] | None:
        """A copy; None where there is no stream."""
        return list(self._stream(key).entries) if self._do_exists(key) else None

    def _stream(self, key: bytes) -> Stream:
        """Empty where there is none, and then not stored yet."""
        value = self._found(key)
        if value is None or isinstance(value, Stream):
            return value or Stream()
        raise _wrong_type()

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        """The same."""
        value = self._found(key)
        if value is None or isinstance(value, dict):
            return value or {}
        raise _wrong_type()

    def _found(self, key: bytes) -> Value | None:
        expires_at_ms = self._expires_at_ms.get(key)
        if expires_at_ms is not None and expires_at_ms <= self._now_ms():
            self._do_del(key)
        return self._values.get(key)

    # Any key

    def _do_exists(self, key: bytes) -> int:
        return int(self._found(key) is not None)

    def _do_type(self, key: bytes) -> _Status:
        kinds = {Stream: b"stream", dict: b"hash", bytes: b"string"}
        value = self._found(key)
        return _Status(b"none" if value is None else kinds[type(value)])

    def _do_del(self, *keys: bytes) -> int:
        for key in keys:
            self._expires_at_ms.pop(key, None)
        return sum(self._values.pop(key, None) is not None for key in keys)

    def _do_rename(self, key: bytes, new_key: bytes) -> _Status:
        self._values[new_key] = self._values.pop(key)
        return _OK

    def _do_flushall(self) -> _Status:
        self._values, self._expires_at_ms = {}, {}
        return _OK

    def _do_keys(self, pattern: bytes) -> list[bytes]:
        return [
            key for key in list(self._values) if fnmatch.fnmatchcase(key, pattern) and self._do_exists(key)
        ]

    def _do_dump(self, key: bytes) -> bytes:
        value = self._found(key)
        return repr((value.entries, value.last) if isinstance(value, Stream) else value).encode()

    def _do_pexpire(self, key: bytes, lifetime_ms: bytes) -> int:
        self._expires_at_ms[key] = self._now_ms() + int(lifetime_ms)
        return 1

    def _do_pttl(self, key: bytes) -> int:
        return self._expires_at_ms[key] - self._now_ms()

    # Strings and hashes

    def _do_set(self, key: bytes, value: bytes) -> _Status:
        self._values[key] = value
        return _OK

    def _do_get(self, key: bytes) -> Value | None:
        return self._found(key)

    def _do_hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._hash(key).get(field)

    def _do_hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        found = self._hash(key)
        return [found.get(field) for field in fields]

    def _do_hset(self, key: bytes, *fields: bytes) -> int:
        found = self._hash(key)
        before = len(found)
        found.update(zip(fields[::2], fields[1::2], strict=True))
        self._values[key] = found
        return len(found) - before

    def _do_hscan(self, key: bytes, *_: bytes) -> list[Any]:
        return [b"0", [part for field in self._hash(key).items() for part in field]]

    def _do_hdel(self, key: bytes, field: bytes) -> int:
        return int(self._hash(key).pop(field, None) is not None)

    def _do_hlen(self, key: bytes) -> int:
        return len(self._hash(key))

    def _do_hincrby(self, key: bytes, field: bytes, amount: bytes) -> int:
        number = int(self._hash(key).get(field, 0)) + int(amount)
        self._do_hset(key, field, b"%d" % number)
        return number

    def _do_setrange(self, key: bytes, offset: bytes, text: bytes) -> int:
        """Only as the scripts ask it, to be refused where nothing can be written; here it always can."""
        assert (key in self._values, offset, text) == (False, b"0", b"")
        return 0

    # Streams

    def _do_xadd(self, key: bytes, wanted: bytes, *fields: bytes) -> bytes:
        if wanted == b"MINID":  # `~`: a server may keep what is older, as this one does
            _, _, wanted, *rest = fields
            return self._do_xadd(key, wanted, *rest)
        stream = self._stream(key)
        position = stream.add(wanted, self._now_ms(), list(fields))
        self._values[key] = stream
        return str(position).encode()

    def _do_xlen(self, key: bytes) -> int:
        return len(self._stream(key).entries)

    def _do_xrange(self, key: bytes, first: bytes, last: bytes, *count: bytes) -> list[Any]:
        found = self._stream(key).between(_bound(first), _bound(last))
        return [_told(entry) for entry in found[: int(count[1]) if count else None]]

    def _do_xrevrange(self, key: bytes, last: bytes, first: bytes, *count: bytes) -> list[Any]:
        found = self._stream(key).between(_bound(first), _bound(last))[::-1]
        return [_told(entry) for entry in found[: int(count[1]) if count else None]]

    def _do_xdel(self, key: bytes, *ids: bytes) -> int:
        gone = {Position.parse(each) for each in ids}
        return self._keep(key, lambda position: position not in gone)

    def _do_xtrim(self, key: bytes, strategy: bytes, bound: bytes) -> int:
        if strategy == b"MINID":
            least = Position.parse(bound)
        else:
            entries = self._stream(key).entries
            kept = entries[max(0, len(entries) - int(bound)) :]
            least = kept[0][0] if kept else LAST_POSITION
        return self._keep(key, lambda position: position >= least)

    def _keep(self, key: bytes, kept: Callable[[Position], bool]) -> int:
        """How many entries went."""
        stream = self._stream(key)
        before = len(stream.entries)
        stream.entries = [entry for entry in stream.entries if kept(entry[0])]
        return before - len(stream.entries)

    def _do_xread(self, *arguments: bytes) -> list[Any] | None:
        _, count, _, block_ms, _, key, after = arguments
        following = Position.parse(after).next() or LAST_POSITION

        def behind() -> list[StreamEntry]:
            return self._stream(key).between(following, LAST_POSITION)[: int(count)]

        found = self._changed.wait_for(behind, int(block_ms) / 1000)
        return [[key, [_told(entry) for entry in found]]] if found else None

    def _do_xgroup(self, subcommand: bytes, key: bytes, *_: bytes) -> _Status:
        if subcommand == b"CREATE":
            self._values[key] = self._stream(key)
        return _OK

    def _do_xinfo(self, _: bytes, key: bytes) -> list[Any]:
        stream = self._stream(key)
        ends = [_told(stream.entries[end]) if stream.entries else None for end in (0, -1)]
        last_id = str(stream.last).encode()
        return [
            *(b"length", len(stream.entries), b"last-generated-id", last_id),
            *(b"groups", 0, b"first-entry", ends[0], b"last-entry", ends[1]),
        ]

    # Scripts

    def _do_eval(self, source: bytes, count: bytes, *arguments: bytes) -> Any:
        sha1 = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        self._scripts[sha1] = self._lua.compile(source)
        return self._do_evalsha(sha1, count, *arguments)

    def _do_evalsha(self, sha1: bytes, count: bytes, *arguments: bytes) -> Any:
        script = self._scripts.get(sha1)
        if script is None:
            raise redis.exceptions.NoScriptError("No matching script")
        self._globals[b"KEYS"] = self._lua.table_from(arguments[: int(count)])
        self._globals[b"ARGV"] = self._lua.table_from(arguments[int(count) :])
        return _from_lua(script())

    def _call_from_lua(self, name: bytes, *arguments: Any) -> Any:
        sent = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
        return self._to_lua(self._run(name, sent))

    def _try_from_lua(self, name: bytes, *arguments: Any) -> Any:
        try:
            return self._call_from_lua(name, *arguments)
        except redis.ResponseError as refusal:
            return self._lua.table_from({b"err": str(refusal).encode()})

    def _to_lua(self, value: Any) -> Any:
        if value is None:
            return False
        if isinstance(value, _Status):
            return self._lua.table_from({b"ok": bytes(value)})
        if isinstance(value, list):
            return self._lua.table_from([self._to_lua(each) for each in value])
        return value


def _from_lua(value: Any) -> Any:
    if value is None or value is False:
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, (int, float)):
        return int(value)
    if value[b"err"] is not None:
        raise redis.ResponseError(value[b"err"].decode())
    return [_from_lua(each) for each in value.values()]


def _wrong_type() -> redis.ResponseError:
    return redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")


def _copied(value: Value) -> Value:
    if isinstance(value, Stream):
        return Stream(value.entries, value.last)
    return dict(value) if isinstance(value, dict) else value


def _position(entry: StreamEntry) -> Position:
    return entry[0]


def _told(entry: StreamEntry) -> list[Any]:
    position, fields = entry
    return [str(position).encode(), fields]


def _bound(text: bytes) -> Position:
    if text in (b"-", b"+"):
        return START if text == b"-" else LAST_POSITION
    return Position.parse(text)
