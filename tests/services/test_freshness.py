"""A read is called fresh only if the log bears it out at that moment, whatever its tail said last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

import shared.freshness
from accounts.revenue import revenue
from customers.directory import directory
from eventlog import EventLog, ProjectionReader
from eventlog.embedded_redis import HOST, EmbeddedRedis
from eventlog.generations import home_of
from eventlog.tail_status import TailState, TailStatus, TailStatusFile
from shared.events import make_codec
from shared.freshness import Freshness
from tests.make_run import NEVER_S, wait_until
from tests.pair import Pair, running_pair
from tests.proxy import Fate, Link, Proxy, Way

pytestmark = pytest.mark.processes

STREAM = "event-stream"


@pytest.fixture
def pair(
    request: pytest.FixtureRequest, real_log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    """Both tails said `following`, and will notice nothing any more. A parameter says how long reads wait for Redis."""
    monkeypatch.setattr(shared.freshness, "_PATIENCE_S", getattr(request, "param", NEVER_S))
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        pair.wait_until_applied()  # or the decision below may be made twice, and take the second id
        posted = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
        assert posted.get_json() == {"id": "1"}
        pair.wait_until_applied()
        for tail, home in (
            (pair.accounts_tail, home_of(pair.revenue_folder, revenue)),
            (pair.customers_tail, home_of(pair.directory_folder, directory)),
        ):
            tail.stop()
            TailStatusFile(home).report(TailStatus(TailState.FOLLOWING))
        yield pair


def states(pair: Pair) -> set[str]:
    """What answers of every kind say: found, not modified, not there."""
    accounts, customers = pair.accounts(), pair.customers()
    first = accounts.get("/accounts")
    answers = [
        first,
        accounts.get("/accounts", headers={"If-None-Match": first.headers["ETag"]}),
        accounts.get("/accounts/99"),
        customers.get("/customers"),
        customers.get("/customers/1"),
    ]
    assert [answer.status_code for answer in answers] == [200, 304, 404, 200, 200]
    return {answer.headers["Projection-State"] for answer in answers}


def flush(client: redis.Redis) -> None:
    client.flushall()


def rename(client: redis.Redis) -> None:
    client.rename(STREAM, "elsewhere")


def delete_the_last(client: redis.Redis) -> None:
    newest: Any = client.xrevrange(STREAM, count=1)
    client.xdel(STREAM, newest[0][0])


def write_anew_further_on(client: redis.Redis) -> None:
    client.delete(STREAM)
    for _ in range(9):
        client.xadd(STREAM, {"EventTypeName": "Foreign", "Payload": "{}"})


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (flush, "halted; verdict=replaced"),
        (rename, "halted; verdict=replaced"),
        (delete_the_last, "halted; verdict=rewound"),
        (write_anew_further_on, "halted; verdict=rewound"),
    ],
)
def test_the_next_read_names_what_happened_to_the_log(
    damage: Callable[[redis.Redis], None], state: str, pair: Pair, redis_server: EmbeddedRedis
) -> None:
    assert states(pair) == {"following"}
    with redis.Redis.from_url(redis_server.url) as client:
        damage(client)
        assert states(pair) == {state}
        tail = pair.accounts().get("/health/ready").get_json()["checks"]["tail"]
        assert tail["status"] == "degraded"
        assert "eventlog init --adopt" in tail["mend"]


class _FlushedBehindAReply(Proxy):
    """Redis, which is emptied when it has answered the next question; that answer arrives later."""

    latency_s = 0.15

    def __init__(self, server: EmbeddedRedis) -> None:
        super().__init__(server.port)
        self._url = server.url
        self.armed = False
        self.flushed = threading.Event()

    def fate(self, chunk: bytes, way: Way, link: Link) -> Fate:
        if not (self.armed and way is Way.REPLY):
            return Fate.PASSED
        self.armed = False
        with redis.Redis.from_url(self._url) as client:
            client.flushall()
        self.flushed.set()
        return Fate.LATE


def test_what_was_asked_before_a_read_came_says_nothing_of_it(
    pair: Pair, redis_server: EmbeddedRedis
) -> None:
    with _FlushedBehindAReply(redis_server) as proxy:
        log = EventLog.connect(f"redis://{HOST}:{proxy.port}", make_codec())
        reader = ProjectionReader(pair.revenue_folder, revenue)
        with reader.look() as look:
            checkpoint = look.checkpoint
        freshness = Freshness(reader.home, log)
        assert freshness.ask(checkpoint)().state is TailState.FOLLOWING
        proxy.armed = True
        find_status_before = freshness.ask(checkpoint)
        assert proxy.flushed.wait(NEVER_S)
        find_status_after = freshness.ask(checkpoint)
        assert find_status_after().state is TailState.HALTED
        assert find_status_before().state is TailState.FOLLOWING, "as it was when that was asked"


def test_entries_that_are_not_applied_yet_do_not_make_a_read_stale(
    pair: Pair, redis_server: EmbeddedRedis
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd(STREAM, {"EventTypeName": "Foreign", "Payload": "{}"})
    assert states(pair) == {"following"}


@pytest.mark.parametrize("pair", [0.25], indirect=True)
def test_with_a_redis_that_hangs_nothing_is_called_fresh(pair: Pair, redis_server: EmbeddedRedis) -> None:
    hanging = psutil.Process(redis_server.pid)
    hanging.suspend()
    try:
        assert states(pair) == {"retrying"}
    finally:
        hanging.resume()
    wait_until(lambda: states(pair) == {"following"}, lambda: str(states(pair)))


def test_without_redis_nothing_is_called_fresh(pair: Pair, redis_server: EmbeddedRedis) -> None:
    redis_server.kill()
    assert states(pair) == {"retrying"}
    redis_server.start()
    assert states(pair) == {"following"}
    redis_server.kill()
    redis_server.start()
    assert states(pair) == {"following"}  # though what was connected before is not any more
