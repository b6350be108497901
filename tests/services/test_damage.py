"""A served file that is damaged in any way: named, answered with 503 where it cannot be read, and mended."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import ProjectionReader
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import Generations
from eventlog.tail_status import TailState, TailStatusFile
from tests.make_run import wait_until
from tests.pair import Pair
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

Damage = Callable[[Path], None]


def sql(*statements: str) -> Damage:
    def edit(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return edit


def overwrite(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(os.urandom(max(8192, file.stat().st_size)))


def cut(size: int) -> Damage:
    def truncate(file: Path) -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(file, size)

    return truncate


def make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def dangle(file: Path) -> None:
    link = file.parent.parent.parent / "serving"
    link.unlink()
    link.symlink_to("generations/77")


def checkpoint(assignment: str) -> Damage:
    return sql(f"UPDATE checkpoint SET {assignment}")


# What verify says of it, beside the rows that differ.
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no ledger": (sql("DROP TABLE ledger"), "table ledger is missing"),
    "no customers": (sql("DROP TABLE customers"), "table customers is missing"),
    "no checkpoint": (sql("DROP TABLE checkpoint"), "no such table: checkpoint"),
    "no parked": (sql("DROP TABLE parked"), "table parked is missing"),
    "no index": (sql("DROP INDEX customers_0"), "index customers_0 is missing"),
    "column lost": (
        sql("DROP INDEX accounts_0", "ALTER TABLE accounts DROP COLUMN description"),
        "table accounts is not as it was made",
    ),
    "column renamed": (
        sql("ALTER TABLE invoices RENAME COLUMN deleted TO gone"),
        "table invoices is not as it was made",
    ),
    "table without keys": (
        sql(
            "ALTER TABLE customers RENAME TO c",
            "CREATE TABLE customers AS SELECT * FROM c",
            "DROP TABLE c",
            "INSERT INTO customers DEFAULT VALUES",
        ),
        "table customers is not as it was made",
    ),
    "trigger": (
        sql("CREATE TRIGGER t AFTER INSERT ON ledger BEGIN DELETE FROM ledger; END"),
        "trigger t is none of its own",
    ),
    "extra row": (sql("INSERT INTO customers SELECT 50, account_id, 5, 0, 'X' FROM customers LIMIT 1"), ""),
    "more customers than there are": (sql("UPDATE accounts SET live_customers = 5 WHERE id = 2"), ""),
    "cut": (cut(6000), "projection.db"),
    "empty": (cut(0), "projection.db"),
    "random bytes": (overwrite, "projection.db"),
    "directory": (make_directory, "projection.db"),
    "missing": (Path.unlink, "projection.db"),
    "dangling": (dangle, "projection.db"),
    "no checkpoint row": (sql("DELETE FROM checkpoint"), "has no checkpoint"),
    "version": (checkpoint("version = 9"), "holds revenue version 9"),
    "log id": (checkpoint(f"log_id = '{'f' * 32}'"), "its checkpoint is not of this log"),
    "digest": (checkpoint("digest = 'x'"), "its checkpoint is not of this log"),
    "sequence": (checkpoint("sequence = sequence + 3"), "its checkpoint is not of this log"),
    "sequence behind": (checkpoint("sequence = 2"), "its checkpoint is not of this log"),
    "position": (checkpoint("position = '1-1'"), "its checkpoint is not of this log"),
    "position beyond": (checkpoint("position = '9999999999999-0'"), "its checkpoint is not of this log"),
    "position no text": (checkpoint("position = 'none'"), "its checkpoint is nonsense"),
    "position null": (checkpoint("position = NULL"), "its checkpoint is nonsense"),
    "passed over": (checkpoint("passed_over = '7'"), "its checkpoint is nonsense"),
    "passed over numbers": (checkpoint("passed_over = '[1]'"), "its checkpoint is nonsense"),
    "passed over another": (checkpoint("passed_over = '[\"Gone\"]'"), ""),
    "parked nowhere": (sql("UPDATE parked SET position = 'zzz'"), "zzz"),
    "generation gone": (lambda file: shutil.rmtree(file.parent), "projection.db"),
}


def damage_served(pair: Pair, damage: Damage) -> None:
    damage(Generations(pair.revenue_folder, revenue).served_file.resolve())


def require_no_500(pair: Pair) -> None:
    for path in ("/accounts", "/accounts/1", "/accounts/1/ledger", "/accounts/1/customers"):
        answered = pair.accounts().get(path)
        assert answered.status_code in {200, 503}, answered.get_data(as_text=True)
        if answered.status_code == 503:
            assert answered.get_json()["type"] == "/problems/not-readable"


def shown(pair: Pair) -> object:
    pair.wait_until_applied()
    return pair.accounts().get("/accounts").get_json()


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_found_by_the_doctor_and_repaired_where_no_tail_runs(
    served: Pair, operator: Operator, damage: Damage, said: str
) -> None:
    right = shown(served)
    operator.run("accounts parked acknowledge")
    served.accounts_tail.stop()
    damage_served(served, damage)
    require_no_500(served)

    told = operator.ask("accounts verify", exits=3)
    assert said in " ".join(told["wrong"])
    assert told["repaired"] is False
    if said:
        found = operator.ask("accounts doctor", exits=3)["findings"]
        names = {each["name"] for each in found if each["severity"] == "problem"}
        assert names & {"projection-unreadable", "log-rewound", "log-replaced"}, found

    assert operator.ask("accounts verify --repair")["repaired"] is True
    assert operator.ask("accounts verify")["wrong"] == []
    served.accounts_tail.start()
    assert shown(served) == right


# The tail of a file that went ends, and its supervisor starts another.
STAYS = {
    name: each
    for name, each in DAMAGES.items()
    if name not in {"directory", "missing", "dangling", "generation gone"}
}


@pytest.mark.parametrize("command", ["verify --repair", "rebuild --switch"])
@pytest.mark.parametrize("damage", [damage for damage, _ in STAYS.values()], ids=STAYS)
def test_tail_and_reads_live_through_the_damage_and_the_tail_takes_the_switch(
    served: Pair, operator: Operator, damage: Damage, command: str
) -> None:
    shown(served)
    damage_served(served, damage)
    require_no_500(served)
    customer = {"name": "Eve", "account_id": "1"}
    assert served.customers("mel").post("/customers", json=customer).status_code == 201
    # Only who has read the log to its end bears out that it is the file that is wrong.
    witness = ProjectionReader(served.directory_folder, directory)
    assert witness.wait_until_applied(served.log.state().end, 20)
    operator.run(f"accounts {command}")
    assert operator.ask("accounts verify")["wrong"] == []
    shown(served)
    assert served.accounts().get("/accounts").status_code == 200
    home = Generations(served.revenue_folder, revenue).home
    wait_until(
        lambda: TailStatusFile(home).read().state is TailState.FOLLOWING,
        lambda: str(TailStatusFile(home).read()),
    )


@pytest.mark.parametrize(
    "damage",
    [
        *("no ledger", "no customers", "no checkpoint", "column lost", "cut", "no checkpoint row", "version"),
        *("log id", "digest", "sequence", "sequence behind", "position", "position beyond", "position null"),
    ],
)
def test_tail_halts_with_a_line_that_names_the_repair(served: Pair, damage: str) -> None:
    damage_served(served, DAMAGES[damage][0])
    customer = {"name": "Eve", "account_id": "1"}
    created = served.customers("mel").post("/customers", json=customer)
    invoice = {
        "customer_id": created.get_json()["id"],
        "purchase_date": "2026-01-31",
        "purchase_price_cents": 5,
    }
    assert served.customers("mel").post("/invoices", json=invoice).status_code == 201
    status = TailStatusFile(Generations(served.revenue_folder, revenue).home)
    wait_until(lambda: status.read().state is TailState.HALTED, lambda: str(status.read()))
    assert "verify --repair`" in status.read().message
    assert "\n" not in status.read().message


def test_table_that_is_lost_is_named_by_health_with_the_mend(served: Pair, operator: Operator) -> None:
    damage_served(served, DAMAGES["no parked"][0])
    ready = served.accounts(None).get("/health/ready")
    check = ready.get_json()["checks"]["projection"]
    assert (ready.status_code, check["status"]) == (200, "degraded")
    assert "table parked is missing" in check["detail"]
    assert "`accounts verify --repair`" in check["mend"]
    operator.run("accounts verify --repair")
    assert served.accounts(None).get("/health/ready").get_json()["checks"]["projection"]["status"] == "ok"


# Acknowledgements


def parked(operator: Operator) -> list[dict[str, object]]:
    found: list[dict[str, object]] = operator.ask("accounts parked list")
    return found


@pytest.mark.parametrize("damage", ["no checkpoint", "no checkpoint row", "no ledger", "log id", "version"])
def test_acknowledgement_outlives_the_repair_of_a_file_that_still_tells_it(
    served: Pair, operator: Operator, damage: str
) -> None:
    operator.run("accounts parked acknowledge")
    before = parked(operator)
    damage_served(served, DAMAGES[damage][0])
    operator.run("accounts verify --repair")
    assert parked(operator) == before


def test_acknowledgement_outlives_a_lost_file_where_another_generation_tells_it(
    served: Pair, operator: Operator
) -> None:
    operator.run("accounts parked acknowledge")
    before = parked(operator)
    operator.run("accounts rebuild")
    served.accounts_tail.stop()
    damage_served(served, overwrite)
    operator.run("accounts verify --repair")
    assert parked(operator) == before


def test_acknowledgement_outlives_restoring_a_backup_taken_before_it(
    served: Pair, operator: Operator, tmp_path: Path
) -> None:
    operator.run("accounts backup", tmp_path / "copy.db")
    operator.run("accounts parked acknowledge")
    before = parked(operator)
    damage_served(served, DAMAGES["no checkpoint row"][0])
    operator.run("accounts restore", tmp_path / "copy.db")
    assert parked(operator) == before


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("acknowledged_at = 'soon'", "not both are times"),
        ("acknowledged_at = '2999-01-01T00:00:00+00:00'", "in the future"),
        ("acknowledged_at = '2001-01-01T00:00:00+00:00'", "before it was parked"),
    ],
)
def test_time_at_which_nothing_can_have_been_acknowledged_is_named_and_goes(
    served: Pair, operator: Operator, edit: str, said: str
) -> None:
    operator.run("accounts parked acknowledge")
    damage_served(served, sql(f"UPDATE parked SET {edit}"))
    (sentence,) = operator.ask("accounts verify", exits=3)["wrong"]
    assert sentence.startswith("parked entry 7 is acknowledged at ")
    assert said in sentence
    operator.run("accounts verify --repair")
    assert operator.ask("accounts verify")["wrong"] == []
    assert parked(operator)[0]["acknowledged_at"] is None


# The file or the log


def test_log_that_lost_entries_is_not_taken_for_a_wrong_file(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis
) -> None:
    """The other service has read what the log lost, too: then it is the log, and what is served stays."""
    with redis.Redis.from_url(redis_server.url) as client:
        kept = {key: client.dump(key) for key in client.scan_iter("*event-stream*")}
        assert (
            served.customers("mel").post("/customers", json={"name": "Eve", "account_id": "1"}).status_code
            == 201
        )
        shown(served)
        for key, content in kept.items():
            assert isinstance(content, bytes)
            client.restore(key, 0, content, replace=True)
    for command in ("verify --repair", "rebuild --switch"):
        refused = operator.is_refused(f"accounts {command}")
        assert "the log is no longer what is served" in refused
        assert "does not fit the log either" in refused
    assert operator.generations() == {1: "served"}


def test_file_alone_against_the_log_is_not_believed_to_be_wrong(served: Pair, operator: Operator) -> None:
    """Nothing else here has read the log to its end."""
    served.customers_tail.stop()
    assert (
        served.customers("mel").post("/customers", json={"name": "Eve", "account_id": "1"}).status_code == 201
    )
    damage_served(served, DAMAGES["log id"][0])
    assert "to bear it out" in operator.is_refused("accounts verify --repair")
    served.customers_tail.start()
    reader = ProjectionReader(served.directory_folder, directory)
    assert reader.wait_until_applied(served.log.state().end, 20)
    operator.run("accounts verify --repair")
