"""The subjects that a log remembers, and how those are forgotten that no decision asks for any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from eventlog.continuity import Verdict
from eventlog.errors import WrongLog
from eventlog.mends import LOG_MEND
from eventlog.position import Position
from eventlog.redis_client import RedisClient, Script

_PRUNE = Script("positions", "prune_subjects")
_PAGE = 1000  # subjects; a few ms in which Redis does nothing else


class LogSubjects:
    """`log.subjects`; raises LogUnavailable as every question to Redis does."""

    def __init__(self, client: RedisClient, meta: str, subjects: str) -> None:
        self._redis = client
        self._meta = meta
        self._subjects = subjects

    def prune(self, log_id: str, trimmed_to: Position) -> int:
        """Forget those last touched before what was trimmed, as the log knows it too; answers how many.

        To the script that publishes a subject it does not find was touched at `trimmed_to`. WrongLog if the log is
        another.
        """
        pruned = 0
        for page in self.touched_before(trimmed_to):
            answer = self._redis.run(_PRUNE, [self._meta, self._subjects], [log_id, *page])
            if answer is None:
                raise WrongLog(Verdict.REPLACED, f"log {log_id} is gone", LOG_MEND)
            pruned += int(answer)
        return pruned

    def touched_before(self, position: Position) -> Iterator[list[bytes]]:
        """Those last touched before a position, in pages; one may be touched meanwhile, and one be named twice."""
        cursor = b"0"
        while True:
            cursor, told = self._redis.execute("HSCAN", self._subjects, cursor, "COUNT", _PAGE)
            found = []
            for subject, touched in zip(told[::2], told[1::2], strict=True):
                with suppress(ValueError):  # the log's id lies there too
                    if Position.parse(touched) < position:
                        found.append(subject)
            for start in range(0, len(found), _PAGE):
                yield found[start : start + _PAGE]
            if int(cursor) == 0:
                return
