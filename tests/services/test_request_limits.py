"""Who asks too often is told so, and when to come again; others are answered as before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.events import make_codec
from shared.permissions import Role
from shared.settings import InvalidSettings, Settings
from tests.fake_redis import fake_pool
from tests.pair import Client, Pair, running_pair

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
        wait_for_a_whole_minute()
        yield pair


def wait_for_a_whole_minute() -> None:
    """Counts begin anew with the minute: away from its end, or a test would span two."""
    while time.time() % 60 > 50:
        time.sleep(0.2)


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


def test_sign_ins_are_counted_by_all_processes_together(fake_log: EventLog, tmp_path: Path) -> None:
    """Two pairs on one log, as two workers are."""
    with limited_pair(fake_log, tmp_path) as one:
        other = Pair(fake_log, tmp_path, variables={"REQUEST_LIMITS": LIMITS})
        wait_for_a_whole_minute()
        for pair in (one, other, one):
            assert log_in(pair.accounts(None)).status_code == 401
        assert log_in(other.accounts(None)).status_code == 429


@pytest.mark.processes
def test_while_redis_is_away_each_process_counts_by_itself(
    redis_server: EmbeddedRedis, real_log: EventLog, tmp_path: Path
) -> None:
    with limited_pair(real_log, tmp_path) as pair:
        redis_server.stop()
        wait_for_a_whole_minute()
        statuses = [log_in(pair.accounts(None)).status_code for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        redis_server.start()


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
