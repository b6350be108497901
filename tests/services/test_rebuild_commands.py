"""`rebuild`, `verify`, `rollback` and `generations`: built beside what is served, compared, switched, told exactly."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import redis

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Projection, ProjectionFile
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import Generations, home_of
from eventlog.position import START
from eventlog.readers import ReaderKind
from eventlog.rebuild import rebuild_name
from eventlog.tail_lock import TailLock, is_held
from tests.make_run import NEVER_S, wait_until
from tests.pair import Pair
from tests.services.operator import Operator, require_one_line

pytestmark = pytest.mark.processes

MOMENT = {"log_id", "position", "sequence"}
COMPARED = {"same", "rows", "tables"}
VERSION = revenue.version
HAND_EDIT = "UPDATE customers SET total_revenue_cents = 999999 WHERE id = 7"


def edit_by_hand(pair: Pair, sql: str = HAND_EDIT) -> None:
    with closing(sqlite3.connect(Generations(pair.revenue_folder, revenue).served_file)) as file, file:
        file.execute(sql)


def shown(pair: Pair) -> object:
    """What is answered once all of the log is applied."""
    pair.wait_until_applied()
    return pair.accounts().get("/accounts").get_json()


@pytest.mark.parametrize(("service", "rows"), [("accounts", 10), ("customers", 7)])
def test_rebuild_of_what_is_right_differs_in_nothing_and_serves_only_when_asked(
    served: Pair, operator: Operator, service: str, rows: int
) -> None:
    told = operator.ask(f"{service} rebuild")
    assert told.keys() == {"generation", "version", "fault", "switched", "seconds"} | MOMENT | COMPARED
    assert (told["same"], told["tables"], told["rows"]) == (True, [], rows)
    assert (told["generation"], told["version"], told["sequence"], told["switched"]) == (
        2,
        VERSION,
        7,
        False,
    )
    assert told["position"] == str(served.log.state().end)
    assert operator.generations(service) == {1: "served", 2: "kept"}

    assert operator.ask(f"{service} rebuild --switch-if-equal")["switched"] is True
    assert operator.generations(service) == {1: "previous", 2: "kept", 3: "served"}


def test_rebuild_says_in_words_what_it_says_in_json(served: Pair, operator: Operator) -> None:
    end = served.log.state().end
    assert operator.run("accounts rebuild").stdout.splitlines() == [
        f"generation 2 of revenue version {VERSION}, as of number 7 at {end}",
        "10 rows, the same as what is served",
        "not served: `accounts generations switch 2` serves it",
    ]


def test_difference_is_not_served_unless_it_must_be(served: Pair, operator: Operator) -> None:
    right = shown(served)
    edit_by_hand(served)
    for command in ("accounts rebuild", "accounts rebuild --switch-if-equal"):
        told = operator.ask(command, exits=3)
        assert (told["same"], told["switched"]) == (False, False)
        assert shown(served) != right
    assert operator.ask("accounts rebuild --switch")["switched"] is True
    assert shown(served) == right


def test_hand_edited_row_is_found_named_and_repaired(served: Pair, operator: Operator) -> None:
    right = shown(served)
    assert operator.run("accounts verify").stdout.splitlines()[-1].endswith("10 rows, as the log gives them")
    edit_by_hand(served)

    told = operator.ask("accounts verify", exits=3)
    assert told.keys() == {"wrong", "repaired"} | MOMENT | COMPARED
    (table,) = told["tables"]
    (row,) = table["first"]
    assert (table["table"], table["added"], table["removed"], table["changed"]) == ("customers", 0, 0, 1)
    assert (row["key"], row["before"]["total_revenue_cents"], row["after"]["total_revenue_cents"]) == (
        7,
        999999,
        600,
    )
    assert told["repaired"] is False
    said = operator.run("accounts verify", exits=3).stdout
    assert "  7: total_revenue_cents 999999 -> 600\n" in said
    assert operator.generations() == {1: "served"}, "what was only built to compare is gone"

    assert operator.ask("accounts verify --repair")["repaired"] is True
    assert "there is no generation to go back to" in operator.is_refused("accounts rollback"), "it was wrong"
    assert shown(served) == right
    operator.run("accounts verify")


@pytest.mark.parametrize(
    ("sql", "counts"),
    [
        ("DELETE FROM invoices WHERE id = 2", {"invoices": (1, 0, 0)}),
        (
            "INSERT INTO invoices SELECT 50, customer_id, 5, 0 FROM invoices WHERE id = 2",
            {"invoices": (0, 1, 0)},
        ),
        ("DELETE FROM parked", {"parked": (1, 0, 0)}),
        ("UPDATE parked SET reason = 'none'", {"parked": (0, 0, 1)}),
    ],
    ids=["missing row", "row too many", "parked entry forgotten", "other reason"],
)
def test_every_kind_of_difference_is_counted(
    served: Pair, operator: Operator, sql: str, counts: dict[str, tuple[int, int, int]]
) -> None:
    edit_by_hand(served, sql)
    told = operator.ask("accounts rebuild", exits=3)
    found = {each["table"]: (each["added"], each["removed"], each["changed"]) for each in told["tables"]}
    assert found == counts


def test_client_that_kept_wrong_rows_is_not_told_that_they_are_still_right(
    served: Pair, operator: Operator
) -> None:
    client = served.accounts()  # a tag is also of its token
    edit_by_hand(served)
    wrong = client.get("/accounts")
    operator.run("accounts verify --repair")
    again = client.get("/accounts", headers={"If-None-Match": wrong.headers["ETag"]})
    assert again.status_code == 200
    assert again.get_json() != wrong.get_json()
    assert again.headers["Log-Position"] == wrong.headers["Log-Position"]


def test_rollback_serves_what_was_served_before_brought_up_to_now_and_twice_is_back(
    served: Pair, operator: Operator
) -> None:
    operator.run("accounts rebuild --switch")
    customer = {"name": "Eve", "account_id": "1"}
    assert served.customers("mel").post("/customers", json=customer).status_code == 201
    before = shown(served)

    told = operator.ask("accounts rollback")
    assert told.keys() == {"generation", "version"} | MOMENT
    assert (told["generation"], told["sequence"]) == (1, 8)
    assert operator.generations() == {1: "served", 2: "previous"}
    assert shown(served) == before
    assert "generation 2 of revenue is served" in operator.run("accounts rollback").stdout
    assert shown(served) == before


def test_first_generation_has_nothing_to_roll_back_to(operator: Operator) -> None:
    assert "there is no generation to go back to" in operator.is_refused("accounts rollback")


def test_generations_are_listed_switched_and_pruned(served: Pair, operator: Operator) -> None:
    for _ in range(3):
        operator.run("accounts rebuild")
    listed = operator.ask("accounts generations")
    assert all(
        each.keys() == {"version", "generation", "state", "begun_at", "bytes"} | MOMENT for each in listed
    )
    assert {each["sequence"] for each in listed} == {7}
    assert [line.split()[:3] for line in operator.run("accounts generations").stdout.splitlines()] == [
        [f"v{VERSION}", "1", "served"],
        [f"v{VERSION}", "2", "kept"],
        [f"v{VERSION}", "3", "kept"],
        [f"v{VERSION}", "4", "kept"],
    ]
    assert operator.ask("accounts generations switch", "3")["generation"] == 3
    assert operator.ask("accounts generations switch", "3")["generation"] == 3, "once more changes nothing"
    assert operator.generations() == {1: "previous", 2: "kept", 3: "served", 4: "kept"}

    assert [Path(path).name for path in operator.ask("accounts generations prune")["deleted"]] == ["2", "4"]
    assert operator.generations() == {1: "previous", 3: "served"}
    assert operator.run("accounts generations prune").stdout == "nothing to delete\n"
    unknown = operator.is_refused("accounts generations switch", "4")
    assert unknown.endswith("has no generation 4; there are: 1, 3")
    assert shown(served)


def test_prune_leaves_what_is_being_built(served: Pair, operator: Operator) -> None:
    generation = Generations(served.revenue_folder, revenue).begin()
    lock = TailLock(generation)
    lock.acquire()
    assert operator.generations() == {1: "served", 2: "building"}
    assert operator.ask("accounts generations prune") == {"deleted": []}
    lock.release()
    name, log_id = rebuild_name(revenue, generation), served.log.state().log_id or ""
    served.log.readers.report(name, ReaderKind.REBUILD, position=START, sequence=0, log_id=log_id)
    assert operator.ask("accounts generations prune") == {"deleted": [str(generation)]}
    assert name not in {reader.name for reader in served.log.readers.list_all()}, (
        "trimming waits for it no more"
    )


def test_prune_of_a_version_deletes_its_home_and_never_the_own_one(served: Pair, operator: Operator) -> None:
    old = served.revenue_folder / "v0" / "generations"
    old.mkdir(parents=True)
    assert operator.ask("accounts generations prune --version", "0") == {"deleted": [str(old.parent)]}
    assert not old.parent.exists()
    assert "has no version 0" in operator.is_refused("accounts generations prune --version", "0")
    refused = operator.run("accounts generations prune --version", str(VERSION), exits=2)
    assert "what this code serves" in refused.stderr


def test_switch_needs_no_tail(served: Pair, operator: Operator) -> None:
    before = shown(served)
    served.accounts_tail.stop()
    assert operator.ask("accounts rebuild --switch")["switched"] is True
    assert operator.ask("accounts rollback")["generation"] == 1
    served.accounts_tail.start()
    assert shown(served) == before


def test_what_was_never_built_is_built_and_served(served: Pair, operator: Operator, tmp_path: Path) -> None:
    operator.environment["DATA_DIR"] = str(tmp_path / "elsewhere")
    assert operator.ask("accounts generations") == []
    told = operator.ask("accounts rebuild")
    assert (told["same"], told["switched"], told["sequence"]) == (None, True, 7)
    assert operator.generations() == {1: "served"}
    assert operator.ask("accounts verify")["same"] is True

    operator.environment["DATA_DIR"] = str(tmp_path / "once more")
    said = operator.run("accounts rebuild").stdout.splitlines()
    assert said[1:] == ["nothing is served of this version yet: nothing to compare with", "it is served now"]


def test_generations_of_several_versions_are_told_apart(served: Pair, operator: Operator) -> None:
    old = Projection(revenue.name, VERSION - 1, revenue.tables)
    ProjectionFile(served.revenue_folder, old).close()
    lines = operator.run("accounts generations").stdout.splitlines()
    assert lines[::2] == [
        f"version {VERSION - 1}, of other code, which serves its own:",
        f"version {VERSION}, of this code, which serves its own:",
    ]
    assert all("served" in line for line in lines[1::2])


def test_acknowledged_stays_acknowledged(served: Pair, operator: Operator) -> None:
    (entry,) = operator.ask("accounts parked list")
    assert entry.keys() == {"sequence", "position", "event_type", "reason", "parked_at", "acknowledged_at"}
    assert (entry["sequence"], entry["event_type"], entry["reason"]) == (
        7,
        "InvoiceCreated",
        "customer 99 does not exist",
    )
    assert (entry["position"], entry["acknowledged_at"]) == (str(served.log.state().end), None)
    assert operator.run("accounts parked list").stdout.rstrip().endswith("[new]")
    assert operator.ask("accounts parked acknowledge") == {"acknowledged": 1}
    assert operator.ask("accounts parked acknowledge") == {"acknowledged": 0}

    (acknowledged,) = operator.ask("accounts parked list")
    for command in ("accounts rebuild --switch", "accounts rollback", "accounts verify"):
        operator.run(command)
        (entry,) = operator.ask("accounts parked list")
        assert entry["acknowledged_at"] == acknowledged["acknowledged_at"]
    assert operator.run("accounts parked list").stdout.rstrip().endswith("[acknowledged]")


@pytest.mark.parametrize(
    "command", ["rebuild --switch", "verify --repair", "rollback", "generations switch 1"]
)
def test_redis_away_is_one_line_and_changes_nothing(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis, command: str
) -> None:
    operator.run("accounts rebuild --switch")
    before = operator.generations()
    redis_server.stop()
    assert "redis" in operator.is_refused(f"accounts {command}").lower()
    assert operator.generations() == before
    assert served.accounts().get("/accounts").status_code == 200


@pytest.mark.parametrize("command", ["rollback", "parked list", "parked acknowledge"])
def test_where_nothing_was_built_it_is_said(operator: Operator, tmp_path: Path, command: str) -> None:
    operator.environment["DATA_DIR"] = str(tmp_path / "no such directory")
    assert operator.is_refused(f"accounts {command}")
    told = operator.ask("accounts verify", exits=3)
    assert (told["same"], len(told["wrong"]), told["repaired"]) == (None, 1, False)


def test_variable_that_cannot_be_used_is_named(operator: Operator) -> None:
    operator.environment["REDIS_URL"] = "http://nowhere"
    assert "REDIS_URL" in operator.is_refused("accounts rebuild")


def test_words_that_are_none_are_wrong_usage(operator: Operator) -> None:
    for command in ("rebuild --swich", "generations switch one", "generations switch", "verify now"):
        assert operator.run(f"accounts {command}", exits=2).stdout == ""


@pytest.mark.parametrize("command", ["rebuild --switch", "verify --repair"])
def test_ctrl_c_leaves_everything_as_it_was(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis, command: str
) -> None:
    """Interrupted while it waits for Redis, in the middle of building."""
    generations = Generations(served.revenue_folder, revenue)
    before = shown(served)
    with redis.Redis.from_url(redis_server.url) as client:
        client.client_pause(5000)  # milliseconds
        process = operator.start(f"accounts {command}")
        wait_until(
            lambda: any(is_held(path) for path in generations.list_all()),
            lambda: f"{generations.list_all()} {process.poll()}",
        )
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=NEVER_S)
        client.client_unpause()
    assert (process.returncode, printed) == (130, "")
    assert require_one_line(told) == "Interrupted: what is served is as it was."
    assert operator.generations() == {1: "served"}
    assert shown(served) == before


def test_of_two_that_switch_at_once_each_is_told_what_became_of_it(served: Pair, operator: Operator) -> None:
    for _ in range(2):
        operator.run("customers rebuild")
    served.customers_tail.stop()
    home = home_of(served.directory_folder, directory)
    lock = TailLock(home)
    lock.acquire()
    request = home / "switch.request"
    first = operator.start("customers generations switch 2")
    wait_until(request.exists, lambda: str(list(home.iterdir())))
    second = operator.start("customers generations switch 3")
    wait_until(lambda: request.read_text() == "3", lambda: str(list(home.iterdir())))
    lock.release()
    told = [process.communicate(timeout=NEVER_S)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (1, 0), told
    assert "another generation than 2 was asked for" in require_one_line(told[0])
    assert operator.generations("customers") == {1: "previous", 2: "kept", 3: "served"}
    served.customers_tail.start()


def test_killed_rebuild_is_listed_as_unfinished_and_pruned(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis
) -> None:
    generations = Generations(served.revenue_folder, revenue)
    with redis.Redis.from_url(redis_server.url) as client:
        client.client_pause(5000)  # milliseconds
        process = operator.start("accounts rebuild")
        wait_until(
            lambda: any(is_held(path) for path in generations.list_all()),
            lambda: f"{generations.list_all()} {process.poll()}",
        )
        listed = operator.ask("accounts generations")
        assert [(each["state"], each["begun_at"] is None) for each in listed] == [
            ("served", True),
            ("building", False),
        ]
        process.kill()
        process.communicate()
        client.client_unpause()
    assert operator.generations() == {1: "served", 2: "unfinished"}
    assert "  begun 20" in operator.run("accounts generations").stdout
    assert [Path(path).name for path in operator.ask("accounts generations prune")["deleted"]] == ["2"]


def test_ctrl_c_just_after_the_switch_says_that_it_was_made(
    served: Pair, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted by the rename of the link itself, where no tail runs."""
    served.accounts_tail.stop()
    switch = Generations.switch

    def switch_then_interrupt(generations: Generations, to: Path) -> None:
        switch(generations, to)
        raise KeyboardInterrupt

    monkeypatch.setattr(Generations, "switch", switch_then_interrupt)
    told = operator.run("accounts rebuild --switch", exits=130)
    assert (
        require_one_line(told.stderr)
        == "Interrupted: generation 2 is served already, switched to just before."
    )
    assert operator.generations() == {1: "previous", 2: "served"}
