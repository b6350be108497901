"""What admins see and do through HTTP: the log as it is, and all that commands do for a projection."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from werkzeug.test import TestResponse

import shared.projection_routes
from accounts.app import create_app
from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Position, ProjectionFile, Subscription
from eventlog.archiving import ARCHIVE_NAME
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.generations import Generations, home_of
from eventlog.tail_lock import TailLock
from shared.permissions import Role
from shared.settings import Settings
from tests.make_run import NEVER_S, wait_until
from tests.pair import Client, Pair
from tests.services.accounts_server import accounts_server
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

PATHS = [
    ("GET", "/log/entries"),
    ("GET", "/projection"),
    ("GET", "/projection/parked"),
    ("POST", "/projection/parked/acknowledge"),
    ("POST", "/projection/rebuild"),
    ("GET", "/projection/rebuild"),
    ("POST", "/projection/switch"),
    ("POST", "/projection/rollback"),
]


def ask(client: Client, path: str) -> Any:
    answered = client.get(path)
    assert answered.status_code == 200, answered.get_data(as_text=True)
    return answered.get_json()


def linked(page: TestResponse, relation: str) -> str | None:
    """Where the `Link` header says that the page of this relation is."""
    found = re.search(rf'<([^>]*)>; rel="{relation}"', page.headers.get("Link", ""))
    return found[1] if found else None


def problem(answered: TestResponse) -> tuple[int, str]:
    return answered.status_code, answered.get_json(force=True)["type"].removeprefix("/problems/")


def rebuilt(client: Client) -> Any:
    """What the rebuild came to, once it has ended."""
    wait_until(lambda: ask(client, "/projection/rebuild")["state"] != "running", lambda: "it still runs")
    return ask(client, "/projection/rebuild")


def rebuild_process(of: psutil.Process) -> psutil.Process:
    (found,) = [each for each in of.children(recursive=True) if "rebuild" in each.cmdline()]
    return found


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_only_admins_may(served: Pair, method: str, path: str) -> None:
    for service in (served.accounts, served.customers):
        assert problem(service("mel", Role.MEMBER).request(method, path)) == (403, "forbidden")
        assert problem(service(None).request(method, path)) == (401, "unauthorized")


# The log


def test_entries_are_shown_as_they_were_written(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis
) -> None:
    entries = ask(served.accounts(), "/log/entries")
    assert [each["sequence"] for each in entries] == list(range(1, 8))
    first = entries[0]
    assert (first["event_type"], first["payload"]["name"]) == ("AccountCreated", "account 1")
    assert first["metadata"].keys() >= {"event_id", "occurred_at", "correlation_id"}
    position = first["position"]
    assert first["redis_cli"] == f"redis-cli -u {redis_server.url} XRANGE event-stream {position} {position}"
    assert ask(served.customers(), "/log/entries") == entries
    with redis.Redis.from_url(redis_server.url) as client:
        client.xadd("event-stream", {"EventTypeName": "Odd", "Payload": "no JSON"})
        client.xadd("event-stream", {"some": "thing"})
        client.xadd("event-stream", {"Payload": '{"big": 12345678901234567890}', "EventTypeName": "Foreign"})
    odd, other, foreign = ask(served.accounts(), f"/log/entries?after={entries[-1]['position']}")
    assert (odd["event_type"], odd["payload"], odd["metadata"]) == ("Odd", "no JSON", None)
    assert (other["event_type"], other["payload"], other["sequence"]) == (None, "some thing", None)
    assert foreign["payload"] == {"big": 12345678901234567890}


def test_the_log_is_paged_forwards_and_read_from_its_end(served: Pair) -> None:
    client = served.accounts()
    all_of_it = ask(client, "/log/entries")
    seen: list[Any] = []
    path: str | None = "/log/entries?limit=3"
    while path:
        page = client.get(path)
        seen += page.get_json()
        path = linked(page, "next")
    assert seen == all_of_it
    assert ask(client, "/log/entries?newest=true&limit=2") == all_of_it[-2:]
    before = all_of_it[4]["position"]
    assert ask(client, f"/log/entries?before={before}&limit=2") == all_of_it[2:4]
    assert ask(client, "/log/entries?before=0-0") == []
    at = client.get("/accounts").headers["Log-Position"]
    assert ask(client, f"/log/entries?after={at}") == []
    assert ask(client, f"/log/entries?before={at}") == all_of_it[:-1]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("limit=3", (0, 3)),
        ("limit=100", (0, 7)),
        ("newest=true&limit=3", (4, 7)),
        ("after={middle}&limit=2", (4, 6)),
        ("after={middle}", (4, 7)),
        ("before={middle}&limit=2", (1, 3)),
        ("before={middle}", (0, 3)),
        ("after={behind_all}", (7, 7)),
        ("before={before_all}", (0, 0)),
    ],
)
def test_each_page_of_the_log_links_to_what_stands_before_and_behind_it(
    served: Pair, query: str, shown: tuple[int, int]
) -> None:
    client = served.accounts()
    positions = [entry["position"] for entry in ask(client, "/log/entries")]
    named = {"middle": positions[3], "behind_all": "9" * 18 + "-0", "before_all": positions[0]}
    page = client.get(f"/log/entries?{query.format(**named)}")
    begin, end = shown
    assert [entry["position"] for entry in page.get_json()] == positions[begin:end]
    before, behind = linked(page, "prev"), linked(page, "next")
    assert (before is not None, behind is not None) == (begin > 0, end < len(positions))
    limit = int(query.rpartition("limit=")[2]) if "limit=" in query else 100
    if before:
        assert [entry["position"] for entry in ask(client, before)] == positions[
            max(0, begin - limit) : begin
        ]
    if behind:
        assert [entry["position"] for entry in ask(client, behind)] == positions[end : end + limit]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("after=x", (400, "bad-request")),
        ("before=1", (400, "bad-request")),
        ("newest=yes", (400, "bad-request")),
        ("newest=true&after=5-0", (400, "bad-request")),
        ("newest=true&before=5-0", (400, "bad-request")),
        ("after=5-0&before=9-0", (400, "bad-request")),
        ("limit=1001", (400, "bad-request")),
        ("after=0-0@00000000", (412, "log-position-unknown")),
    ],
)
def test_what_cannot_be_asked_of_the_log_is_refused(
    served: Pair, query: str, expected: tuple[int, str]
) -> None:
    assert problem(served.accounts().get(f"/log/entries?{query}")) == expected


def test_what_was_trimmed_is_read_from_the_archive_or_said_to_be_missing(
    served: Pair, operator: Operator, redis_server: EmbeddedRedis
) -> None:
    variables = {**operator.environment, "EVENT_STREAM": "event-stream"}
    client = Client(create_app(Settings.from_environment(variables)), served.token())
    all_of_it = ask(client, "/log/entries")
    operator.look_after_log("archive", "--once")
    wait_until(lambda: "; 2 left" in operator.look_after_log("trim", "--keep", "2").stdout, lambda: "readers")
    assert ask(client, "/log/entries") == all_of_it
    assert ask(client, "/log/entries?newest=true") == all_of_it
    assert ask(client, f"/log/entries?before={all_of_it[-1]['position']}&limit=3") == all_of_it[3:6]
    (served.folder / ARCHIVE_NAME).unlink()
    assert ask(client, "/log/entries?newest=true&limit=2") == all_of_it[-2:]
    for query in ("", "?newest=true"):
        assert problem(client.get(f"/log/entries{query}")) == (503, "not-readable")


# The projection


def test_the_projection_is_shown_as_commands_show_it(served: Pair, operator: Operator) -> None:
    for service, client in (("accounts", served.accounts()), ("customers", served.customers())):
        shown = ask(client, "/projection")
        assert shown.pop("generations") == operator.ask(f"{service} generations")
        assert shown.pop("log_position") == client.get(f"/{service}").headers["Log-Position"]
        projection = revenue if service == "accounts" else directory
        assert shown == {
            "name": projection.name,
            "version": projection.version,
            "generation": 1,
            "sequence": 7,
            "lag": 0,
            "state": "following",
            "message": "",
            "parked": {"unacknowledged": 1},
        }
        assert ask(client, "/projection/parked") == operator.ask(f"{service} parked list")


def test_lag_and_halt_are_shown(served: Pair, redis_server: EmbeddedRedis) -> None:
    client = served.accounts()
    served.accounts_tail.stop()
    served.customers().post("/customers", json={"name": "Eve", "account_id": "1"})
    shown = ask(client, "/projection")
    assert (shown["lag"], shown["state"], shown["sequence"]) == (1, "stopped", 7)
    redis_server.kill()
    assert ask(client, "/projection")["lag"] is None
    shutil.rmtree(served.revenue_folder)
    shown = ask(client, "/projection")
    assert (shown["generation"], shown["log_position"], shown["parked"]) == (None, None, None)
    assert shown["generations"] == []
    assert shown["message"]


def test_parked_entries_are_paged_and_acknowledged(served: Pair, redis_server: EmbeddedRedis) -> None:
    client = served.accounts()
    with redis.Redis.from_url(redis_server.url) as other:
        other.xadd("event-stream", {"EventTypeName": "InvoiceCreated", "Payload": "nonsense"})
    served.wait_until_applied()
    first = client.get("/projection/parked?limit=1")
    (entry,) = first.get_json()
    assert (entry["sequence"], entry["event_type"], entry["acknowledged_at"]) == (7, "InvoiceCreated", None)
    following = first.headers["Link"].partition(">")[0].removeprefix("<")
    assert [each["sequence"] for each in ask(client, following)] == [8]

    assert client.post("/projection/parked/acknowledge").get_json() == {"acknowledged": 2}
    assert all(each["acknowledged_at"] for each in ask(client, "/projection/parked"))
    assert client.post("/projection/parked/acknowledge").get_json() == {"acknowledged": 0}
    assert ask(client, "/projection")["parked"] == {"unacknowledged": 0}


def test_a_tail_that_does_not_get_to_it_is_said_to_be_busy(
    served: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.projection_routes, "_TAIL_PATIENCE_S", 0.1)
    client = served.accounts()
    client.post("/projection/rebuild")
    assert rebuilt(client)["state"] == "done"
    served.accounts_tail.stop()
    hung = TailLock(home_of(served.revenue_folder, revenue))
    hung.acquire()
    for path, body in (("parked/acknowledge", None), ("switch", {"generation": 2})):
        answered = client.post(f"/projection/{path}", json=body)
        assert problem(answered) == (503, "tail-busy")
        assert answered.headers["Retry-After"] == "1"
    hung.release()
    served.accounts_tail.start()
    wait_until(
        lambda: ask(client, "/projection")["parked"] == {"unacknowledged": 0}, lambda: "it was asked for"
    )
    assert ask(client, "/projection")["generation"] == 1, "nobody waits for the switch any more"


@pytest.mark.parametrize("tail_runs", [True, False])
def test_what_was_rebuilt_is_switched_to_and_rolled_back(served: Pair, *, tail_runs: bool) -> None:
    client = served.accounts()
    assert ask(client, "/projection/rebuild") == {
        "state": "none",
        "progress": None,
        "result": None,
        "error": None,
    }
    assert problem(client.post("/projection/rollback")) == (409, "conflict")
    begun = client.post("/projection/rebuild")
    assert (begun.status_code, begun.get_json()) == (202, {"state": "running"})
    ended = rebuilt(client)
    assert (ended["state"], ended["error"]) == ("done", None), ended
    assert {name: ended["result"][name] for name in ("generation", "same", "rows", "switched")} == {
        "generation": 2,
        "same": True,
        "rows": 10,
        "switched": False,
    }
    before = client.get("/accounts")
    if not tail_runs:
        served.accounts_tail.stop()
    switched = client.post("/projection/switch", json={"generation": 2})
    assert (switched.status_code, switched.get_json()) == (
        200,
        {"generation": 2, "log_position": before.headers["Log-Position"]},
    )
    assert client.get("/accounts").get_json() == before.get_json()
    assert client.post("/projection/rollback").get_json()["generation"] == 1
    assert client.post("/projection/rollback").get_json()["generation"] == 2
    assert ask(client, "/projection")["generation"] == 2


def test_what_cannot_be_switched_to_is_refused_with_the_reason(served: Pair) -> None:
    client = served.accounts()
    assert problem(client.post("/projection/switch", json={"generation": 9})) == (404, "not-found")
    assert problem(client.post("/projection/switch", json={"generation": 0})) == (400, "bad-request")
    generations = Generations(served.revenue_folder, revenue)
    building = generations.begin()
    lock = TailLock(building)
    lock.acquire()
    with closing(ProjectionFile(served.revenue_folder, revenue, building)):
        refused = client.post("/projection/switch", json={"generation": 2})
    lock.release()
    assert problem(refused) == (409, "conflict")
    assert "is being built" in refused.get_json(force=True)["detail"]


def test_one_rebuild_at_a_time_is_seen_by_every_worker(served: Pair, operator: Operator) -> None:
    """It stands still before it has begun to apply, and then as a killed one is told."""
    client = served.accounts()
    variables = {**operator.environment, "EVENT_STREAM": "event-stream"}
    other_worker = Client(create_app(Settings.from_environment(variables)), served.token())
    assert client.post("/projection/rebuild").status_code == 202
    process = rebuild_process(psutil.Process())
    process.suspend()
    try:
        assert problem(other_worker.post("/projection/rebuild")) == (409, "conflict")
        assert ask(other_worker, "/projection/rebuild")["state"] == "running"
    finally:
        process.kill()
    failed = rebuilt(other_worker)
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert failed["error"].startswith("it ended before it was done")
    assert other_worker.post("/projection/rebuild").status_code == 202
    assert rebuilt(client)["state"] == "done"


def test_a_rebuild_ends_with_its_server(served: Pair, redis_server: EmbeddedRedis, tmp_path: Path) -> None:
    with accounts_server(served, redis_server, tmp_path / "accounts.log") as server:
        headers = {"Authorization": f"Bearer {served.token()}"}
        begun = httpx.post(
            f"http://127.0.0.1:{server.port}/projection/rebuild", headers=headers, timeout=NEVER_S
        )
        assert begun.status_code == 202
        process = rebuild_process(psutil.Process(server.process.pid))
        process.suspend()
        server.end()
        process.resume()
    failed = rebuilt(served.accounts())
    assert failed["state"] == "failed", failed
    assert [each["state"] for each in ask(served.accounts(), "/projection")["generations"]] == ["served"]


def test_a_rebuild_says_how_far_it_is(served: Pair) -> None:
    """As one leaves things while it runs, held still at the third of seven entries."""
    third = ask(served.accounts(), "/log/entries")[2]["position"]
    building = Generations(served.revenue_folder, revenue).begin()
    locks = TailLock(building), TailLock(home_of(served.revenue_folder, revenue) / "rebuild")
    for lock in locks:
        lock.acquire()
    with closing(ProjectionFile(served.revenue_folder, revenue, building)) as file:
        Subscription(served.log, file).run_to_head(Position.parse(third))
        running = ask(served.accounts(), "/projection/rebuild")
    for lock in locks:
        lock.release()
    assert (running["state"], running["progress"]) == ("running", {"applied": 3, "of": 7})


def test_a_rebuild_that_is_refused_says_why(served: Pair, redis_server: EmbeddedRedis) -> None:
    client = served.accounts()
    redis_server.kill()
    assert client.post("/projection/rebuild").status_code == 202
    failed = rebuilt(client)
    assert failed["state"] == "failed"
    assert "Redis" in failed["error"], failed


def test_differences_are_told_and_not_served(served: Pair) -> None:
    served_file = Generations(served.revenue_folder, revenue).served_file
    with closing(sqlite3.connect(served_file)) as file, file:
        file.execute("UPDATE customers SET total_revenue_cents = 999999 WHERE id = 7")
    client = served.accounts()
    client.post("/projection/rebuild")
    ended = rebuilt(client)
    assert (ended["state"], ended["result"]["same"]) == ("done", False)
    assert ask(client, "/projection")["generation"] == 1
