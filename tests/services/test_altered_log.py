"""An applied entry is changed in Redis under its own id: what was acknowledged stays served, and is written back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog import START, EventLog
from eventlog.archiving import ARCHIVE_NAME
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.key_file import new_key, write_keys
from eventlog.log import Moment
from eventlog.signing import Keys
from shared.events import make_codec
from tests.eventlog.log_contract import STREAM
from tests.eventlog.test_archive import archive_all, raw_entries
from tests.pair import Pair, running_pair
from tests.services.facts import a_customer_created, an_account_created, an_invoice_created
from tests.services.operator import Operator
from tests.services.test_rebuild_commands import edit_by_hand

pytestmark = pytest.mark.processes

ALTERED = 4  # an invoice over 200 cents
TOTAL_CENTS = 600


@pytest.fixture(params=["signed", "unsigned"])
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    if request.param == "unsigned":
        return None
    path = tmp_path / "event-keys.json"
    write_keys(path, Keys([new_key()], {}))
    return path


@pytest.fixture
def pair(redis_server: EmbeddedRedis, tmp_path: Path, keys: Path | None) -> Iterator[Pair]:
    """Three invoices over 100, 200 and 300 cents, applied and archived."""
    with closing(EventLog.connect(redis_server.url, make_codec(), keys=keys)) as log:
        log_id = log.create()
        with running_pair(log, tmp_path / "data", redis_url=redis_server.url) as pair:
            invoices = [an_invoice_created(number, 7, 100 * number) for number in (1, 2, 3)]
            log.publish(
                [an_account_created(1), a_customer_created(7, 1), *invoices],
                decided_at=Moment(log_id, START),
            )
            pair.wait_until_applied()
            archive_all(log, pair.folder / ARCHIVE_NAME)
            yield pair


@pytest.fixture
def typing(pair: Pair, redis_server: EmbeddedRedis, keys: Path | None) -> Operator:
    operator = Operator(pair, redis_server.url)
    operator.environment["EVENT_KEYS_FILE"] = str(keys or "")
    return operator


def alter(client: redis.Redis) -> None:
    entries = raw_entries(client)
    client.rename(STREAM, "renamed")
    for number, entry in enumerate(entries, 1):
        fields = (
            [each.replace(b":200", b":900") for each in entry.fields] if number == ALTERED else entry.fields
        )
        client.execute_command("XADD", STREAM, entry.id, *fields)  # type: ignore[no-untyped-call]  # redis-py left it so


def total_cents(pair: Pair) -> Any:
    return pair.accounts().get("/accounts/1").get_json()["total_revenue_cents"]


def test_repair_drops_nothing_that_the_archive_has_and_names_what_writes_it_back(
    pair: Pair, typing: Operator, client: redis.Redis
) -> None:
    entries = raw_entries(client)
    position = entries[ALTERED - 1].position
    for tail in (pair.accounts_tail, pair.customers_tail):
        tail.stop()
    alter(client)
    for tail in (pair.accounts_tail, pair.customers_tail):
        tail.start()
    told = typing.ask("accounts verify", exits=3)
    assert any(f"entry number {ALTERED}, at {position}, is not in Redis" in each for each in told["wrong"])
    refused = typing.is_refused("accounts verify --repair")
    assert f"entry number {ALTERED}, at {position}, is not in Redis" in refused
    assert "`eventlog reseed --replace`" in refused
    assert typing.generations() == {1: "served"}
    assert total_cents(pair) == TOTAL_CENTS
    typing.look_after_log("reseed", "--replace")
    assert raw_entries(client) == entries
    typing.run("accounts verify")
    assert total_cents(pair) == TOTAL_CENTS


def test_file_is_repaired_where_the_archive_has_what_the_log_has(pair: Pair, typing: Operator) -> None:
    edit_by_hand(pair)
    assert typing.ask("accounts verify --repair")["repaired"] is True
    assert total_cents(pair) == TOTAL_CENTS


def test_what_was_built_of_the_altered_log_is_repaired_once_it_is_back(
    pair: Pair, typing: Operator, client: redis.Redis
) -> None:
    pair.accounts_tail.stop()
    alter(client)
    typing.run("accounts rebuild --switch")
    pair.accounts_tail.start()
    assert total_cents(pair) != TOTAL_CENTS
    typing.look_after_log("reseed", "--replace")
    typing.run("accounts verify", exits=3)
    assert typing.ask("accounts verify --repair")["repaired"] is True
    assert total_cents(pair) == TOTAL_CENTS
