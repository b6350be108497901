"""The readers of one log, as Redis knows them: told, listed, removed; and what they leave to be freed."""

from __future__ import annotations

from typing import Final

from eventlog.continuity import Verdict
from eventlog.errors import ReaderUnreadable, TrimRefused, WrongLog
from eventlog.mends import LOG_MEND
from eventlog.position import LAST, START, Position
from eventlog.readers import Freed, Reader, ReaderKind, WhyKept
from eventlog.redis_client import RedisClient, Script

_REPORT_READER, _REMOVE_READER = Script("report_reader"), Script("remove_reader")
_TRIM = Script("positions", "trim")
_TRIM_CHUNK: Final = 1000  # entries; about 2 ms in which Redis does nothing else


class LogReaders:
    """`log.readers`; raises LogUnavailable as every question to Redis does."""

    def __init__(self, client: RedisClient, stream: str, meta: str) -> None:
        self.key = f"{{{stream}}}:readers"
        self._redis = client
        self._stream = stream
        self._meta = meta

    def report(self, name: str, kind: ReaderKind, *, position: Position, sequence: int, log_id: str) -> bool:
        """Make known that a reader has what is up to a position; trimming leaves it what is behind.

        False, with nothing written, if the log is another or gone. XINFO GROUPS shows it under its name,
        from Redis 7 on with its lag.
        """
        keys = [self._stream, self._meta, self.key]
        return bool(self._redis.run(_REPORT_READER, keys, [log_id, name, kind, str(position), sequence]))

    def list_all(self) -> list[Reader]:
        """Every reader that made itself known and was not removed, the slowest first."""
        names, told = self._redis.read_all([("HKEYS", self.key), ("HVALS", self.key)])
        return sorted(map(Reader.parse, names, told), key=lambda reader: reader.position)

    def remove(self, name: str) -> bool:
        """Let what a reader has not got be freed; False if it is not known. One that is alive comes back."""
        return bool(self._redis.run(_REMOVE_READER, [self._stream, self.key], [name]))

    def free_some(
        self,
        log_id: str,
        *,
        keep_entries: int = 0,
        keep_from: Position = LAST,
        dry_run: bool = False,
        start: Position = START,
        already: int = 0,
    ) -> Freed:
        """Free the oldest entries, 1,000 at most, that every reader has and `keep_…` do not hold.

        Each call leaves the log whole. A `dry_run` frees nothing: let the next `start` at what this one found
        to stay, with how many it was `already`.
        Raises TrimRefused where no archive is known, WrongLog, or ReaderUnreadable, with nothing freed.
        """
        arguments = [log_id, keep_entries, str(keep_from), _TRIM_CHUNK, int(dry_run), str(start), already]
        answer = self._redis.run(_TRIM, [self._stream, self._meta, self.key], arguments)
        match answer[0].decode():
            case "freed":
                _, entries, first_kept, why_kept, slowest = answer
                return Freed(
                    entries, Position.parse(first_kept), WhyKept(why_kept.decode()), slowest.decode()
                )
            case "no archive":
                raise TrimRefused(
                    "no archive keeps what would be freed: start the archive: `eventlog archive`"
                )
            case "unreadable":
                raise ReaderUnreadable(answer[1].decode("utf-8", "replace"))
            case verdict:
                raise WrongLog(
                    Verdict(verdict), f"log {log_id} is not what was read: {answer[1].decode()}", LOG_MEND
                )
