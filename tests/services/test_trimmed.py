"""What was trimmed from Redis is explained, and shown, all the same."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from eventlog.cli import main
from eventlog.embedded_redis import EmbeddedRedis
from tests.make_run import wait_until
from tests.pair import Pair
from tests.services.operator import Operator

pytestmark = pytest.mark.processes


def eventlog(operator: Operator, *words: str) -> Result:
    result = CliRunner().invoke(main, words, env=operator.environment)
    assert result.exit_code == 0, result.output
    return result


def test_explain_names_the_command_that_shows_what_was_trimmed(served: Pair, operator: Operator) -> None:
    _, _, _, *_, xrange = operator.run("accounts explain 1").stdout.splitlines()
    assert xrange.startswith("one of them: redis-cli ")
    eventlog(operator, "archive", "--once")
    wait_until(lambda: "; 2 left" in eventlog(operator, "trim", "--keep", "2").stdout, lambda: "readers")

    *_, xrange, trimmed = operator.run("accounts explain 1").stdout.splitlines()
    explained = operator.ask("accounts explain 1")
    first, *_, last = [entry["position"] for entry in explained["entries"]]
    assert xrange.endswith(f"XRANGE event-stream {last} {last}")
    assert trimmed.startswith(f"trimmed from Redis, before {explained['trimmed_to']}, so in the archive: ")
    assert explained["trimmed_to"] == last
    command = trimmed.partition(": eventlog ")[2].split()
    assert command == ["show", first]
    entry, where = eventlog(operator, *command).stdout.splitlines()
    assert f"  {first}  " in entry
    assert where.startswith("in the archive, ")


def test_writes_go_on_where_the_log_forgot_what_they_touched(served: Pair, operator: Operator) -> None:
    client = served.customers()
    customers = [
        client.post("/customers", json={"name": "Eve", "account_id": "1"}).get_json()["id"] for _ in range(3)
    ]
    assert client.delete(f"/customers/{customers[0]}").status_code == 204
    served.wait_until_applied()

    def forgotten() -> int:
        eventlog(operator, "archive", "--once")
        return int(json.loads(eventlog(operator, "trim", "--keep", "1", "--json").stdout)["subjects"])

    wait_until(lambda: forgotten() > 0, lambda: eventlog(operator, "readers").stdout)
    assert client.delete(f"/customers/{customers[0]}").status_code == 404
    assert client.delete(f"/customers/{customers[1]}").status_code == 204
    invoice = {"purchase_date": "2026-01-31", "purchase_price_cents": 100}
    gone, there = (
        client.post("/invoices", json={**invoice, "customer_id": each}).status_code for each in customers[1:]
    )
    assert (gone, there) == (404, 201)


def test_explain_needs_no_redis(served: Pair, operator: Operator, redis_server: EmbeddedRedis) -> None:
    before = operator.run("accounts explain 1").stdout
    redis_server.stop()
    assert operator.run("accounts explain 1").stdout == before
