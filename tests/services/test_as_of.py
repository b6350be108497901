"""What accounts answered at a moment gone by: the same again, whoever asks, by command and over HTTP."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventlog import START, Event, EventLog, Position
from eventlog.embedded_redis import EmbeddedRedis
from eventlog.log import Moment
from shared.events import make_codec
from shared.permissions import Role
from tests.examples import examples
from tests.fake_redis import fake_pool
from tests.make_run import wait_until
from tests.pair import Pair, running_pair
from tests.services.facts import (
    a_customer_created,
    a_customer_deleted,
    an_account_created,
    an_account_deleted,
    an_invoice_created,
    an_invoice_deleted,
)
from tests.services.operator import Operator

pytestmark = pytest.mark.processes

FEW, CENTS = st.integers(1, 3), st.integers(-5, 100)
OWNERS = st.sampled_from(["mel", "joe"])
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(an_account_created, FEW, OWNERS),
    st.builds(an_account_deleted, FEW),
    st.builds(a_customer_created, FEW, FEW),
    st.builds(a_customer_deleted, FEW, FEW),
    st.builds(an_invoice_created, FEW, FEW, CENTS),
    st.builds(an_invoice_deleted, FEW, FEW, CENTS),
)
QUERIES: list[dict[str, str]] = [{}, {"limit": "1"}, {"limit": "1", "after": "1"}, {"after": "2"}]
MOST_ENTRIES = 100  # in place of the 10,000 of accounts/as_of.py
USERS = [("root", Role.ADMIN), ("mel", Role.MEMBER), ("joe", Role.MEMBER)]


def publish(log: EventLog, *events: Event) -> Position:
    state = log.state()
    return log.publish(list(events), decided_at=Moment(state.log_id or "", state.end)).position


def all_answers(pair: Pair, **moment: str) -> list[tuple[Any, bool]]:
    """What each user is answered to each query, and whether there is more."""
    answers = [
        pair.accounts(user, role).get("/accounts", query_string={**query, **moment})
        for user, role in USERS
        for query in QUERIES
    ]
    assert all(answer.status_code == 200 for answer in answers), [answer.text for answer in answers]
    return [(answer.get_json(), "Link" in answer.headers) for answer in answers]


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_each_moment_is_answered_as_it_was_when_it_was_now(
    redis_server: EmbeddedRedis, events: list[Event]
) -> None:
    with ExitStack() as ending:
        with redis.Redis.from_url(redis_server.url) as client:
            client.flushall()
        log = EventLog.connect(redis_server.url, make_codec())
        ending.callback(log.close)
        log.create()
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        pair = ending.enter_context(running_pair(log, folder))
        answered: dict[Position, list[tuple[Any, bool]]] = {START: all_answers(pair)}
        for event in events:
            position = publish(log, event)
            pair.wait_until_applied()
            answered[position] = all_answers(pair)

        operator = Operator(pair, redis_server.url)
        for position, expected in answered.items():
            assert all_answers(pair, as_of=str(position)) == expected
            printed = operator.run("accounts as-of", str(position)).stdout
            assert json.loads(printed) == expected[0][0]
            at = pair.accounts("root").get(f"/accounts?as_of={position}").headers["Log-Position"]
            assert at == f"{position}@{(log.state().log_id or '')[:8]}"


def test_a_time_past_the_end_is_now_and_before_the_start_is_empty(served: Pair, operator: Operator) -> None:
    now = served.accounts().get("/accounts").get_json()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%MZ")
    before_all = datetime.fromtimestamp(served.log.read()[0].position.milliseconds // 1000, UTC).isoformat()
    for moment, expected in {
        "now": now,
        "0s": now,
        "52w": [],
        tomorrow[:10]: now,
        tomorrow: now,
        str(served.log.state().end): now,
        "start": [],
        "0-0": [],
        before_all: [],
    }.items():
        answer = served.accounts().get("/accounts", query_string={"as_of": moment})
        assert (answer.status_code, answer.get_json()) == (200, expected), moment
        assert json.loads(operator.run("accounts as-of", moment).stdout) == expected
    assert (
        json.loads(operator.run("customers as-of now").stdout)
        == served.customers().get("/customers").get_json()
    )


def test_pages_of_a_moment_are_linked(served: Pair) -> None:
    second = served.log.read()[1].position
    publish(served.log, an_account_created(3))
    served.wait_until_applied()
    first = served.accounts().get(f"/accounts?as_of={second}&limit=1")
    path = first.headers["Link"].partition("<")[2].partition(">")[0]
    rest = served.accounts().get(path)
    assert [account["account"]["id"] for account in first.get_json() + rest.get_json()] == [1, 2]
    assert "Link" not in rest.headers


@pytest.mark.parametrize(
    "moment", ["", "yesterday", "2026-10", "2026-10-01+02:00", "5", "2026-10-01T00:00+00:00"]
)
def test_text_that_is_no_moment_is_a_bad_parameter(served: Pair, moment: str) -> None:
    refused = served.accounts().get(f"/accounts?as_of={moment}")
    assert refused.status_code == 400
    assert refused.get_json(force=True)["errors"][0]["parameter"] == "as_of"
    assert ("write it as %2B" in refused.text) == ("+" in moment)


def test_nobody_without_a_token_is_told_what_was(served: Pair) -> None:
    assert served.accounts(None).get("/accounts?as_of=start").status_code == 401


def test_more_than_is_replayed_for_an_answer_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry less is answered; so is now, of any log."""
    monkeypatch.setattr("accounts.as_of.MOST_ENTRIES", MOST_ENTRIES)
    log = EventLog(fake_pool(), make_codec())
    log.create()
    publish(
        log, an_account_created(), a_customer_created(), *map(an_invoice_created, range(1, MOST_ENTRIES - 1))
    )
    most = log.state().end
    publish(log, an_invoice_created(MOST_ENTRIES), an_invoice_created(MOST_ENTRIES + 1))
    one_more, end = (entry.position for entry in log.read(most))
    with running_pair(log, tmp_path) as pair:
        pair.wait_until_applied()
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        answered = pair.accounts().get(f"/accounts?as_of={most}")
        assert (answered.status_code, answered.get_json()[0]["total_revenue_cents"]) == (
            200,
            100 * (MOST_ENTRIES - 2),
        )
        refused = pair.accounts().get(f"/accounts?as_of={one_more}")
        assert refused.status_code == 400
        assert f"`accounts as-of {one_more}`" in refused.get_json(force=True)["detail"]
        for moment in ("now", str(end)):
            answered = pair.accounts().get(f"/accounts?as_of={moment}")
            assert answered.get_json()[0]["total_revenue_cents"] == 100 * MOST_ENTRIES
        assert not list(scratch.iterdir())


def test_a_position_is_exact_although_the_projection_lags(served: Pair) -> None:
    """What is served is neither taken for a moment it has not reached, nor for one it has left behind."""
    served.accounts_tail.stop()
    reached = publish(served.log, an_invoice_created(10, cents=1000))
    publish(served.log, an_invoice_created(11, cents=5000))
    shown = served.accounts().get(f"/accounts?as_of={reached}")
    assert shown.get_json()[0]["total_revenue_cents"] == 1600
    assert "Projection-State" not in shown.headers, "nothing was read that a tail brings up to date"
    end = served.log.state().end
    assert served.accounts().get(f"/accounts?as_of={end}").get_json()[0]["total_revenue_cents"] == 6600
    now = served.accounts().get("/accounts?as_of=now")
    assert now.get_json()[0]["total_revenue_cents"] == 600
    assert now.headers["Projection-State"] != "following"


def test_entity_tag_is_of_the_moment(served: Pair) -> None:
    client = served.accounts()  # a tag is also of its token
    path = f"/accounts?as_of={served.log.read()[4].position}"
    first = client.get(path)
    tag = {"If-None-Match": first.headers["ETag"]}
    assert client.get(path, headers=tag).status_code == 304
    publish(served.log, an_invoice_created(10))
    served.wait_until_applied()
    assert client.get(path, headers=tag).status_code == 304, "the past stays as it is"

    for moment in ("now", "2999-01-01T00:00Z"):
        now = client.get(f"/accounts?as_of={moment}")
        publish(served.log, an_invoice_created(int(now.headers["Log-Position"].partition("-")[0])))
        served.wait_until_applied()
        again = client.get(f"/accounts?as_of={moment}", headers={"If-None-Match": now.headers["ETag"]})
        assert again.status_code == 200
        assert again.get_json() != now.get_json()


def test_minimum_is_waited_for_and_judged_as_with_any_read(served: Pair) -> None:
    past = f"/accounts?as_of={served.log.read()[4].position}"
    at = served.accounts().get("/accounts").headers["Log-Position"]
    shown = served.accounts().get(past, headers={"Min-Log-Position": at})
    assert (shown.status_code, shown.get_json()[0]["total_revenue_cents"]) == (200, 300)
    for minimum, status in (
        ("9" * 15 + "-0@" + at.partition("@")[2], 412),
        ("1-0@00000000", 412),
        ("soon", 400),
    ):
        assert served.accounts().get(past, headers={"Min-Log-Position": minimum}).status_code == status
    posted = served.customers("mel").post("/customers", json={"name": "Eve", "account_id": "1"})
    headers = {"Min-Log-Position": posted.headers["Log-Position"], "Prefer": "wait=10"}
    now = served.accounts().get("/accounts?as_of=now", headers=headers).get_json()
    assert [customer["name"] for customer in now[0]["customers"]] == ["Ada", "Eve"]


def test_while_the_log_is_away_the_past_is_too(served: Pair, redis_server: EmbeddedRedis) -> None:
    past = f"/accounts?as_of={served.log.read()[4].position}"
    redis_server.stop()
    for path in (past, "/accounts?as_of=now"):
        refused = served.accounts().get(path)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.get_json(force=True)["type"] == "/problems/not-readable"
    assert served.accounts().get("/accounts").status_code == 200
    redis_server.start()
    wait_until(lambda: served.accounts().get(past).status_code == 200, lambda: "it does not come back")
