"""`backup` and `restore`: one file with rows and checkpoint, taken while serving; restored, it tails on from there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from accounts.revenue import revenue
from eventlog import EventLog
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import Generations
from shared.events import make_codec
from tests.pair import Pair
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

MOMENT = {"log_id", "position", "sequence"}


def add_customer(pair: Pair) -> None:
    answer = pair.customers("mel").post("/customers", json={"name": "Eve", "account_id": "1"})
    assert answer.status_code == 201
    pair.wait_until_applied()


def shown(pair: Pair) -> object:
    pair.wait_until_applied()
    return pair.accounts().get("/accounts").get_json()


@pytest.mark.parametrize("tail_runs", [True, False])
def test_restored_file_goes_on_to_now(
    served: Pair, operator: Operator, tmp_path: Path, tail_runs: bool
) -> None:
    file = tmp_path / "revenue backup.db"
    told = operator.ask("accounts backup", file)
    assert told == {
        "file": str(file),
        "bytes": file.stat().st_size,
        "log_id": served.log.state().log_id,
        "position": str(served.log.state().end),
        "sequence": 7,
    }
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == [file.name]
    add_customer(served)
    before = shown(served)
    if not tail_runs:
        served.accounts_tail.stop()

    told = operator.ask("accounts restore", file)
    assert told.keys() == {"generation"} | MOMENT
    assert (told["generation"], told["sequence"]) == (2, 7)
    assert operator.generations() == {1: "previous", 2: "served"}
    assert served.accounts().get("/accounts").get_json() == before, "nothing goes back in time"
    if not tail_runs:
        served.accounts_tail.start()
    add_customer(served)
    assert operator.ask("accounts verify")["same"] is True


def test_restore_brings_back_a_directory_that_is_lost(
    served: Pair, operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "revenue.db"
    operator.run("accounts backup", file)
    before = shown(served)
    served.accounts_tail.stop()
    operator.environment["DATA_DIR"] = str(tmp_path / "new machine")
    operator.run("accounts restore", file)
    assert operator.generations() == {1: "served"}
    assert operator.ask("accounts verify")["same"] is True
    served.accounts_tail.start()
    assert shown(served) == before


def test_backup_is_never_written_over_a_file_and_names_a_missing_directory(
    served: Pair, operator: Operator, tmp_path: Path
) -> None:
    there = tmp_path / "there.db"
    there.write_text("precious")
    assert f"{there} is there already" in operator.is_refused("accounts backup", there)
    assert there.read_text() == "precious"
    nowhere = tmp_path / "nowhere" / "revenue.db"
    assert f"{nowhere} cannot be written" in operator.is_refused("accounts backup", nowhere)
    assert operator.run("accounts backup", tmp_path, exits=2).stdout == ""
    assert "is there already" in operator.is_refused("accounts backup", "")


def test_backup_whose_checkpoint_was_edited_is_refused_by_its_name(
    operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "revenue.db"
    operator.run("accounts backup", file)
    with closing(sqlite3.connect(file)) as backup, backup:
        backup.execute("UPDATE checkpoint SET sequence = sequence + 3")
    assert str(file) in operator.is_refused("accounts restore", file)
    assert operator.generations() == {1: "served"}


def test_backup_and_what_was_served_survive_redis_being_away(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    file = tmp_path / "revenue.db"
    redis_server.stop()
    operator.run("accounts backup", file)
    assert "redis" in operator.is_refused("accounts restore", file).lower()
    assert operator.generations() == {1: "served"}


def _absent(_: Pair, __: Operator, file: Path) -> None:
    del file


def _garbage(_: Pair, __: Operator, file: Path) -> None:
    file.write_bytes(b"\xff" * 5000)


def _empty(_: Pair, __: Operator, file: Path) -> None:
    file.touch()


def _of_the_other_service(_: Pair, operator: Operator, file: Path) -> None:
    operator.run("customers backup", file)


def _of_another_version(_: Pair, operator: Operator, file: Path) -> None:
    operator.run("accounts backup", file)
    with closing(sqlite3.connect(file)) as backup, backup:
        backup.execute("UPDATE checkpoint SET version = 0")


def _damaged(_: Pair, operator: Operator, file: Path) -> None:
    operator.run("accounts backup", file)
    content = bytearray(file.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    file.write_bytes(content)


def _of_another_log(served: Pair, operator: Operator, file: Path) -> None:
    operator.run("accounts backup", file)
    with closing(sqlite3.connect(file)) as backup, backup:
        backup.execute("UPDATE checkpoint SET log_id = ?", ("0" * 32,))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_absent, "is not there"),
        (_garbage, "is no backup of revenue"),
        (_empty, "is no backup of revenue"),
        (_of_the_other_service, "is no backup of revenue"),
        (_of_another_version, "is no backup of revenue"),
        (_damaged, "is no backup of revenue"),
        (_of_another_log, "does not fit this log"),
    ],
)
def test_file_that_does_not_fit_is_refused_and_named(
    served: Pair,
    operator: Operator,
    tmp_path: Path,
    make: Callable[[Pair, Operator, Path], None],
    said: str,
) -> None:
    file, before = tmp_path / "revenue.db", shown(served)
    make(served, operator, file)
    refused = operator.is_refused("accounts restore", file)
    assert said in refused
    assert str(file) in refused
    assert operator.generations() == {1: "served"}
    assert shown(served) == before


def test_backup_that_is_ahead_of_the_log_is_refused(served: Pair, operator: Operator, tmp_path: Path) -> None:
    """The log was set back to before the backup was taken: it lacks what the backup has."""
    file = tmp_path / "revenue.db"
    end = served.log.state().end
    operator.run("accounts backup", file)
    with EmbeddedRedis(tmp_path / "other redis") as other:
        log = EventLog.connect(other.url, make_codec())
        log.create()
        log.close()
        operator.environment["REDIS_URL"] = other.url
        assert "does not fit this log" in operator.is_refused("accounts restore", file)
    assert served.log.state().end == end
    assert Generations(served.revenue_folder, revenue).serving() is not None
