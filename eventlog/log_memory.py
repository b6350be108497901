"""What one log takes in the memory of Redis."""

from __future__ import annotations

import re

from eventlog.readers import Measures
from eventlog.redis_client import RedisClient

_MEASURED_RECORDS = 100


class LogMemory:
    """`log.memory`; raises LogUnavailable as every question to Redis does."""

    def __init__(self, client: RedisClient, stream: str, subjects: str) -> None:
        self._redis = client
        self._stream = stream
        self._subjects = subjects

    def stream_bytes(self) -> int | None:
        """What the stream takes in memory; None where Redis does not say."""
        return self._bytes(self._stream)

    def measure(self) -> Measures:
        """Of command records 100 are measured, and the rest estimated; None where this user may not list keys."""
        records, record_bytes = self._measure_records()
        return Measures(
            stream_bytes=self.stream_bytes(),
            subjects_bytes=self._bytes(self._subjects),
            command_records=records,
            command_bytes=record_bytes,
        )

    def _measure_records(self) -> tuple[int, int] | tuple[None, None]:
        records, record_bytes, measured = 0, 0, 0
        pattern = f"{{{_glob_escaped(self._stream)}}}:command:*"
        cursor: bytes | None = None
        while cursor != b"0":
            listed = self._redis.execute_if_allowed("SCAN", cursor or b"0", "MATCH", pattern, "COUNT", 1000)
            if listed is None:
                return None, None
            cursor, keys = listed
            for key in keys[: _MEASURED_RECORDS - measured]:
                record_bytes += self._bytes(key) or 0
                measured += 1
            records += len(keys)
        return records, record_bytes * records // max(1, measured)

    def _bytes(self, key: str | bytes) -> int | None:
        answer = self._redis.execute_if_allowed("MEMORY", "USAGE", key, "SAMPLES", 0)
        return None if answer is None else int(answer)


def _glob_escaped(text: str) -> str:
    return re.sub(r"([\\*?\[\]^-])", r"\\\1", text)
