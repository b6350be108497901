"""`eventlog tail`: every entry once, whatever it holds, until asked to end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from eventlog import EventLog
from eventlog.cli import main
from tests.eventlog.log_contract import STREAM, add_foreign, publish
from tests.eventlog.parcels import AddressChanged, ParcelLost, a_parcel_sent
from tests.eventlog.reader_contract import positions, publish_many
from tests.eventlog.test_tail import wait_until
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
EVENTLOG = [sys.executable, "-c", "from eventlog.cli import main; main()"]


@pytest.fixture
def tail(url: str) -> Callable[..., Result]:
    def tail(*options: str) -> Result:
        return CliRunner().invoke(main, ["tail", "--redis-url", url, *options])

    return tail


@pytest.fixture
def shown(tail: Callable[..., Result]) -> Callable[..., list[Any]]:
    def shown(*options: str) -> list[Any]:
        result = tail("--json", *options)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    return shown


Shown = Callable[..., list[Any]]


def test_entries_are_shown_as_they_are(
    tail: Callable[..., Result], shown: Shown, log: EventLog, client: redis.Redis
) -> None:
    publish(log, a_parcel_sent(1, weight_g=2**63 - 1), actor="ada")
    client.xadd(STREAM, {"EventTypeName": "ParcelLost", "Payload": '{\n "id" : 1 }'})
    ours, foreign = shown()
    assert [ours["position"], foreign["position"]] == [str(position) for position in positions(log)]
    assert (ours["type"], ours["sequence"]) == ("ParcelSent", 1)
    assert ours["payload"] == {"id": 1, "customer_id": 7, "weight_g": 2**63 - 1}
    assert ours["metadata"]["actor"] == "ada"
    assert (foreign["type"], foreign["payload"]) == ("ParcelLost", {"id": 1})
    assert foreign["sequence"] is foreign["metadata"] is None
    first, second = tail().stdout.splitlines()
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"{date}  {ours['position']}  1  ParcelSent  {{\"id\":1,.*}}", first)
    assert re.fullmatch(rf"{date}  {foreign['position']}  -  ParcelLost  {{\"id\":1}}", second)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"price": "5"}, "fields"),
        ({"EventTypeName": "ParcelSent", "Payload": "[1]"}, "no JSON object"),
        ({"EventTypeName": "ParcelSent", "Payload": "{"}, "truncated"),
        ({"EventTypeName": "ParcelSent", "Payload": "[" * 5000}, "recursion"),
        ({"EventTypeName": b"\xff", "Payload": "{}"}, "utf-8"),
        ({"EventTypeName": "ParcelSent", "Payload": b'{"a": "\xff"}'}, "utf-8"),
        (
            {"EventTypeName": "ParcelSent", "Payload": "{}", "Sequence": "four", "Metadata": "{}"},
            "Sequence",
        ),
        ({"EventTypeName": "ParcelSent", "Payload": "{}", "Sequence": "1", "Metadata": "x"}, "malformed"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_malformed_entry_is_shown_with_the_reason(
    tail: Callable[..., Result],
    shown: Shown,
    log: EventLog,
    client: redis.Redis,
    fields: Any,
    reason: str,
) -> None:
    client.xadd(STREAM, fields)
    (raw,) = shown()
    assert raw.keys() == {"position", "fields", "reason"}
    assert reason in raw["reason"].lower() or reason in raw["reason"]
    assert len(raw["fields"]) == 2 * len(fields)
    assert tail().exit_code == 0
    assert shown("--type", "ParcelSent") == []


def test_what_a_terminal_would_obey_is_not_printed(
    tail: Callable[..., Result], log: EventLog, client: redis.Redis
) -> None:
    client.xadd(STREAM, {"EventTypeName": "A\x1b[2J\n", "Payload": '{"a":"\x9b2J\u2028"}'})
    client.xadd(STREAM, {"\x1b]0;owned\x07": "\r"})
    printed = tail().stdout
    assert len(printed.splitlines()) == 2
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", printed)


def test_types_and_subjects_choose(shown: Shown, log: EventLog, client: redis.Redis) -> None:
    publish(
        log,
        a_parcel_sent(1, customer_id=7),
        a_parcel_sent(7, customer_id=8),
        ParcelLost(id=1),
        AddressChanged(customer_id=7, town="Ayr", street="High Street"),
    )
    for event_type, payload in (
        ("CustomerCreated", '{"id":"7"}'),
        ("CustomerCreated", '{"id":"77"}'),
        ("ParcelSent", '{"id":"5","customer_id":"7"}'),
    ):
        client.xadd(STREAM, {"EventTypeName": event_type, "Payload": payload})

    def chosen(*options: str) -> list[int]:
        everything = [str(position) for position in positions(log)]
        return [everything.index(entry["position"]) for entry in shown(*options)]

    assert chosen("--type", "ParcelLost") == [2]
    assert chosen("--type", "ParcelLost", "--type", "CustomerCreated") == [2, 4, 5]
    assert chosen("--subject", "customer-7") == [0, 3, 4, 6]
    assert chosen("--subject", "parcel-7") == [1]
    assert chosen("--subject", "customer-7", "--type", "ParcelSent") == [0, 6]
    assert chosen("--subject", "customer-7", "-n", "2") == [4, 6]


def test_the_last_ten_are_shown_where_nothing_else_is_asked(
    tail: Callable[..., Result], shown: Shown, log: EventLog
) -> None:
    publish_many(log, 2300)
    assert [entry["sequence"] for entry in shown()] == list(range(2291, 2301))
    assert [entry["sequence"] for entry in shown("-n", "2200")] == list(range(101, 2301))
    assert shown("-n", "0") == []
    since = str(positions(log)[99])
    assert [entry["sequence"] for entry in shown("--since", since)] == list(range(100, 2301))
    assert [entry["sequence"] for entry in shown("--since", since, "-n", "2")] == [2299, 2300]
    assert len(shown("--since", str(positions(log)[2298]), "-n", "100")) == 2


def test_since_is_a_position_a_time_or_an_age(
    tail: Callable[..., Result], shown: Shown, log: EventLog, client: redis.Redis
) -> None:
    client.flushall()
    now = int(log.now().timestamp() * 1000)
    for milliseconds in (1_000_000_000_000, 1_000_000_060_000, now - 7200_000, now - 60_000):
        add_foreign(client, f"{milliseconds}-0")
    log.create(adopt=True)
    assert len(shown("--since", "1000000000001-0")) == 3
    assert len(shown("--since", "1000000000000-0")) == 4
    assert len(shown("--since", "2001-09-09T01:47:40Z")) == 3
    assert len(shown("--since", "2001-09-09T03:47:40+02:00")) == 3
    assert len(shown("--since", "2001-09-09T01:47:41")) == 2
    assert len(shown("--since", "2001-09-10")) == 2
    assert len(shown("--since", "start")) == 4
    assert len(shown("--since", "now")) == 0
    assert len(shown("--since", "3h")) == 2
    assert len(shown("--since", "10m")) == 1
    for wrong in ("yesterday", "5", "10 m"):
        refused = tail("--since", wrong)
        assert (refused.exit_code, "is no moment: give a time" in refused.stderr) == (2, True)
    assert tail("--subject", "customer").exit_code == 2


# As a process


class Following:
    """`eventlog tail -f --json` as a process, and what it has printed so far."""

    def __init__(self, url: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [*EVENTLOG, "tail", "-f", "--json", "--redis-url", url, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.shown: list[Any] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.shown.append(json.loads(line))

    def end(self) -> tuple[int, str]:
        """Once the process has ended: its exit code and what it complained of."""
        assert self.process.stderr is not None
        code, complaint = self.process.wait(NEVER_S), self.process.stderr.read()
        self._thread.join(20)
        return code, complaint

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join(20)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def follow(url: str) -> Iterator[Callable[..., Following]]:
    started: list[Following] = []

    def follow(*options: str) -> Following:
        started.append(Following(url, *options))
        return started[-1]

    yield follow
    for each in started:
        each.close()


@pytest.mark.parametrize("start", [["--since", "0-1"], ["-n", "500"]], ids=str)
def test_following_misses_and_doubles_nothing(
    follow: Callable[..., Following], log: EventLog, client: redis.Redis, start: list[str]
) -> None:
    publish_many(log, 500)
    following = follow(*start)
    for number in range(300):
        if number % 3:
            publish_many(log, 1)
        else:
            add_foreign(client)
    end = str(log.state().end)
    wait_until(lambda: bool(following.shown) and following.shown[-1]["position"] == end)
    following.process.send_signal(signal.SIGINT)
    assert following.end() == (0, "")
    expected = [str(position) for position in positions(log)]
    found = [entry["position"] for entry in following.shown]
    # With -n it begins as many before the end as it found at its start.
    assert found == expected[-len(found) :]
    assert len(found) >= 500


def test_following_begins_at_an_empty_log(follow: Callable[..., Following], log: EventLog) -> None:
    following = follow()
    publish_many(log, 2)
    wait_until(lambda: len(following.shown) == 2)
    publish_many(log, 1)
    wait_until(lambda: len(following.shown) == 3)
    following.process.send_signal(signal.SIGINT)
    assert following.end() == (0, "")


@pytest.mark.parametrize("doing", ["adopt", "flush", "delete", "last gone"])
def test_following_ends_when_the_log_is_another(
    follow: Callable[..., Following], log: EventLog, client: redis.Redis, doing: str
) -> None:
    publish_many(log, 3)
    following = follow()
    wait_until(lambda: len(following.shown) == 3)
    match doing:
        case "adopt":
            log.create(adopt=True)
        case "flush":
            client.flushall()
        case "delete":
            client.delete(STREAM)
        case _:
            client.xdel(STREAM, str(positions(log)[-1]))
    code, complaint = following.end()
    assert (code, len(complaint.splitlines())) == (1, 1)
    assert ("rewound" if doing == "last gone" else "replaced") in complaint


def test_reader_of_the_pipe_that_has_seen_enough_ends_it_quietly(log: EventLog, url: str) -> None:
    publish_many(log, 5000)
    command = [*EVENTLOG, "tail", "--since", "0-1", "--redis-url", url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"ParcelSent" in process.stdout.readline()
        process.stdout.close()
        assert (process.wait(NEVER_S), process.stderr.read()) == (0, b"")
