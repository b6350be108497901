"""`eventlog readers`, `trim` and `status`: what they print, and how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from eventlog import EventLog, ProjectionFile, Subscription
from eventlog.archive import Archive
from eventlog.archiving import ARCHIVE_NAME, Archiving
from eventlog.cli import main
from eventlog.embedded_redis import free_port
from eventlog.tail_status import TailState, TailStatus, TailStatusFile
from tests.eventlog.log_contract import META, STREAM, add_foreign, publish
from tests.eventlog.parcels import ParcelLost, a_parcel_sent, make_post
from tests.eventlog.reader_contract import READERS, archive, positions, publish_many, report
from tests.make_run import NEVER_S

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
Run = Callable[..., Result]


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--redis-url", url, "--data-dir", str(tmp_path)])

    return run


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


# Readers


def test_readers_are_listed_with_their_lag(run: Run, log: EventLog) -> None:
    publish_many(log, 3)
    report(log, "post-v1", 1)
    archive(log, 3)
    post, archived = document(run("readers", "--json"))
    assert (post["name"], post["kind"], post["sequence"]) == ("post-v1", "projection", 1)
    assert post["position"] == str(positions(log)[0])
    assert post["lag_events"] == 2
    assert 0 <= post["lag_seconds"] < 100
    assert 0 <= post["seen_seconds_ago"] < 100
    assert (archived["name"], archived["lag_events"], archived["lag_seconds"]) == ("archive", 0, 0)
    lines = run("readers").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["post-v1", "archive"]
    assert ("2 events behind for " in lines[0], "has all" in lines[1]) == (True, True)
    assert all(re.search(r"; last heard of \d+s ago$", line) for line in lines)


def test_lag_is_as_old_as_the_oldest_entry_that_waits(run: Run, log: EventLog, client: redis.Redis) -> None:
    client.flushall()
    now = int(log.now().timestamp() * 1000)
    for seconds_ago in (7200, 3600, 60):
        add_foreign(client, f"{now - seconds_ago * 1000}-0")
    log.create(adopt=True)
    report(log, "post-v1", 1)
    (post,) = document(run("readers", "--json"))
    assert 3600 <= post["lag_seconds"] < 3700
    assert "2 events behind for 1h" in run("readers").stdout


def test_reader_of_an_older_version_is_told_from_one_that_lags(run: Run, log: EventLog) -> None:
    publish_many(log, 3)
    report(log, "post-v9", 1)
    report(log, "post-v10", 3)
    report(log, "posting-v11", 2)
    told = {line.split()[0]: line for line in run("readers").stdout.splitlines()}
    older = "; an older version of post-v10: if it is gone for good, `eventlog readers remove post-v9`"
    assert told["post-v9"].endswith(older)
    assert not [name for name, line in told.items() if "older" in line and name != "post-v9"]
    assert older in run("status").stdout


def test_status_says_of_a_reader_that_its_file_is_further_than_it_told(
    run: Run, log: EventLog, tmp_path: Path
) -> None:
    publish_many(log, 3)
    with closing(ProjectionFile(tmp_path / "service" / "post", make_post())) as file:
        Subscription(log, file).run_to_head()
    said = f"; its file is further, at {positions(log)[2]}, which it has not told yet"
    for told, lines in ((1, ["post-v1"]), (3, [])):
        report(log, "post-v1", told)
        archive(log, 1)
        further = [line.split()[1] for line in run("status").stdout.splitlines() if said in line]
        assert further == lines


def test_reader_is_removed_by_hand(run: Run, log: EventLog, client: redis.Redis) -> None:
    publish_many(log, 1)
    report(log, "post-v1", 1)
    assert document(run("readers", "remove", "post-v1", "--json")) == {"removed": "post-v1"}
    report(log, "post-v1", 1)
    assert "post-v1 is forgotten" in run("readers", "remove", "post-v1").stdout
    assert (log.readers.list_all(), client.xinfo_stream(STREAM)["groups"]) == ([], 0)
    again = run("readers", "remove", "post-v1")
    assert (again.exit_code, again.stderr) == (
        1,
        "Error: no reader is named 'post-v1': `eventlog readers` lists them\n",
    )
    assert run("readers").stdout == ""


def test_options_before_a_subcommand_are_not_taken_for_its_own(url: str) -> None:
    misplaced = CliRunner().invoke(main, ["readers", "--redis-url", url, "remove", "post-v1"])
    assert (misplaced.exit_code, "Give options behind `remove`" in misplaced.stderr) == (2, True)


# Trim


def keep(log: EventLog, data_dir: Path, number: int) -> None:
    """Archive all, and make known that it has so many."""
    with closing(Archive(data_dir / ARCHIVE_NAME)) as file:
        Archiving(log, file).run_to_head()
    archive(log, number)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("DELETE FROM entries WHERE sequence = 2", "has 4 of the first 5 entries"),
        ("UPDATE checkpoint SET log_id = 'f'", "is of log f"),
        ("", "there is no archive"),
    ],
)
def test_nothing_is_freed_that_the_archive_has_not_got_whatever_it_said(
    run: Run, log: EventLog, tmp_path: Path, damage: str, said: str
) -> None:
    publish_many(log, 5)
    keep(log, tmp_path, 5)
    if damage:
        with closing(sqlite3.connect(tmp_path / ARCHIVE_NAME)) as connection, connection:
            connection.execute(damage)
    else:
        shutil.rmtree((tmp_path / ARCHIVE_NAME).parent)
    refused = run("trim", "--keep", "0")
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert len(positions(log)) == 5


def test_trim_says_what_it_freed_and_what_bounds_it(run: Run, log: EventLog, tmp_path: Path) -> None:
    publish_many(log, 1000)
    keep(log, tmp_path, 900)
    dry = run("trim", "--keep", "50", "--dry-run")
    assert dry.stdout.startswith("899 entries would be freed; 101 left, from ")
    assert log.state().entries == 1000
    done = document(run("trim", "--keep", "50", "--json"))
    assert (done["freed"], done["left"], done["bounded_by"], done["why_kept"]) == (
        899,
        101,
        "archive",
        "reader",
    )
    assert done["bytes_after"] < done["bytes_before"]
    assert done["first_kept"] == str(positions(log)[0])
    keep(log, tmp_path, 1000)
    assert run("trim", "--keep", "100").stdout.endswith(": as asked\n")
    assert "its" not in run("trim", "--keep", "5000").stdout
    assert "the log's last entry" in run("trim", "--keep", "0").stdout


def test_trim_names_the_reader_that_is_gone(
    run: Run, log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    publish_many(log, 5)
    keep(log, tmp_path, 5)
    position = positions(log)[1]
    client.hset(READERS, "gone", f"projection {position} 2 1000000000000")
    trimmed = run("trim", "--keep", "0")
    assert (trimmed.exit_code, "1 entry freed" in trimmed.stdout) == (0, True)
    assert "bounded by reader gone" in trimmed.stdout
    assert "last seen at 2001-09-09 01:46:40 UTC" in trimmed.stderr
    assert "remove it by hand: eventlog readers remove gone" in trimmed.stderr


@pytest.mark.parametrize("keep", ["", "-1", "soon", "7 days"])
def test_trim_that_cannot_be_understood_is_wrong_usage(run: Run, log: EventLog, keep: str) -> None:
    refused = run("trim", "--keep", keep)
    assert (refused.exit_code, "neither entries (100000)" in refused.stderr) == (2, True)


def test_trim_without_an_archive_is_refused(run: Run, log: EventLog) -> None:
    publish_many(log, 5)
    refused = run("trim", "--keep", "0")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "start the archive: `eventlog archive`" in refused.stderr
    assert log.state().entries == 5


# Status


def test_status_is_the_log_at_a_glance(run: Run, log: EventLog, client: redis.Redis, tmp_path: Path) -> None:
    publish(log, a_parcel_sent(1), ParcelLost(id=5), touches=["parcel-1"])
    add_foreign(client)
    publish(log, a_parcel_sent(3))
    with closing(ProjectionFile(tmp_path / "service" / "post", make_post())) as file:
        Subscription(log, file).run_to_head()
    report(log, "post-v1", 3)
    archive(log, 4)
    log.readers.free_some(log.create(), keep_entries=3)
    found = document(run("status", "--json"))
    entries = positions(log)
    assert (found["log_id"], found["stream"]) == (log.create(), STREAM)
    assert (found["length"], found["sequence"], found["missing"], found["trimmed"]) == (3, 4, 0, 1)
    assert found["trimmed_to"] == found["first"]["position"] == str(entries[0])
    assert found["last"]["position"] == str(entries[-1])
    assert datetime.fromisoformat(found["last"]["at"]) == datetime.fromtimestamp(
        entries[-1].milliseconds / 1000, UTC
    )
    assert found["floor"] == str(entries[1])
    assert (found["durability"], found["weak_settings"]) == ("proven", {})
    assert found["memory"]["command_record_count"] == 2
    assert all(found["memory"][part] > 0 for part in ("stream", "subjects", "command_records"))
    assert [(reader["name"], reader["lag_events"]) for reader in found["readers"]] == [
        ("post-v1", 1),
        ("archive", 0),
    ]
    assert (found["archive"]["state"], found["archive"]["lag_events"]) == ("following", 0)
    (projection,) = found["projections"]
    assert projection["home"].startswith(str(tmp_path / "service" / "post"))
    assert (projection["projection"], projection["version"], projection["sequence"]) == ("post", 1, 4)
    assert (projection["parked"], projection["parked_unacknowledged"]) == (1, 1)
    printed = run("status").stdout
    for fact in (
        found["log_id"],
        str(entries[-1]),
        "durability  proven",
        "archive     following, at",
        "1 new of 1",
    ):
        assert fact in printed


def test_status_names_what_is_wrong(run: Run, log: EventLog, client: redis.Redis) -> None:
    publish_many(log, 3)
    client.xdel(STREAM, str(positions(log)[0]))
    client.config_set("appendfsync", "everysec")
    printed = run("status").stdout
    assert "missing     1 of the entries" in printed
    assert "durability  weak: appendfsync is 'everysec'" in printed
    assert "archive     none: nothing can be trimmed" in printed


def test_status_tells_how_the_archive_fares(
    run: Run, log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    def printed() -> str:
        (line,) = [line for line in run("status").stdout.splitlines() if line.startswith("archive ")]
        return line

    publish_many(log, 3)
    archive(log, 1)
    first = positions(log)[0]
    assert f"following, at {first}, 2 events behind" in printed()
    assert "elsewhere: its file is not here" in printed()
    client.hset(READERS, "archive", f"archive {first} 1 1000000000000")
    assert f"away since 2001-09-09 01:46:40 UTC, at {first}, 2 events behind" in printed()

    keep(log, tmp_path, 3)
    assert f"dead since {log.readers.list_all()[0].seen_at:%Y-%m-%d %H:%M:%S} UTC, at " in printed()
    TailStatusFile((tmp_path / ARCHIVE_NAME).parent).report(TailStatus(TailState.HALTED, message="replaced"))
    assert printed().endswith(f"UTC, at {positions(log)[-1]}: replaced"), "what it lacks is not known"
    found = document(run("status", "--json"))["archive"]
    assert (found["state"], found["message"], found["lag_events"]) == ("halted", "replaced", 0)
    assert found["file"] == str(tmp_path / ARCHIVE_NAME)
    assert datetime.fromisoformat(found["since"]) == log.readers.list_all()[0].seen_at
    shutil.rmtree((tmp_path / ARCHIVE_NAME).parent)
    Archive(tmp_path / ARCHIVE_NAME).close()
    assert "at 0-0, 3 events behind" in printed(), "not what the one told that was here before"
    TailStatusFile((tmp_path / ARCHIVE_NAME).parent).report(TailStatus(TailState.HALTED, message="replaced"))
    client.delete(READERS)  # as where the log is another now
    assert "halted, at 0-0, 3 events behind: replaced" in printed()


# Show


def test_entry_is_shown_wherever_it_lies(
    run: Run, log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    publish_many(log, 3)
    keep(log, tmp_path, 3)
    trimmed, deleted, last = map(str, positions(log))
    before = {position: document(run("show", position, "--json")) for position in (trimmed, deleted, last)}
    assert run("trim", "--keep", "2").exit_code == 0
    client.xdel(STREAM, deleted)
    for position, lies_in in ((trimmed, "archive"), (deleted, "archive"), (last, "redis")):
        shown = document(run("show", position, "--json"))
        assert shown == {**before[position], "lies_in": lies_in}
        assert (shown["type"], shown["position"]) == ("ParcelSent", position)
        entry, where = run("show", position).stdout.splitlines()
        assert f"  {position}  {shown['sequence']}  ParcelSent  " in entry
        assert ("Redis" in where) == (lies_in == "redis")


def test_status_says_that_the_first_entry_lies_in_the_archive(
    run: Run, log: EventLog, tmp_path: Path
) -> None:
    publish_many(log, 3)
    keep(log, tmp_path, 3)
    first = str(positions(log)[0])
    assert run("trim", "--keep", "1").exit_code == 0
    printed = run("status").stdout
    assert "length      1 entry in Redis" in printed
    assert re.search(rf"^first       {first} .* UTC, in the archive$", printed, re.MULTILINE)
    assert "trimmed     2 entries, all below" in printed


def test_entry_that_lies_nowhere_is_one_line(
    run: Run, log: EventLog, client: redis.Redis, tmp_path: Path
) -> None:
    publish_many(log, 3)
    assert "there is no archive" in only_line(run("show", "5-5"))
    keep(log, tmp_path, 3)
    assert "no entry 5-5 in Redis, nor in its archive: `eventlog tail --since 5-5`" in only_line(
        run("show", "5-5")
    )
    with closing(sqlite3.connect(tmp_path / ARCHIVE_NAME)) as connection, connection:
        connection.execute("UPDATE checkpoint SET log_id = 'f'")
    deleted = str(positions(log)[0])
    client.xdel(STREAM, deleted)
    assert "is of another log, f" in only_line(run("show", deleted))
    assert run("show", "5").exit_code == 2


# What is not there


@pytest.mark.parametrize("command", [["status"], ["trim", "--keep", "1"], ["tail"], ["readers"]], ids=str)
def test_log_that_is_not_there_is_one_line(run: Run, client: redis.Redis, command: list[str]) -> None:
    missing = run(*command)
    assert missing.exit_code == 1
    assert len(missing.stderr.splitlines()) == 1
    assert "If there never was one: run `eventlog init`" in missing.stderr
    assert client.keys("*") == []
    away = CliRunner().invoke(main, [*command, "--redis-url", f"redis://127.0.0.1:{free_port()}"])
    assert (away.exit_code, len(away.stderr.splitlines())) == (1, 1)
    assert "Redis is away: Error 111 connecting to 127.0.0.1:" in away.stderr
    assert away.stderr.count("127.0.0.1") == 1
    assert "start it, or check REDIS_URL and REDIS_PORT" in away.stderr
    client.hset(META, "log_id", "f" * 32)
    assert len(run(*command).stderr.splitlines()) == 1


EVERY_COMMAND = [
    *(
        ["status"],
        ["tail"],
        ["tail", "-n", "1"],
        ["readers"],
        ["readers", "remove", "x"],
        ["trim", "--keep", "1"],
    ),
    *(["archive", "--once"], ["init"], ["show", "1-1"]),
]


def only_line(result: Result) -> str:
    """Of what failed for a reason that we know."""
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_redis_that_refuses_is_one_line_with_what_to_do(
    client: redis.Redis, url: str, tmp_path: Path, command: list[str]
) -> None:
    def refused(redis_url: str) -> str:
        words = [*command, "--redis-url", redis_url, "--data-dir", str(tmp_path)]
        return only_line(CliRunner().invoke(main, words))

    server = url.partition("//")[2].partition("/")[0]
    wrong = refused(f"redis://eve:secret@{server}")
    assert server in wrong
    assert "Redis does not let user 'eve' in" in wrong
    assert "put the right one into REDIS_USER or REDIS_URL" in wrong
    assert "secret" not in wrong
    assert f"({server}): it has not got database 99, with which REDIS_URL ends" in refused(
        f"redis://{server}/99"
    )
    assert "set it to redis://[user:password@]host[:port][/database]" in refused("redis://127.0.0.1:x")
    if command != ["readers", "remove", "x"]:  # which looks at neither
        for key in (STREAM, META):
            client.flushall()
            client.set(key, "text")
            assert "Set EVENT_STREAM to another name" in refused(url)


def test_ctrl_c_is_one_line_and_130() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-c", "from eventlog.cli import main; main()", "trim", "--keep", "1"]
        with subprocess.Popen(
            [*command, "--redis-url", f"redis://127.0.0.1:{silent.getsockname()[1]}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGINT)
                output, complaint = process.communicate(timeout=NEVER_S)
    assert (process.returncode, output, len(complaint.splitlines())) == (130, b"", 1)


# Parked


def test_parked_entries_are_listed_and_acknowledged_without_their_projections_code(
    run: Run, log: EventLog, tmp_path: Path
) -> None:
    publish(log, a_parcel_sent(1), ParcelLost(id=9), ParcelLost(id=8))
    with closing(ProjectionFile(tmp_path / "service" / "post", make_post())) as file:
        Subscription(log, file).run_to_head()
    first, second = document(run("parked", "--json"))
    assert (first["projection"], first["version"], first["sequence"]) == ("post", 1, 2)
    assert (second["position"], second["acknowledged_at"]) == (str(positions(log)[2]), None)
    reason = "there is no parcel 9 on its way"
    assert (
        run("parked").stdout.splitlines()[0] == f"post-v1  {positions(log)[1]}  ParcelLost  {reason}  [new]"
    )

    assert document(run("parked", "acknowledge", "post", "--json")) == {"acknowledged": 2}
    assert all(line.endswith("[acknowledged]") for line in run("parked").stdout.splitlines())
    assert document(run("parked", "acknowledge", "post", "--json")) == {"acknowledged": 0}
    unknown = run("parked", "acknowledge", "letters")
    assert unknown.exit_code == 1
    assert "no projection letters is served" in unknown.stderr


def test_tail_says_what_it_does_not_show_for_want_of_the_archive(
    run: Run, log: EventLog, tmp_path: Path
) -> None:
    publish_many(log, 20)
    keep(log, tmp_path, 20)
    first = str(positions(log)[0])
    run("trim", "--keep", "5")
    newest = run("tail", "-n", "12", "--type", "ParcelSent", "--json")
    assert [json.loads(line)["sequence"] for line in newest.stdout.splitlines()] == list(range(9, 21))
    assert newest.stderr == ""
    whole = run("tail", "--since", first, "--json")
    assert (len(whole.stdout.splitlines()), whole.stderr) == (20, "")
    shutil.rmtree((tmp_path / ARCHIVE_NAME).parent)
    rest = run("tail", "--since", first, "--json")
    assert len(rest.stdout.splitlines()) == 5
    (said,) = rest.stderr.splitlines()
    assert f"before {positions(log)[0]} was trimmed" in said
    assert "put the archive back" in said
    newest = run("tail", "-n", "12", "--json")
    assert (len(newest.stdout.splitlines()), newest.stderr) == (5, rest.stderr)
    assert run("tail", "-n", "5", "--json").stderr == ""
    assert run("tail", "--since", str(positions(log)[0])).stderr == ""
