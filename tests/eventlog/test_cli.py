"""`eventlog init` makes the log once, and never where a projection remembers another."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.cli import main
from eventlog.embedded_redis import free_port
from tests.eventlog.log_contract import STREAM, add_foreign, moment, publish
from tests.eventlog.parcels import a_parcel_sent, make_codec, make_post

Damage = Callable[[redis.Redis], Any]

pytestmark = pytest.mark.processes


@pytest.fixture
def init(url: str, tmp_path: Path) -> Callable[..., Result]:
    def init(*options: str) -> Result:
        return CliRunner().invoke(main, ["init", "--redis-url", url, "--data-dir", str(tmp_path), *options])

    return init


@pytest.fixture
def log(url: str) -> EventLog:
    """Not made yet."""
    return EventLog.connect(url, make_codec())


def follow(log: EventLog, directory: Path) -> None:
    with closing(ProjectionFile(directory, make_post())) as file:
        Subscription(log, file).run_to_head()


def test_init_makes_the_log_and_again_does_nothing(init: Callable[..., Result], log: EventLog) -> None:
    first = init()
    log_id = moment(log).log_id
    assert (first.exit_code, first.output) == (0, f"log {log_id} on stream event-stream is made\n")
    publish(log)
    assert init().output == f"log {log_id} on stream event-stream is there already, and stays as it is\n"
    assert moment(log).log_id == log_id


def test_init_takes_entries_over_only_on_demand(
    init: Callable[..., Result], log: EventLog, client: redis.Redis
) -> None:
    add_foreign(client)
    refused = init()
    assert refused.exit_code == 1
    assert "1 entry and no log id" in refused.output
    assert init("--adopt").exit_code == 0
    assert publish(log).sequence == 2


def cut_the_first_entry(client: redis.Redis) -> None:
    entries: Any = client.xrange(STREAM)
    client.xdel(STREAM, entries[0][0])


@pytest.mark.parametrize("damage", [redis.Redis.flushall, cut_the_first_entry])
def test_init_makes_no_new_log_while_a_projection_remembers_the_old(
    init: Callable[..., Result],
    log: EventLog,
    client: redis.Redis,
    tmp_path: Path,
    damage: Callable[[redis.Redis], Any],
) -> None:
    log_id = log.create()
    publish(log, a_parcel_sent(1), a_parcel_sent(2))
    follow(log, tmp_path / "services" / "post")
    follow(log, tmp_path / "other" / "post")
    damage(client)
    refused = init()
    assert (refused.exit_code, "eventlog init --adopt" in refused.output) == (1, True)
    assert log.state().log_id in {None, log_id}
    adopted = init("--adopt")
    assert adopted.exit_code == 0
    told = json.loads(init("--adopt", "--json").output)
    assert told["delete"] == [str(tmp_path / "other" / "post"), str(tmp_path / "services" / "post")]
    assert (told["stream"], told["move_aside"], len(told["log_id"])) == ("event-stream", None, 32)
    assert f"delete {tmp_path / 'other' / 'post'} and {tmp_path / 'services' / 'post'}:" in adopted.output
    assert log.state().log_id not in {None, log_id}


def test_init_says_what_is_wrong_with_what_it_was_given(
    init: Callable[..., Result], client: redis.Redis
) -> None:
    client.set("text", "x")
    for options in (["--stream", "text"], ["--stream", "text", "--adopt"]):
        refused = init(*options)
        assert (refused.exit_code, "Set EVENT_STREAM to another name" in refused.output) == (1, True)
    assert "REDIS_URL cannot be read" in init("--redis-url", "http://x").output


def test_init_of_a_server_that_is_away_or_weak_says_so(
    init: Callable[..., Result], log: EventLog, client: redis.Redis
) -> None:
    client.config_set("appendfsync", "everysec")
    weak = init()
    assert (weak.exit_code, "appendfsync is 'everysec'" in weak.output) == (1, True)
    assert log.state().log_id is None
    away = init("--redis-url", f"redis://127.0.0.1:{free_port()}")
    assert (away.exit_code, "Redis is away" in away.output) == (1, True)
