"""Readers and trimming, on a fake and on each real server at hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis

from eventlog.embedded_redis import EmbeddedRedis
from eventlog.trimming import Keep
from tests.eventlog.reader_contract import ReaderContract, RealServerReaderContract
from tests.eventlog.test_log import connected
from tests.fake_redis import fake_pool


class TestOnFakeredis(ReaderContract):
    @pytest.fixture
    def pool(self) -> Any:
        return fake_pool()


@pytest.mark.processes
class TestOnTheServerOfTheEnvironment(RealServerReaderContract):
    @pytest.fixture
    def pool(self, embedded_server: EmbeddedRedis) -> Iterator[redis.ConnectionPool]:
        yield from connected(embedded_server)


@pytest.mark.processes
@pytest.mark.needs("redis-server")
class TestOnTheServerOnThePath(RealServerReaderContract):
    @pytest.fixture
    def pool(self, path_server: EmbeddedRedis) -> Iterator[redis.ConnectionPool]:
        yield from connected(path_server)


def test_what_to_keep_is_entries_an_age_or_a_size() -> None:
    assert Keep.parse("100000") == Keep(entries=100_000)
    assert Keep.parse("7d") == Keep(age=timedelta(days=7))
    assert Keep.parse("12h") == Keep(age=timedelta(hours=12))
    assert Keep.parse("512MB") == Keep(stream_bytes=512 * 1024**2)
    for wrong in ("", "-1", "7 d", "d", "1.5gb", "all", "\u0667", "0d", "9" * 20):
        with pytest.raises(ValueError, match="neither entries"):
            Keep.parse(wrong)
