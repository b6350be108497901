"""Redis is away, full or too weak: writes are refused, reads go on, and all is well again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from werkzeug.test import TestResponse

from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from shared.permissions import Role
from tests.make_run import wait_until
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

ADA = {"name": "Ada", "account_id": "1"}


@pytest.fixture
def pair(real_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        pair.wait_until_applied()
        pair.customers().post("/customers", json=ADA)
        pair.wait_until_applied()
        yield pair


def require_not_written(answer: TestResponse) -> None:
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), answer.get_data(as_text=True)
    assert answer.get_json(force=True)["type"] == "/problems/not-written"
    assert answer.headers["Idempotency-Key"]


def writes(pair: Pair) -> list[TestResponse]:
    """One of each kind; the last is one that would be refused, if that could be known."""
    customers, accounts = pair.customers(), pair.accounts()
    invoice = {"customer_id": "1", "purchase_date": "2026-01-31", "purchase_price_cents": 1}
    return [
        customers.post("/customers", json=ADA),
        customers.post("/invoices", json=invoice),
        customers.delete("/customers/1"),
        accounts.post("/accounts", json={"name": "three"}),
        accounts.delete("/accounts/2"),
        customers.delete("/customers/99"),
    ]


def test_writes_are_503_and_reads_go_on_until_redis_is_back(pair: Pair, redis_server: EmbeddedRedis) -> None:
    before = pair.accounts().get("/accounts").get_json()
    redis_server.kill()
    for answer in writes(pair):
        require_not_written(answer)
    stale = pair.accounts().get("/accounts")
    assert stale.get_json() == before
    wait_until(
        lambda: pair.accounts().get("/accounts").headers["Projection-State"] == "retrying",
        lambda: pair.accounts().get("/health/ready").get_data(as_text=True),
    )
    ready = pair.accounts().get("/health/ready")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "degraded")
    assert ready.get_json()["checks"]["log"]["mend"] == "start Redis; check REDIS_URL"

    redis_server.start()
    assert pair.customers().post("/customers", json=ADA).status_code == 201
    pair.wait_until_applied()
    wait_until(
        lambda: pair.accounts().get("/health/ready").get_json()["status"] == "ok",
        lambda: pair.accounts().get("/health/ready").get_data(as_text=True),
    )


def test_a_full_redis_refuses_writes_and_takes_them_again(pair: Pair, redis_server: EmbeddedRedis) -> None:
    with redis.Redis.from_url(redis_server.url) as server:
        server.config_set("maxmemory", "1")
        before = server.xlen("event-stream")
        require_not_written(pair.customers().post("/customers", json=ADA))
        assert server.xlen("event-stream") == before
        pair.accounts().get_current("/accounts")
        checks = pair.accounts().get("/health/ready").get_json()["checks"]
        degraded = {name for name, check in checks.items() if check["status"] != "ok"}
        assert degraded == {"writes"}
        assert "maxmemory" in checks["writes"]["mend"]
        server.config_set("maxmemory", "0")
    assert pair.customers().post("/customers", json=ADA).status_code == 201


def test_a_redis_that_could_lose_events_gets_none(
    real_log: EventLog, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    with running_pair(real_log, tmp_path) as pair:
        with redis.Redis.from_url(redis_server.url) as server:
            server.config_set("appendfsync", "everysec")
            pair.users.add("user1", "password1", Role.ADMIN)
            refused = pair.accounts().post("/accounts", json={"name": "three"})
            require_not_written(refused)
            assert pair.accounts().get("/accounts").status_code == 200
            durability = pair.accounts().get("/health/ready").get_json()["checks"]["durability"]
            assert durability["status"] == "degraded"
            assert "appendfsync is 'everysec'" in durability["detail"]
            assert "write `appendfsync always` into redis.conf" in durability["mend"]
            server.config_set("appendfsync", "always")
        assert pair.accounts().post("/accounts", json={"name": "three"}).status_code == 201
