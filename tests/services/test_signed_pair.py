"""Both services with EVENT_KEYS_FILE: what they publish counts, what anybody else adds to Redis is parked by both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

import accounts.cli
from eventlog import EventLog
from eventlog.key_file import KeyFile, new_key, write_keys
from eventlog.signing import Keys
from shared.events import make_codec
from shared.settings import InvalidSettings, Settings
from tests.fake_redis import fake_redis
from tests.pair import Pair, running_pair


@pytest.fixture
def server() -> redis.Redis:
    return fake_redis()


@pytest.fixture
def pair(server: redis.Redis, tmp_path: Path) -> Iterator[Pair]:
    path = tmp_path / "keys.json"
    write_keys(path, Keys([new_key()], {}))
    log = EventLog(server.connection_pool, make_codec(), keys=KeyFile(path))
    log.create()
    with running_pair(log, tmp_path / "data") as pair:
        pair.make_demo()
        yield pair


def total(pair: Pair) -> int:
    pair.wait_until_applied()
    found: int = pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"]
    return found


def test_invoices_count_and_what_is_added_to_redis_is_parked_by_both(pair: Pair, server: redis.Redis) -> None:
    customers = pair.customers()
    customer = customers.post("/customers", json={"name": "Ada", "account_id": "1"}).get_json()["id"]
    invoice = {"customer_id": customer, "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
    answers = [customers.post("/invoices", json=invoice) for _ in range(2)]
    ids = [answer.get_json()["id"] for answer in answers]
    batch = customers.post("/invoices/batch", json=[invoice, invoice]).get_json()
    assert len({*ids, *(each["id"] for each in batch)}) == 4
    assert total(pair) == 48000
    again = customers.post(
        "/invoices", json=invoice, headers={"Idempotency-Key": answers[0].headers["Idempotency-Key"]}
    )
    assert (again.get_json(), again.headers["Idempotency-Replayed"]) == (answers[0].get_json(), "true")
    entries: Any = server.xrange(pair.log.stream)
    added: list[tuple[str, Any]] = [
        ("copy", entries[-1][1]),
        (
            "foreign",
            {b"EventTypeName": entries[-1][1][b"EventTypeName"], b"Payload": entries[-1][1][b"Payload"]},
        ),
        ("changed", {**entries[-1][1], b"Payload": entries[-1][1][b"Payload"].replace(b"12000", b"99000")}),
    ]
    for name, fields in added:
        assert server.xadd(pair.log.stream, fields), name
    assert customers.post("/invoices", json=invoice).status_code == 201
    assert total(pair) == 60000
    for client in (pair.accounts(), pair.customers()):
        parked = client.get("/projection/parked").get_json()
        reasons = [each["reason"] for each in parked]
        assert [reason.split(" (")[0].split(": ")[0] for reason in reasons] == [
            "it is a copy of an entry before it",
            "it is not signed",
            "its signature",
        ]


def test_writes_that_are_refused_for_want_of_keys_are_named(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "keys.json").rename(tmp_path / "away")
    refused = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"})
    writes = pair.customers().get("/health/ready").get_json()["checks"]["writes"]
    assert (refused.status_code, writes["status"]) == (503, "degraded")
    assert "EVENT_KEYS_FILE" in writes["mend"]


@pytest.mark.parametrize("content", [None, "no keys"])
def test_a_missing_or_wrong_file_of_keys_is_told_at_start_in_one_line(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "keys.json"
    if content:
        path.write_text(content)
    variables = {"EVENT_KEYS_FILE": str(path), "DATA_DIR": str(tmp_path)}
    with pytest.raises(InvalidSettings, match="EVENT_KEYS_FILE"):
        Settings.from_environment(variables)
    for command in ("serve", "tail", "rebuild"):
        done = CliRunner().invoke(accounts.cli.main, [command], env=variables)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert str(path) in done.stderr
