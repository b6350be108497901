"""What `/health/ready` says of a log that others damaged, while reads go on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import EventLog, ProjectionReader
from eventlog.archive import Archive
from eventlog.archiving import ARCHIVE_NAME, Archiving
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import home_of
from eventlog.tail_status import TailState, TailStatus, TailStatusFile
from shared.health import Check, Health
from tests.make_run import wait_until
from tests.pair import Pair, running_pair

pytestmark = pytest.mark.processes

ADA = {"name": "Ada", "account_id": "1"}


@pytest.fixture
def pair(real_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(real_log, tmp_path) as pair:
        pair.make_demo()
        for _ in range(2):
            assert pair.customers().post("/customers", json=ADA).status_code == 201
        pair.wait_until_applied()
        yield pair


def checks(pair: Pair) -> dict[str, Any]:
    """By service, what each says is not well; `status` agrees with it."""
    found = {}
    for service, caller in (("accounts", pair.accounts()), ("customers", pair.customers())):
        answer = caller.get("/health/ready").get_json()
        found[service] = {name: check for name, check in answer["checks"].items() if check["status"] != "ok"}
        assert answer["status"] == ("degraded" if found[service] else "ok")
    assert found["accounts"].keys() == found["customers"].keys()
    return found["accounts"]


def test_all_is_well_is_said_of_everything_that_is_looked_at(pair: Pair) -> None:
    answer = pair.accounts().get("/health/ready").get_json()
    assert answer["status"] == "ok"
    both = {"projection", "parked", "tail", "log", "lag", "writes", "durability", "archive", "keys"}
    assert answer["checks"].keys() == both | {"users"}
    assert pair.customers().get("/health/ready").get_json()["checks"].keys() == both


def test_who_asks_at_once_is_told_what_one_look_found_and_nothing_older(
    fake_log: EventLog, tmp_path: Path
) -> None:
    asking, begun = [0], [0]
    all_ask = threading.Event()

    def look() -> Check:
        begun[0] += 1
        number = str(begun[0])
        assert all_ask.wait(30)
        return Check("ok", number)

    def ask(_: object) -> bool:
        """Whether what is told was begun to be looked for after it was asked."""
        before = begun[0]
        asking[0] += 1
        return int(health.checks()["looks"].detail) > before

    health = Health(
        "accounts", ProjectionReader(tmp_path, revenue), fake_log, tmp_path / "none", {"looks": look}
    )
    with ThreadPoolExecutor(20) as threads:
        first = threads.submit(ask, None)
        wait_until(lambda: begun[0] == 1, lambda: "nobody looks")
        others = [threads.submit(ask, None) for _ in range(19)]
        wait_until(lambda: asking[0] == 20, lambda: f"only {asking[0]} ask")
        all_ask.set()
        assert all(asked.result(30) for asked in [first, *others])
    assert begun[0] < 10, "as many look as ask"
    assert ask(None), "later it is looked for anew"


@pytest.mark.parametrize("metrics_token", ["", "only-for-the-operators"])
def test_only_the_machine_or_a_bearer_of_the_token_is_told_why(
    metrics_token: str, fake_log: EventLog, tmp_path: Path
) -> None:
    """Others see that something is wrong, and nothing of what it is made of."""
    pair = Pair(fake_log, tmp_path, variables={"METRICS_TOKEN": metrics_token})
    caller = pair.accounts(None)
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    bearer = {"Authorization": f"Bearer {metrics_token}"}
    if metrics_token:
        inside = caller.get("/health/ready", headers=bearer, environ_base=elsewhere)
        outside = [
            caller.get("/health/ready"),
            caller.get("/health/ready", headers={"Authorization": "Bearer x"}),
        ]
    else:
        inside = caller.get("/health/ready")
        proxied = caller.get("/health/ready", headers={"X-Forwarded-For": "127.0.0.1"})
        outside = [proxied, caller.get("/health/ready", environ_base=elsewhere)]
    assert str(tmp_path) in inside.get_data(as_text=True)
    why = inside.get_json()
    for answer in outside:
        told = answer.get_json()
        assert (answer.status_code, told["status"]) == (inside.status_code, why["status"])
        statuses = {name: check["status"] for name, check in told["checks"].items()}
        assert statuses == {name: check["status"] for name, check in why["checks"].items()}
        assert {check["mend"] for check in told["checks"].values()} == {""}
        assert {check["detail"] for check in told["checks"].values()} == {
            "how it is, the machine itself is told, and who sends METRICS_TOKEN"
        }


@pytest.mark.parametrize(
    ("damage", "detail", "login"),
    [
        (Path.unlink, "there are no users", 401),
        (lambda file: file.write_bytes(b"x" * 5000), "nobody can log in", 503),
    ],
    ids=["deleted", "overwritten"],
)
def test_lost_users_are_named(
    damage: Callable[[Path], object], detail: str, login: int, pair: Pair, tmp_path: Path
) -> None:
    for file in (tmp_path / "accounts").glob("users.db-*"):
        file.unlink()
    damage(tmp_path / "accounts" / "users.db")
    credentials = {"username": "user1", "password": "password1"}
    assert pair.accounts(None).post("/auth/login", json=credentials).status_code == login
    assert pair.accounts().get("/users/user1").status_code == {401: 404, 503: 503}[login]
    users = pair.accounts().get("/health/ready").get_json()["checks"]["users"]
    assert detail in users["detail"]
    assert "restore" in users["mend"]
    assert pair.accounts().get("/accounts").status_code == 200


def test_health_does_not_wait_for_a_redis_that_hangs(pair: Pair, redis_server: EmbeddedRedis) -> None:
    hanging = psutil.Process(redis_server.pid)
    hanging.suspend()
    try:
        found = checks(pair)
    finally:
        hanging.resume()
    assert {"log", "tail"} & found.keys()


def test_an_entry_deleted_behind_every_reader_is_missed(pair: Pair, client: redis.Redis) -> None:
    first: Any = client.xrange("event-stream", count=1)
    client.xdel("event-stream", first[0][0])
    found = checks(pair)
    assert list(found) == ["log"]
    assert found["log"]["detail"] == "1 of the entries that it counted are missing"
    assert "eventlog init --adopt" in found["log"]["mend"]
    pair.accounts().get_current("/accounts")
    assert pair.customers().post("/customers", json=ADA).status_code == 201


def test_archive_that_fares_badly_is_named_and_reads_go_on(
    pair: Pair, client: redis.Redis, tmp_path: Path
) -> None:
    def archive() -> dict[str, str]:
        answers = [caller.get("/health/ready") for caller in (pair.accounts(), pair.customers())]
        assert [answer.status_code for answer in answers] == [200, 200], "no read waits for it"
        found: list[dict[str, str]] = [answer.get_json()["checks"]["archive"] for answer in answers]
        assert [answer.get_json()["status"] for answer in answers] == [check["status"] for check in found]
        return found[0]

    assert archive() == {"status": "ok", "detail": "there is none: nothing can be trimmed", "mend": ""}
    client.hset("{event-stream}:readers", "archive", "archive 1-1 1 1000000000000")
    away = archive()
    assert away["detail"].startswith("away since 2001-09-09 01:46:40 UTC, at 1-1, ")
    assert "put" in away["mend"]

    ending = threading.Event()

    def follow() -> None:
        with closing(Archive(tmp_path / ARCHIVE_NAME)) as file:
            Archiving(pair.log, file).run_forever(ending, wake_every_ms=50)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(follow)
        try:
            wait_until(lambda: "following, at " in archive()["detail"], lambda: archive()["detail"])
            wait_until(lambda: "has all" in archive()["detail"], lambda: archive()["detail"])
            assert archive()["status"] == "ok"
        finally:
            ending.set()
    stopped = archive()
    assert (stopped["status"], stopped["detail"].partition(" ")[0]) == ("degraded", "stopped")
    assert stopped["mend"].startswith("start it: `eventlog archive`")


def test_tail_that_is_paused_is_named_with_what_wakes_it(pair: Pair) -> None:
    """A tail that is started beside it only waits."""
    pair.accounts_tail.stop()
    (home,) = (status.parent for status in pair.revenue_folder.rglob("tail.json"))
    TailStatusFile(home).report(TailStatus(TailState.FOLLOWING))
    os.utime(home / "tail.json", (0, 0))
    holds = "import sys; from pathlib import Path; from eventlog.tail_lock import TailLock\n"
    holds += "lock = TailLock(Path(sys.argv[1])); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as paused:
        assert paused.stdout is not None
        assert paused.stdout.readline() == b"held\n"
        tail = pair.accounts().get("/health/ready").get_json()["checks"]["tail"]
        paused.communicate()
    assert f"dead: process {paused.pid} holds its lock" in tail["detail"]
    assert tail["mend"].startswith(f"kill -CONT {paused.pid}, or kill -9")
    ended = pair.accounts().get("/health/ready").get_json()["checks"]["tail"]
    assert ended["mend"].startswith("start the tail")


def break_subjects(client: redis.Redis) -> None:
    client.delete("{event-stream}:subjects")
    client.set("{event-stream}:subjects", "x")


def use_up_the_ids(client: redis.Redis) -> None:
    client.xadd("event-stream", {"x": "y"}, id="18446744073709551615-18446744073709551615")


def fill_the_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", 1)


def test_full_redis_is_named_with_what_makes_room(pair: Pair, client: redis.Redis) -> None:
    fill_the_memory(client)
    assert "raise maxmemory, or free what the archive has: `eventlog trim" in checks(pair)["writes"]["mend"]


def trim_beyond_the_end(client: redis.Redis) -> None:
    client.hset("{event-stream}:meta", "trimmed_to", "99999999999999-0")


@pytest.mark.parametrize("damage", [break_subjects, use_up_the_ids, fill_the_memory, trim_beyond_the_end])
def test_writes_that_would_be_refused_are_named(
    damage: Callable[[redis.Redis], None], pair: Pair, client: redis.Redis
) -> None:
    damage(client)
    pair.wait_until_applied()  # what is no entry of ours is parked by both
    refused = pair.customers().post("/customers", json=ADA)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    found = checks(pair)
    assert found["writes"]["detail"] == "refused"
    assert len(found["writes"]["mend"]) > 20
    assert pair.accounts().get("/accounts").status_code == 200


def test_writes_that_a_halted_tail_refuses_are_named(pair: Pair) -> None:
    pair.customers_tail.stop()
    status = TailStatusFile(home_of(pair.directory_folder, directory))
    status.report(TailStatus(TailState.HALTED, message="what is wrong"))
    assert pair.customers().post("/customers", json=ADA).status_code == 503
    found = pair.customers().get("/health/ready").get_json()["checks"]["writes"]
    assert (found["status"], found["mend"]) == ("degraded", "what is wrong")


def test_a_new_id_is_free_however_large_foreign_ones_are(pair: Pair, client: redis.Redis) -> None:
    for identifier in (10**15 - 1, 10**15, 10**15 + 1):
        payload = f'{{"id": "{identifier}", "name": "Eve", "account_id": "1", "created_date": "2026-01-31T00:00:00Z"}}'
        client.xadd("event-stream", {"EventTypeName": "CustomerCreated", "Payload": payload})
    pair.wait_until_applied()
    ids = [pair.customers().post("/customers", json=ADA).get_json()["id"] for _ in range(3)]
    pair.wait_until_applied()
    shown = [customer["id"] for customer in pair.customers().get("/customers").get_json()]
    assert set(ids) < set(shown)
    assert len(shown) == len(set(shown)) == 2 + 3 + 3
