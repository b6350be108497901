"""The doctor finds what was really broken, each thing by its name, and nothing where all is well."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eventlog import START, ProjectionFile, Subscription
from eventlog.archive import Archive
from eventlog.archiving import ARCHIVE_NAME, Archiving
from eventlog.checkpoints import Checkpoint
from eventlog.cli import main
from eventlog.continuity import Divergence, Verdict
from eventlog.doctor import examine
from eventlog.doctor.advisories import list_holes
from eventlog.doctor.findings import Finding, Limits, Name, Severity
from eventlog.embedded_redis import find_server, free_port, list_servers
from eventlog.follower import halted
from eventlog.generations import Generations
from eventlog.mends import wrong_log
from eventlog.processes import list_opened
from eventlog.tail_status import DEAD_AFTER_S, TailState, TailStatus, TailStatusFile
from tests.eventlog.log_contract import META, STREAM, publish
from tests.eventlog.parcels import make_post
from tests.eventlog.patient import LOCK_REMOVED, ROOT, Patient, a_patient, wait_until
from tests.eventlog.reader_contract import READERS
from tests.eventlog.tally import tally
from tests.eventlog.test_archive import damage_by, trim
from tests.faults.scarcity import can_mount
from tests.make_run import NEVER_S

Break = Callable[[Patient], object]

pytestmark = pytest.mark.processes

PRODUCED: dict[Name, list[Break]] = {}


def produces(name: Name) -> Callable[[Break], Break]:
    def register(breaks: Break) -> Break:
        PRODUCED.setdefault(name, []).append(breaks)
        return breaks

    return register


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    with a_patient(tmp_path, list_servers()[-1]) as patient:
        yield patient


# What is broken


@produces(Name.REDIS_AWAY)
def stop_redis(patient: Patient) -> None:
    patient.server.stop()


@produces(Name.REDIS_AWAY)
def mistake_the_port(patient: Patient) -> None:
    patient.url = f"redis://127.0.0.1:{free_port()}"


@produces(Name.AOF_OFF)
def switch_the_aof_off(patient: Patient) -> None:
    patient.client.config_set("appendonly", "no")


@produces(Name.FSYNC_NOT_ALWAYS)
def sync_every_second(patient: Patient) -> None:
    patient.client.config_set("appendfsync", "everysec")


@produces(Name.FSYNC_PAUSED_BY_REWRITE)
def pause_fsync(patient: Patient) -> None:
    patient.client.config_set("no-appendfsync-on-rewrite", "yes")


@produces(Name.EVICTION_POLICY)
def evict(patient: Patient) -> None:
    patient.client.config_set("maxmemory-policy", "allkeys-lru")


@produces(Name.DURABILITY_UNPROVEN)
def hide_the_settings(patient: Patient) -> None:
    forbid(patient, "config")


def forbid(patient: Patient, command: str) -> None:
    """From here on, the doctor comes as a user who may not use it."""
    patient.client.acl_setuser(
        "app", enabled=True, passwords=["+x"], keys=["*"], channels=["*"], commands=["+@all", f"-{command}"]
    )
    patient.url = patient.server.url.replace("//", "//app:x@")


@produces(Name.PERMISSIONS_MISSING)
def forbid_to_trim(patient: Patient) -> None:
    forbid(patient, "xtrim")


@produces(Name.PERMISSIONS_MISSING)
def forbid_scripts(patient: Patient) -> None:
    forbid(patient, "evalsha")


@produces(Name.PERMISSIONS_MISSING)
def forbid_to_read(patient: Patient) -> None:
    forbid(patient, "xrevrange")


@produces(Name.STRANGERS_MAY_WRITE)
def let_everybody_in(patient: Patient) -> None:
    patient.client.acl_setuser("default", enabled=True, nopass=True, keys=["*"], commands=["+@all"])


@produces(Name.REDIS_MEMORY)
def limit_memory(patient: Patient) -> None:
    used: Any = patient.client.info("memory")
    patient.client.config_set("maxmemory", int(used["used_memory"] * 1.03))


@produces(Name.IDS_AHEAD_OF_CLOCK)
def write_tomorrow(patient: Patient) -> None:
    ahead_ms = int((time.time() + 86_400) * 1000)
    patient.client.xadd(STREAM, {"EventTypeName": "ParcelLost", "Payload": '{"id":1}'}, id=f"{ahead_ms}-0")


@produces(Name.DATA_DIR_MISSING)
def mistake_the_data_dir(patient: Patient) -> None:
    patient.data_dir /= "elsewhere"


@produces(Name.LOG_MISSING)
def flush(patient: Patient) -> None:
    patient.client.flushall()


@produces(Name.LOG_DAMAGED)
def put_text_there(patient: Patient) -> None:
    patient.client.set(STREAM, "text")


@produces(Name.ENTRIES_MISSING)
def delete_what_was_applied(patient: Patient) -> None:
    first: Any = patient.client.xrange(STREAM, count=1)
    patient.client.xdel(STREAM, first[0][0])


@produces(Name.WRITES_REFUSED)
def use_up_the_ids(patient: Patient) -> None:
    patient.client.xadd(STREAM, {"x": "y"}, id="18446744073709551615-18446744073709551615")


@produces(Name.LOG_REPLACED)
def make_another_log(patient: Patient) -> None:
    patient.client.flushall()
    patient.log.create()


@produces(Name.LOG_REWOUND)
def delete_the_last(patient: Patient) -> None:
    last: Any = patient.client.xrevrange(STREAM, count=1)
    patient.client.xdel(STREAM, last[0][0])


@produces(Name.LOG_REWOUND)
def delete_what_was_not_applied_yet(patient: Patient) -> None:
    patient.tail.send_signal(signal.SIGSTOP)
    owed = publish(patient.log)
    patient.publish(1)
    patient.client.xdel(STREAM, str(owed.position))


@produces(Name.LOG_TRIMMED)
def trim_past_the_reader(patient: Patient) -> None:
    """As `eventlog trim` would record it."""
    patient.tail.kill()
    patient.tail.wait()
    up_to = publish(patient.log).position
    patient.publish(1)
    patient.client.xtrim(STREAM, maxlen=1, approximate=False)
    patient.client.hset(META, mapping={"trimmed": 4, "trimmed_to": str(up_to)})


@produces(Name.PROJECTION_UNREADABLE)
def overwrite_the_file(patient: Patient) -> None:
    patient.tail.kill()
    patient.tail.wait()
    for file in patient.directory.rglob("projection.db*"):
        file.write_bytes(b"x" * 5000)


def publish_what_nobody_can_read(patient: Patient) -> None:
    patient.client.xadd(STREAM, {"EventTypeName": "ParcelSent", "Payload": "{"})


@produces(Name.PARKED_ENTRIES)
def have_an_entry_parked(patient: Patient) -> None:
    publish_what_nobody_can_read(patient)
    patient.wait_until_applied()


@produces(Name.FAR_BEHIND)
def publish_faster_than_anybody_applies(patient: Patient) -> None:
    patient.tail.terminate()
    patient.tail.wait()
    for _ in range(10):
        patient.publish(1001)


@produces(Name.TAIL_DEAD)
def kill_the_tail(patient: Patient) -> None:
    patient.tail.kill()
    patient.tail.wait()
    let_its_heartbeat_grow_old(patient)


def let_its_heartbeat_grow_old(patient: Patient) -> None:
    long_ago = time.time() - DEAD_AFTER_S - 1
    for status in patient.directory.rglob("tail.json"):
        os.utime(status, (long_ago, long_ago))


@produces(Name.TAIL_STOPPED)
def stop_the_tail(patient: Patient) -> None:
    patient.tail.terminate()
    patient.tail.wait()


@produces(Name.TAIL_HALTED)
def replace_the_log_and_wait(patient: Patient) -> None:
    make_another_log(patient)
    patient.wait_for_tail(TailState.HALTED)


@produces(Name.TAIL_RETRYING)
def stop_redis_and_wait(patient: Patient) -> None:
    patient.server.stop()
    patient.wait_for_tail(TailState.RETRYING)


@produces(Name.TAIL_STUCK)
def pause_the_tail_and_publish(patient: Patient) -> None:
    patient.tail.send_signal(signal.SIGSTOP)
    patient.publish(1)


@produces(Name.SECOND_TAIL)
def start_a_second_tail(patient: Patient) -> None:
    second = patient.start_tail()
    assert second.stderr is not None
    assert b"waiting for it to end" in second.stderr.readline()


@produces(Name.SECOND_TAIL)
def start_a_second_tail_that_takes_no_lock(patient: Patient) -> None:
    patient.tail.kill()
    patient.tail.wait()
    let_its_heartbeat_grow_old(patient)
    for _ in range(2):
        patient.start_tail(PYTHONPATH=f"{LOCK_REMOVED}{os.pathsep}{ROOT}")
    file = Generations(patient.directory, tally).served_file
    wait_until(lambda: len({each.pid for each in list_opened([file])[file] if each.to_write}) == 2)
    patient.publish(1)
    patient.wait_until_applied()


@produces(Name.READER_GONE)
def leave_a_reader_behind(patient: Patient) -> None:
    patient.client.hset(READERS, "tally-v0", f"projection {START} 0 1000000000000")


@produces(Name.READER_UNREADABLE)
def have_a_reader_tell_nonsense(patient: Patient) -> None:
    patient.client.hset(READERS, "tally-v0", "projection")


def keep_in_archive(patient: Patient) -> Path:
    """By a process that runs, as far as its status says."""
    path = patient.data_dir / ARCHIVE_NAME
    with closing(Archive(path)) as archive:
        Archiving(patient.log, archive).run_to_head()
    TailStatusFile(path.parent).report(TailStatus(TailState.FOLLOWING))
    return path


@produces(Name.READABLE_BY_OTHERS)
def let_others_read(patient: Patient) -> None:
    """As they were made once, with umask 022."""
    for path in [patient.data_dir, *patient.data_dir.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


@produces(Name.ARCHIVE_UNUSABLE)
def delete_the_meta_of_the_archive(patient: Patient) -> None:
    damage_by("DELETE FROM meta")(keep_in_archive(patient))


@produces(Name.ARCHIVE_AWAY)
def lose_the_archive(patient: Patient) -> None:
    patient.client.hset(READERS, "archive", f"archive {START} 0 1000000000000")


SEEN_BY_OTHER_TESTS = {Name.REDIS_OUTDATED, Name.CLOCKS_DIFFER, Name.WAL_GROWN, Name.DISK_NEARLY_FULL}


@pytest.mark.parametrize(
    ("name", "breaks"),
    [
        pytest.param(name, breaks, id=breaks.__name__)
        for name, all_of in PRODUCED.items()
        for breaks in all_of
    ],
)
def test_what_is_broken_is_found_with_its_mend(name: Name, breaks: Break, patient: Patient) -> None:
    assert name not in patient.found()
    breaks(patient)
    found = patient.found()[name]
    assert len(found["detail"]) > 5
    assert len(found["mend"]) > 5


def test_everything_it_looks_for_is_produced_here() -> None:
    assert PRODUCED.keys() | SEEN_BY_OTHER_TESTS == set(Name)


# What is not


@pytest.mark.parametrize("find", [find_server, lambda: list_servers()[-1]], ids=["path", "embedded"])
def test_a_healthy_system_has_nothing_but_the_holes_of_its_redis(
    find: Callable[[], Any], tmp_path: Path
) -> None:
    server = find()
    with a_patient(tmp_path, server) as patient:
        assert set(patient.found()) == (
            {Name.REDIS_OUTDATED} if list_holes("redis", server.version) else set()
        )
        _, text = patient.ask()
    looked_for = text.splitlines()[-1]
    assert looked_for.startswith("looked for, and not found:")
    assert all(name in looked_for for name in Name if name is not Name.REDIS_OUTDATED)
    assert "not-looked-at" not in text


def test_the_doctor_changes_nothing(patient: Patient, tmp_path: Path) -> None:
    """Not even beside a file that nobody has open, as whoever opened it next might be another user."""
    patient.data_dir = tmp_path / "at rest"
    patient.directory = patient.data_dir / "post"
    with closing(ProjectionFile(patient.directory, make_post())) as file:
        Subscription(patient.log, file).run_to_head()
    publish_what_nobody_can_read(patient)

    def everything() -> tuple[dict[str, tuple[bytes, int]], dict[Any, Any]]:
        files = [path for path in patient.data_dir.rglob("*") if path.is_file()]
        return (
            {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files},
            {key: patient.client.dump(key) for key in patient.client.keys("*")},
        )

    before = everything()
    assert Name.TAIL_DEAD in patient.found()
    assert everything() == before


# What the person reads


def test_problems_come_first_each_with_its_mend_beneath_it(patient: Patient) -> None:
    leave_a_reader_behind(patient)
    have_an_entry_parked(patient)
    sync_every_second(patient)
    code, text = patient.ask()
    lines = text.splitlines()
    assert code == 3
    (fsync,) = (number for number, line in enumerate(lines) if line.startswith("problem  fsync-not-always  "))
    assert "appendfsync is 'everysec'" in lines[fsync]
    assert "write `appendfsync always` into redis.conf, and start Redis anew" in lines[fsync + 1]
    assert any(line.startswith("problem  writes-refused") for line in lines)
    said = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert said.index("warning") == said.count("problem"), "problems come first"
    assert any(line.startswith("problem  parked-entries  services/tally: 1 entry parked") for line in lines)
    assert any(line.startswith("warning  reader-gone  tally-v0 ") for line in lines)


def test_mend_of_parked_entries_works_as_it_is_said_for_a_projection_that_has_no_service(
    patient: Patient,
) -> None:
    have_an_entry_parked(patient)
    mend = patient.found()[Name.PARKED_ENTRIES]["mend"]
    assert mend == "look at `eventlog parked`, then `eventlog parked acknowledge tally`"
    acknowledge = mend.split("`")[3].removeprefix("eventlog ").split()
    CliRunner().invoke(main, [*acknowledge, "--redis-url", patient.url, "--data-dir", str(patient.data_dir)])
    assert Name.PARKED_ENTRIES not in patient.found()


def test_redis_is_looked_at_before_anything_was_ever_started(patient: Patient) -> None:
    mistake_the_data_dir(patient)
    code, text = patient.ask()
    assert (code, "set DATA_DIR to that of the services" in text) == (3, True)
    pause_fsync(patient)
    flush(patient)
    assert {Name.DATA_DIR_MISSING, Name.FSYNC_PAUSED_BY_REWRITE, Name.LOG_MISSING} <= patient.found().keys()
    assert not patient.data_dir.exists()


def test_mend_of_an_aof_that_is_off_works_as_it_is_said(patient: Patient) -> None:
    switch_the_aof_off(patient)
    mend = patient.found()[Name.AOF_OFF]["mend"]
    setting, before, after = mend.split("`")[1::2]
    assert setting == "appendonly yes"  # as this server's redis.conf has it

    def follow(command: str) -> None:
        words = [*command.split()[1:], "--redis-url", patient.url, "--data-dir", str(patient.data_dir)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output

    follow(before)
    entries = patient.log.state().entries
    patient.server.stop()
    for kept in patient.server.directory.glob("appendonly*"):
        shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
    patient.server.start()
    assert Name.LOG_REPLACED in patient.found()
    follow(after)
    patient.wait_until_applied()
    assert patient.log.state().entries == entries
    assert not {Name.AOF_OFF, Name.LOG_REPLACED, Name.TAIL_HALTED} & patient.found().keys()


def test_mend_of_several_findings_is_said_once_beneath_them(patient: Patient) -> None:
    replace_the_log_and_wait(patient)
    _, text = patient.ask()
    lines = text.splitlines()
    replaced, halted, mend = lines[:3]
    assert {replaced.split()[1], halted.split()[1]} == {Name.LOG_REPLACED, Name.TAIL_HALTED}
    assert "eventlog init --adopt" in mend
    assert text.count("eventlog init --adopt") == 1
    assert "init --adopt" in patient.found()[Name.TAIL_HALTED]["mend"]


def test_reader_that_is_gone_is_named_with_what_is_kept_for_it_and_is_only_a_warning(
    patient: Patient,
) -> None:
    leave_a_reader_behind(patient)
    gone = patient.found()[Name.READER_GONE]
    assert gone["severity"] == Severity.WARNING
    assert "tally-v0 (projection, at 0-0) was last heard of at 2001-09-09 01:46:40 UTC" in gone["detail"]
    assert "keeps 3 entries that it has not got, about 0.0 MiB" in gone["detail"]
    assert patient.ask()[0] == 0
    command = gone["mend"].partition("for good: eventlog ")[2].split()
    CliRunner().invoke(main, [*command, "--redis-url", patient.url])
    assert Name.READER_GONE not in patient.found()


def test_a_paused_tail_that_holds_the_lock_is_named(patient: Patient) -> None:
    patient.tail.send_signal(signal.SIGSTOP)
    let_its_heartbeat_grow_old(patient)
    dead = patient.found()[Name.TAIL_DEAD]
    assert f"process {patient.tail.pid} holds its lock" in dead["detail"]
    assert f"kill -CONT {patient.tail.pid}" in dead["mend"]


def test_a_redis_that_hangs_is_told_from_one_that_is_not_there(patient: Patient) -> None:
    os.kill(patient.server.pid, signal.SIGSTOP)
    try:
        hangs = patient.found()[Name.REDIS_AWAY]
    finally:
        os.kill(patient.server.pid, signal.SIGCONT)
    assert "it hangs or is paused" in hangs["detail"]
    assert hangs["mend"].startswith("kill -CONT its process, or kill -9")
    patient.server.stop()
    away = patient.found()[Name.REDIS_AWAY]
    assert "hangs" not in away["detail"]
    assert away["mend"].startswith("start Redis")


def test_a_tail_that_was_just_killed_is_dead_at_once(patient: Patient) -> None:
    patient.tail.kill()
    patient.tail.wait()
    patient.publish(1)
    found = patient.found()
    assert "nobody holds its lock; the last sign of life was" in found[Name.TAIL_DEAD]["detail"]
    assert "start the tail" in found[Name.TAIL_DEAD]["mend"]
    assert not {Name.SECOND_TAIL, Name.TAIL_STUCK} & found.keys()


def test_both_tails_are_named(patient: Patient) -> None:
    start_a_second_tail(patient)
    second = patient.started[-1]
    found = patient.found()[Name.SECOND_TAIL]
    assert found["severity"] == Severity.WARNING
    assert f"process {second.pid} waits for the lock that {patient.tail.pid} holds" in found["detail"]


def test_a_server_that_hides_what_it_is_is_not_called_healthy(patient: Patient) -> None:
    forbid(patient, "info")
    code, text = patient.ask()
    assert code == 0
    unseen = {word for line in text.splitlines() if line.startswith("not-looked-at") for word in line.split()}
    assert {Name.REDIS_MEMORY, Name.REDIS_OUTDATED, Name.IDS_AHEAD_OF_CLOCK, Name.DISK_NEARLY_FULL} < unseen


def test_ctrl_c_is_one_line(patient: Patient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        program = "from eventlog.cli import main; main()"
        asked = patient.start("-c", program, "doctor", "--redis-port", port, "--data-dir", patient.data_dir)
        connection, _ = silent.accept()
        with connection:  # it asks, and waits
            asked.send_signal(signal.SIGINT)
            out, told = asked.communicate(timeout=NEVER_S)
    assert (asked.returncode, out) == (130, b"")
    assert told == b"stopped before it was done; nothing was changed\n"


# What needs a limit, a clock or a disk of its own


def named(findings: list[Finding], name: Name) -> list[Finding]:
    return [
        each
        for each in findings
        if each.name is name and each.severity in {Severity.PROBLEM, Severity.WARNING}
    ]


@pytest.mark.parametrize(("hours", "where"), [(1, "ahead of"), (-1, "behind")])
def test_clocks_that_differ_are_found(hours: int, where: str, patient: Patient) -> None:
    findings = examine(
        patient.log, patient.data_dir, clock=lambda: datetime.now(UTC) + timedelta(hours=hours)
    )
    (found,) = named(findings, Name.CLOCKS_DIFFER)
    assert where in found.detail


def test_a_wal_that_a_reader_holds_open_is_found_with_the_reader(patient: Patient) -> None:
    limits = Limits(wal_bytes=100_000)
    assert not named(examine(patient.log, patient.data_dir, limits), Name.WAL_GROWN)
    (file,) = patient.directory.rglob("projection.db")
    program = (
        "import sqlite3, sys; c = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, isolation_level=None);"
        "c.execute('BEGIN'); print(c.execute('SELECT count(*) FROM checkpoint').fetchone(), flush=True); input()"
    )
    reader = patient.start("-c", program, file)
    assert reader.stdout is not None
    reader.stdout.readline()
    while file.with_name("projection.db-wal").stat().st_size <= limits.wal_bytes:
        patient.publish(1)
        patient.wait_until_applied()
    (found,) = named(examine(patient.log, patient.data_dir, limits), Name.WAL_GROWN)
    assert f"read by process {reader.pid}" in found.detail


def test_a_disk_with_less_than_it_should_is_found(patient: Patient) -> None:
    (found,) = named(examine(patient.log, patient.data_dir, Limits(free_share=1.0)), Name.DISK_NEARLY_FULL)
    assert str(patient.data_dir) in found.detail


def test_a_small_disk_is_found(patient: Patient, tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("not run: as root on Linux, with mounts of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    doctor = "from eventlog.cli import main; main()"
    script = 'mount -t tmpfs -o size=64m tmpfs "$1" && shift && exec "$@"'
    asked: list[str | Path] = [
        sys.executable,
        "-c",
        doctor,
        "doctor",
        "--redis-url",
        patient.url,
        "--data-dir",
        disk,
    ]
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", disk, *asked],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (answer.returncode, "warning  disk-nearly-full" in answer.stdout) == (0, True), answer
    assert f"of 67,108,864 bytes are free for DATA_DIR ({disk})" in answer.stdout


@pytest.mark.parametrize(
    ("program", "version", "open_holes"),
    [
        ("redis", (6, 2, 14), 4),
        ("redis", (6, 2, 20), 0),
        ("redis", (7, 0, 15), 4),
        ("redis", (7, 2, 10), 1),
        ("redis", (8, 2, 2), 1),
        ("redis", (8, 2, 3), 0),
        ("redis", (8, 4, 0), 0),
        ("valkey", (8, 0, 5), 1),
        ("valkey", (8, 0, 6), 0),
        ("another", (1, 0, 0), 0),
    ],
    ids=str,
)
def test_holes_are_known_by_release(program: str, version: tuple[int, ...], open_holes: int) -> None:
    assert len(list_holes(program, version)) == open_holes


def test_an_old_redis_is_found_with_the_release_to_install(patient: Patient) -> None:
    version: Any = patient.client.info("server")
    if not list_holes("redis", tuple(map(int, version["redis_version"].split(".")))):
        pytest.skip("not run: the Redis here has no known holes")
    old = patient.found()[Name.REDIS_OUTDATED]
    assert version["redis_version"] in old["detail"]
    assert "CVE-2025-49844" in old["detail"]
    assert "install redis " in old["mend"]


def test_files_that_others_can_read_are_found_while_they_can_come_by_them(patient: Patient) -> None:
    let_others_read(patient)
    (patient.data_dir / "jwks.json").touch(0o644)
    found = patient.found()[Name.READABLE_BY_OTHERS]
    assert "may read 3 files" in found["detail"], "the database, its WAL and its index"
    assert str(Generations(patient.directory, tally).served_file.resolve()) in found["detail"]
    assert found["mend"].startswith(f"`chmod 700 {patient.data_dir}`")
    patient.data_dir.chmod(0o700)
    assert Name.READABLE_BY_OTHERS not in patient.found()
    patient.data_dir.chmod(0o755)
    patient.directory.chmod(0o750)
    assert Name.READABLE_BY_OTHERS not in patient.found()
    patient.directory.chmod(0o755)
    for file in patient.directory.rglob("projection.db*"):
        file.chmod(0o640)
    assert Name.READABLE_BY_OTHERS not in patient.found()


def test_archive_without_its_process_is_found(patient: Patient) -> None:
    path = patient.data_dir / ARCHIVE_NAME
    with closing(Archive(path)) as archive:
        Archiving(patient.log, archive).run_to_head()
    dead = patient.found()[Name.TAIL_DEAD]
    assert (dead["detail"].startswith("archive: "), "`eventlog archive`" in dead["mend"]) == (True, True)
    status = TailStatusFile(path.parent)
    status.report(TailStatus(TailState.FOLLOWING))
    assert patient.found().keys() <= {Name.REDIS_OUTDATED}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE checkpoint SET log_id = 'x'")
    status.report(TailStatus(TailState.FOLLOWING))
    replaced = patient.found()[Name.LOG_REPLACED]
    assert replaced["detail"].startswith("archive: ")
    assert "verify --repair" not in replaced["mend"]
    assert "move DATA_DIR/archive aside" in replaced["mend"]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM entries WHERE sequence = 2",
        "DELETE FROM entries WHERE sequence = 3",
        "UPDATE entries SET fields = x'92a161a162' WHERE sequence = 3",
        "UPDATE seal SET link = zeroblob(32)",
        "UPDATE checkpoint SET version = 1",
        "DROP TABLE seal",
    ],
)
def test_altered_archive_is_found(patient: Patient, sql: str) -> None:
    """As far as can be told without reading it all; it names the command that does."""
    path = keep_in_archive(patient)
    assert Name.ARCHIVE_UNUSABLE not in patient.found()
    assert "`eventlog archive --check` does" in patient.ask()[1]
    damage_by(sql)(path)
    assert str(path) in patient.found()[Name.ARCHIVE_UNUSABLE]["detail"]


def test_archive_that_lacks_what_was_trimmed_is_found_with_its_own_mend(patient: Patient) -> None:
    path = patient.data_dir / ARCHIVE_NAME
    Archive(path).close()
    trim(patient.client, 2)
    TailStatusFile(path.parent).report(
        halted(wrong_log(Divergence(Verdict.TRIMMED, "told before"), Checkpoint("archive", 2)))
    )
    found = patient.found()
    trimmed, stands = found[Name.LOG_TRIMMED], found[Name.TAIL_HALTED]
    assert f"{path} has kept nothing yet, so what was trimmed of log" in trimmed["detail"]
    assert trimmed["mend"].startswith("Put back the archive that has it (DATA_DIR/archive)")
    assert stands["mend"] == trimmed["mend"]
    assert stands["detail"] == "archive: it keeps nothing until what it says is mended: trimmed: told before"
