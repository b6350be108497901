"""Who asks too often is told so, and when to come again; others are answered as before."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import redis
from werkzeug.test import TestResponse

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from shared.permissions import Role
from shared.settings import InvalidSettings, Settings
from tests.fake_redis import fake_pool
from tests.make_run import wait_until
from tests.pair import Client, Pair, running_pair
from tests.services.accounts_server import accounts_server

LIMITS = "reads=3 writes=3 batches=3 sign-in=3 projection=3 events=3"
LOGIN = {"username": "user1", "password": "wrong"}


@contextmanager
def limited_pair(log: EventLog, folder: Path) -> Iterator[Pair]:
    with running_pair(log, folder, variables={"REQUEST_LIMITS": LIMITS}) as pair:
        pair.make_demo()
        pair.wait_until_applied()
        yield pair


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with limited_pair(fake_log, tmp_path) as pair:
        yield pair


def find_projection(client: Client) -> TestResponse:
    return client.post("/projection/rollback")


def log_in(client: Client) -> TestResponse:
    return client.post("/auth/login", json=LOGIN)


def list_accounts(client: Client) -> TestResponse:
    return client.get("/accounts")


def create_account(client: Client) -> TestResponse:
    return client.post("/accounts", json={"name": "three", "description": ""})


def ask_for_nothing(client: Client) -> TestResponse:
    return client.get("/no-such-path")


ASKED: list[Callable[[Client], TestResponse]] = [
    list_accounts,
    create_account,
    log_in,
    find_projection,
    ask_for_nothing,
]


@pytest.mark.parametrize("ask", ASKED)
def test_what_goes_beyond_the_limit_is_429_until_the_minute_ends(
    pair: Pair, ask: Callable[[Client], TestResponse]
) -> None:
    client = pair.accounts()
    allowed = [ask(client) for _ in range(3)]
    assert {answered.status_code for answered in allowed}.isdisjoint({429, 500, 503})
    assert [answered.headers["RateLimit-Remaining"] for answered in allowed] == ["2", "1", "0"]
    assert 30 < int(allowed[0].headers["RateLimit-Reset"]) <= 60
    refused = ask(client)
    assert (refused.status_code, refused.json["type"]) == (429, "/problems/too-many-requests")  # type: ignore[index]  # JSON
    assert refused.headers["RateLimit-Limit"] == "3"
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]


def test_what_is_refused_is_not_done(pair: Pair) -> None:
    before = pair.log.state().sequence
    for _ in range(5):
        create_account(pair.accounts())
    assert pair.log.state().sequence == before + 3


def test_each_user_and_each_address_has_a_limit_of_its_own(pair: Pair) -> None:
    for _ in range(4):
        list_accounts(pair.accounts())
    assert list_accounts(pair.accounts()).status_code == 429
    assert list_accounts(pair.accounts("user2", Role.MEMBER)).status_code == 200
    nobody = pair.accounts(None)
    for _ in range(4):
        nobody.get("/accounts", environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert nobody.get("/accounts", environ_overrides={"REMOTE_ADDR": "192.0.2.1"}).status_code == 429
    assert nobody.get("/accounts", environ_overrides={"REMOTE_ADDR": "192.0.2.2"}).status_code == 401


def test_a_bad_token_counts_for_its_address_and_ipv6_for_its_network(pair: Pair) -> None:
    bad = Client(pair.accounts_app, "garbage")
    for host in range(1, 4):
        bad.get("/accounts", environ_overrides={"REMOTE_ADDR": f"2001:db8::{host}"})
    same = bad.get("/accounts", environ_overrides={"REMOTE_ADDR": "2001:db8::ffff"})
    other = bad.get("/accounts", environ_overrides={"REMOTE_ADDR": "2001:db8:0:1::1"})
    assert (same.status_code, other.status_code) == (429, 401)


def test_classes_are_counted_apart_and_health_and_pages_not_at_all(pair: Pair) -> None:
    client = pair.accounts()
    for _ in range(4):
        list_accounts(client)
    assert create_account(client).status_code == 201
    for path in ("/health/live", "/health/ready", "/status", "/problems/not-found", "/static/page.css"):
        answers = [client.get(path) for _ in range(5)]
        assert 429 not in {answered.status_code for answered in answers}, path
        assert not any("RateLimit-Limit" in answered.headers for answered in answers), path


def test_ipv4_addresses_are_counted_apart_however_they_are_written(pair: Pair) -> None:
    """A server that listens on :: is told ::ffff:192.0.2.1, as it were one network."""
    nobody = pair.accounts(None)

    def ask(address: str) -> int:
        return nobody.get("/accounts", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [ask(f"::ffff:192.0.2.{host}") for host in range(1, 6)] == [401] * 5
    assert [ask("192.0.2.1") for _ in range(3)] == [401, 401, 429]


@pytest.mark.parametrize("ask", ASKED)
def test_requests_are_counted_by_all_processes_together(
    ask: Callable[[Client], TestResponse], fake_log: EventLog, tmp_path: Path
) -> None:
    """Two pairs on one log, as two workers are."""
    with limited_pair(fake_log, tmp_path) as one:
        other = Pair(fake_log, tmp_path, variables={"REQUEST_LIMITS": LIMITS})
        assert 429 not in {ask(pair.accounts()).status_code for pair in (one, other, one)}
        assert ask(other.accounts()).status_code == 429


@pytest.mark.processes
def test_workers_of_a_server_answer_as_many_as_the_limit_says(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path
) -> None:
    with limited_pair(real_log, tmp_path) as pair:
        limits = {"REQUEST_LIMITS": "reads=10"}
        with accounts_server(pair, redis_server, tmp_path / "accounts.log", limits) as server:
            url = f"http://127.0.0.1:{server.port}/accounts/1"
            headers = {"Authorization": f"Bearer {pair.token()}"}
            # Each on a connection of its own, which any worker may take.
            asked = Counter(httpx.get(url, headers=headers).status_code for _ in range(30))
    assert asked == {200: 10, 429: 20}


@pytest.mark.processes
def test_keys_of_redis_name_nobody(redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path) -> None:
    with limited_pair(real_log, tmp_path) as pair, redis.Redis.from_url(redis_server.url) as client:
        log_in(pair.accounts(None))
        find_projection(pair.accounts())
        counted = b" ".join(client.scan_iter("limits:*"))
        assert counted.count(b"limits:") == 2
        assert not [name for name in (b"127.0.0.1", b"user1", b"from", b"accounts") if name in counted]


@pytest.mark.processes
def test_while_redis_is_away_each_process_counts_by_itself(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path
) -> None:
    with limited_pair(real_log, tmp_path) as pair:
        redis_server.stop()
        statuses = [log_in(pair.accounts(None)).status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        redis_server.start()
        wait_until(
            lambda: is_counted_in_redis(pair, redis_server), lambda: "nothing is counted in Redis again"
        )


def is_counted_in_redis(pair: Pair, server: EmbeddedRedis) -> bool:
    """Whether a request that is sent now is."""
    list_accounts(pair.accounts())
    with redis.Redis.from_url(server.url) as client:
        return any(b"reads" in key for key in client.keys("limits:*"))


@pytest.mark.processes
def test_all_who_ask_while_redis_stands_still_are_counted(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path
) -> None:
    with limited_pair(real_log, tmp_path) as pair, ThreadPoolExecutor(4) as asking:
        process = psutil.Process(redis_server.pid)
        process.suspend()
        try:
            statuses = list(asking.map(lambda _: create_account(pair.accounts(None)).status_code, range(4)))
        finally:
            process.resume()
    assert sorted(statuses) == [401, 401, 401, 429]


def test_no_line_names_who_asked(
    fake_log: EventLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with limited_pair(fake_log, tmp_path) as pair:
        for who in ("user2", None):
            statuses = [list_accounts(pair.accounts(who, Role.MEMBER)).status_code for _ in range(4)]
            assert statuses[-1] == 429
    told = " ".join(caplog.messages)
    assert "user2" not in told
    assert "127.0.0.1" not in told
    assert "flask-limiter" not in {record.name for record in caplog.records}, "a line for each 429"


def test_a_limit_of_none_is_none(tmp_path: Path) -> None:
    log = EventLog(fake_pool(), make_codec())
    log.create()
    with running_pair(log, tmp_path, variables={"REQUEST_LIMITS": "reads=0"}) as pair:
        answered = list_accounts(pair.accounts())
        assert "RateLimit-Limit" not in answered.headers


@pytest.mark.parametrize("text", ["reads", "reads=", "reads=-1", "reading=1", "reads=1,writes=2"])
def test_limits_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"REQUEST_LIMITS has .* 0 for no limit"):
        Settings.from_environment({"REQUEST_LIMITS": text})
