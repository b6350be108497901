"""`replay`, `what-if` and `as-of`: the log applied once more, into a scratch file; nothing that is served changes."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from eventlog import Position
from eventlog.embedded_redis import EmbeddedRedis
from tests.pair import Pair
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT = {"log_id", "position", "sequence"}
COMPARED = {"same", "rows", "tables"}


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a command did, and however it ended, its scratch files are gone."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    yield
    assert not list(scratch.iterdir())


def position_of(pair: Pair, number: int) -> Position:
    return pair.log.read(count=number)[-1].position


def test_replay_from_a_position_applies_what_is_behind_it(served: Pair, operator: Operator) -> None:
    told = operator.ask("accounts replay --from", str(position_of(served, 5)))
    assert told.keys() == {"from", "to", "applied", "seconds"} | COMPARED
    assert (told["from"]["sequence"], told["to"]["sequence"], told["applied"]) == (5, 7, 2)
    assert told["from"].keys() == told["to"].keys() == MOMENT
    changed = {each["table"]: (each["added"], each["changed"]) for each in told["tables"]}
    assert changed == {
        "accounts": (0, 1),
        "customers": (0, 1),
        "ledger": (1, 0),
        "invoices": (1, 0),
        "parked": (1, 0),
    }
    assert operator.generations() == {1: "served"}


def test_replay_from_the_start_kept_as_a_file_is_what_is_served(
    served: Pair, operator: Operator, tmp_path: Path
) -> None:
    kept, served_now = tmp_path / "kept.db", tmp_path / "served.db"
    assert operator.ask("accounts replay --from start --into", kept)["applied"] == 7
    operator.run("accounts backup", served_now)
    for table in ("accounts", "customers", "invoices", "checkpoint"):
        assert rows_of(kept, table) == rows_of(served_now, table)

    assert f"{kept} is there already" in operator.is_refused("accounts replay --into", kept)
    nowhere = tmp_path / "nowhere" / "kept.db"
    assert "cannot be written" in operator.is_refused("accounts replay --into", nowhere)
    said = operator.run("accounts replay --from now --into", tmp_path / "again.db").stdout
    assert said.splitlines()[-2:] == ["no row of 10 is different", f"kept as {tmp_path / 'again.db'}"]


def rows_of(file: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return sorted(connection.execute(f"SELECT * FROM {table}"))


def test_what_if_leaves_entries_out_and_the_log_alone(served: Pair, operator: Operator) -> None:
    entries = served.log.read()
    second, third = position_of(served, 5), position_of(served, 6)
    told = operator.ask("accounts what-if", "--without", str(second), "--without", str(third))
    assert told.keys() == {"left_out"} | MOMENT | COMPARED
    assert (told["left_out"], told["sequence"]) == ([str(second), str(third)], 7)
    (customers,) = [each for each in told["tables"] if each["table"] == "customers"]
    assert customers["first"][0]["before"]["total_revenue_cents"] == 600
    assert customers["first"][0]["after"]["total_revenue_cents"] == 100

    said = operator.run("accounts what-if", "--without", str(second), "--as-of", str(second)).stdout
    assert "customers: 0 rows added, 0 removed, 1 changed\n  7: total_revenue_cents 300 -> 100\n" in said
    customer = operator.ask("customers what-if", "--without", str(position_of(served, 3)))
    parked = next(each for each in customer["tables"] if each["table"] == "parked")
    assert parked["added"] == 3, "invoices of a customer that never was"
    assert served.log.read() == entries
    assert operator.ask("accounts verify")["same"] is True


def test_what_if_of_an_entry_named_twice_leaves_it_out_once(served: Pair, operator: Operator) -> None:
    second = str(position_of(served, 5))
    told = operator.ask("accounts what-if", "--without", second, "--without", second)
    assert told["left_out"] == [second]


def test_what_if_of_a_trimmed_entry_without_the_archive_says_what_to_put_back(
    served: Pair, operator: Operator
) -> None:
    third = str(position_of(served, 3))
    served.accounts_tail.stop()  # which makes known how far it was
    served.customers_tail.stop()
    operator.look_after_log("archive", "--once")
    operator.look_after_log("trim", "--keep", "1")
    assert operator.ask("accounts what-if", "--without", third)["left_out"] == [third]
    shutil.rmtree(served.folder / "archive")
    refused = operator.is_refused("accounts what-if --without", third)
    assert "was trimmed, and there is no archive" in refused
    assert "put the archive back" in refused


def test_what_if_of_an_entry_that_is_not_there_is_refused(operator: Operator) -> None:
    assert "the log has no entry 5-0" in operator.is_refused("accounts what-if --without", "5-0")
    assert "is not a position" in operator.run("accounts what-if --without", "five", exits=2).stderr
    operator.run("accounts what-if", exits=2)


@pytest.mark.parametrize("command", ["as-of start", "replay", "what-if --without 5-0"])
def test_redis_away_is_one_line(operator: Operator, redis_server: EmbeddedRedis, command: str) -> None:
    redis_server.stop()
    assert "redis" in operator.is_refused(f"accounts {command}").lower()


@pytest.mark.parametrize("command", ["as-of now", "replay", "what-if --without 5-0", "verify", "rebuild"])
def test_key_of_a_wrong_type_is_one_line_with_what_to_do(
    operator: Operator, redis_server: EmbeddedRedis, command: str
) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.delete("event-stream")
        client.set("event-stream", "text")
    assert "Set EVENT_STREAM to another name" in operator.is_refused(f"accounts {command}")


@pytest.mark.parametrize("moment", ["yesterday", "2026-10", "2026-10-01 00:00", "5", "5-x", ""])
def test_text_that_is_no_moment_is_wrong_usage(operator: Operator, moment: str) -> None:
    refused = operator.run("accounts as-of", moment, exits=2)
    assert refused.stdout == ""
    assert "is no moment" in refused.stderr


def test_replay_needs_no_projection(operator: Operator, tmp_path: Path) -> None:
    before = operator.run("accounts as-of now").stdout
    operator.environment["DATA_DIR"] = str(tmp_path / "nothing here")
    assert operator.run("accounts as-of now").stdout == before
    assert not (tmp_path / "nothing here").exists()
