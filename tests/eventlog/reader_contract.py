"""What readers make known and what a trim may free, on every server that holds a log."""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from eventlog import START, EventLog, Position, ProjectionFile, Subscription
from eventlog.continuity import Verdict
from eventlog.errors import Conflict, LogUnavailable, ReaderUnreadable, TrimRefused, WrongLog
from eventlog.log_subjects import LogSubjects
from eventlog.reader_report import REPORT_EVERY_S, REPORT_IDLE_EVERY_S, ReaderReport
from eventlog.readers import ReaderKind, WhyKept
from eventlog.trimming import Keep, Trim, trim
from tests.eventlog.log_contract import (
    META,
    STREAM,
    SUBJECTS,
    add_foreign,
    add_many_foreign,
    everything,
    moment,
    publish,
)
from tests.eventlog.parcels import ParcelLost, a_parcel_sent, make_post

READERS = "{event-stream}:readers"


def positions(log: EventLog) -> list[Position]:
    return [entry.position for entry in log.read(count=1_000_000)]


def report(
    log: EventLog, name: str, number: int, kind: ReaderKind = ReaderKind.PROJECTION, log_id: str | None = None
) -> bool:
    """A reader that has the first `number` entries that there ever were."""
    state = log.state()
    entries = positions(log)
    position = entries[number - state.trimmed - 1] if number else START
    return log.readers.report(
        name, kind, position=position, sequence=number, log_id=log_id or state.log_id or ""
    )


def archive(log: EventLog, number: int) -> None:
    assert report(log, "archive", number, ReaderKind.ARCHIVE)


def publish_many(log: EventLog, count: int) -> None:
    first = log.state().sequence + 1
    publish(log, *(a_parcel_sent(number) for number in range(first, first + count)))


def groups(client: redis.Redis) -> dict[str, dict[str, Any]]:
    found: Any = client.xinfo_groups(STREAM)
    return {group["name"].decode(): group for group in found}


def verdict_of(log: EventLog, file: ProjectionFile) -> Verdict:
    try:
        Subscription(log, file).run_to_head()
    except WrongLog as wrong:
        return wrong.verdict
    return Verdict.SAME


def require_whole(log: EventLog) -> None:
    """The count fits, the log can be written, and `init` finds it whole."""
    state = log.state()
    assert state.missing == 0
    assert log.create() == state.log_id
    log.check_writable()


class ReaderContract(ABC):
    @pytest.fixture
    @abstractmethod
    def pool(self) -> Any:
        """Connections to a server of this kind, emptied."""

    # Made known

    def test_reader_is_known_with_how_far_it_is_and_when_it_said_so(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish_many(log, 3)
        before = log.now()
        assert report(log, "post-v1", 2)
        archive(log, 1)
        slowest, post = log.readers.list_all()
        assert (slowest.name, slowest.kind) == ("archive", ReaderKind.ARCHIVE)
        assert (post.name, post.kind, post.sequence) == ("post-v1", ReaderKind.PROJECTION, 2)
        assert post.position == positions(log)[1]
        assert post.count_behind(log.state()) == 1
        for _ in range(2):
            add_foreign(client)
        assert post.count_behind(log.state()) == 3  # those nobody has counted yet, too
        assert before - timedelta(milliseconds=1) <= post.seen_at <= log.now()
        assert groups(client)["post-v1"]["last-delivered-id"].decode() == str(post.position)
        assert groups(client)["post-v1"]["consumers"] == 0

    def test_reader_that_begins_anew_is_known_where_it_is_now(self, log: EventLog) -> None:
        publish_many(log, 3)
        report(log, "post-v1", 3)
        report(log, "post-v1", 0)
        assert [(reader.position, reader.sequence) for reader in log.readers.list_all()] == [(START, 0)]

    def test_reader_of_another_log_does_nothing(self, log: EventLog, client: redis.Redis) -> None:
        publish_many(log, 3)
        before = everything(client)
        assert report(log, "post-v1", 2, log_id="f" * 32) is False
        assert everything(client) == before

    @pytest.mark.parametrize("doing", ["flush", "delete", "rename"])
    def test_vanished_log_is_not_made_again_by_its_readers(
        self, log: EventLog, client: redis.Redis, doing: str
    ) -> None:
        publish_many(log, 3)
        report(log, "post-v1", 2)
        log_id, position = log.create(), positions(log)[2]
        match doing:
            case "flush":
                client.flushall()
            case "delete":
                client.delete(STREAM)
            case _:
                client.rename(STREAM, "elsewhere")
        before = everything(client)
        told = log.readers.report(
            "post-v1", ReaderKind.PROJECTION, position=position, sequence=3, log_id=log_id
        )
        assert told is False
        log.readers.remove("other")
        assert everything(client) == before
        assert log.state().stream_exists is False

    def test_removed_reader_is_forgotten_with_its_group_and_no_other(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish_many(log, 3)
        client.xgroup_create(STREAM, "somebody's", "0")
        report(log, "post-v1", 2)
        assert log.readers.remove("post-v1") is True
        assert log.readers.list_all() == []
        assert groups(client).keys() == {"somebody's"}
        assert log.readers.remove("post-v1") is False
        assert log.readers.remove("somebody's") is False
        assert groups(client).keys() == {"somebody's"}

    def test_new_log_made_of_the_old_has_none_of_its_readers(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish_many(log, 3)
        client.xgroup_create(STREAM, "somebody's", "0")
        report(log, "post-v1", 2)
        former = log.create()
        log.create(adopt=True)
        assert log.readers.list_all() == []
        assert groups(client).keys() == {"somebody's"}
        assert report(log, "post-v1", 2, log_id=former) is False

    @pytest.mark.parametrize("junk", [b"junk", b"", b"projection 5 1 1", b"\xff\xfe", b"nobody 1-1 1 1"])
    def test_reader_that_cannot_be_read_is_named_and_nothing_is_freed(
        self, log: EventLog, client: redis.Redis, junk: bytes
    ) -> None:
        publish_many(log, 3)
        archive(log, 3)
        client.hset(READERS, "odd", junk)
        with pytest.raises(ReaderUnreadable, match="eventlog readers remove odd"):
            log.readers.list_all()
        with pytest.raises((ReaderUnreadable, TrimRefused), match="odd"):
            trim(log, Keep(entries=0))
        assert client.xlen(STREAM) == 3
        assert log.readers.remove("odd")
        assert len(log.readers.list_all()) == 1

    # Made known by the way

    def test_report_speaks_once_a_second_while_it_moves_and_every_half_minute_while_idle(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        now_s = 100.0
        with (
            closing(ProjectionFile(tmp_path, make_post())) as file,
            closing(
                ReaderReport(log, "post-v1", ReaderKind.PROJECTION, clock_s=lambda: now_s)
            ) as reader_report,
        ):

            def known_after(seconds: float, published: int) -> int:
                """How far it is known to be, that much later."""
                nonlocal now_s
                for _ in range(published):
                    publish(log, a_parcel_sent(log.state().sequence + 1))
                Subscription(log, file).run_to_head()
                now_s += seconds
                reader_report.tell(file.checkpoint())
                return sum(reader.sequence for reader in log.readers.list_all())

            assert known_after(0, 1) == 1
            assert known_after(REPORT_EVERY_S / 2, 1) == 1
            assert known_after(REPORT_EVERY_S / 2, 1) == 3
            log.readers.remove("post-v1")
            assert known_after(REPORT_IDLE_EVERY_S / 2, 0) == 0
            assert known_after(REPORT_IDLE_EVERY_S / 2, 0) == 3

    def test_log_that_forgot_its_readers_is_told_at_once(self, log: EventLog, tmp_path: Path) -> None:
        """As after `eventlog reseed`: known by its floor, or by the trouble that went before."""
        publish_many(log, 1)
        now_s = 0.0
        with (
            closing(ProjectionFile(tmp_path, make_post())) as file,
            closing(ReaderReport(log, "post-v1", ReaderKind.PROJECTION, clock_s=lambda: now_s)) as known,
        ):
            Subscription(log, file).run_to_head()
            known.tell(file.checkpoint())
            log.readers.remove("post-v1")
            now_s = REPORT_EVERY_S
            known.tell(file.checkpoint())
            assert log.readers.list_all() == []
            known.tell(file.checkpoint(), file.checkpoint().position)
            assert [reader.sequence for reader in log.readers.list_all()] == [1]
            log.readers.remove("post-v1")
            known.tell_anew()
            known.tell(file.checkpoint(), file.checkpoint().position)
            assert [reader.sequence for reader in log.readers.list_all()] == [1]

    def test_report_that_fails_is_logged_once_and_tried_again(
        self, log: EventLog, client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        publish_many(log, 1)
        client.set(READERS, "text")
        now_s = 0.0
        caplog.set_level(logging.WARNING)
        with (
            closing(ProjectionFile(tmp_path, make_post())) as file,
            closing(
                ReaderReport(log, "post-v1", ReaderKind.PROJECTION, clock_s=lambda: now_s)
            ) as reader_report,
        ):
            Subscription(log, file).run_to_head()
            for _ in range(5):
                reader_report.tell(file.checkpoint())
                now_s += REPORT_IDLE_EVERY_S
            client.delete(READERS)
            reader_report.tell(file.checkpoint())
        assert [reader.sequence for reader in log.readers.list_all()] == [1]
        assert len([record for record in caplog.records if "cannot make known" in record.message]) == 1

    # Trimmed

    def test_nothing_is_freed_where_no_archive_is_known(self, log: EventLog, client: redis.Redis) -> None:
        publish_many(log, 3)
        report(log, "post-v1", 3)
        with pytest.raises(TrimRefused, match="start the archive: `eventlog archive`"):
            trim(log, Keep(entries=1))
        assert client.xlen(STREAM) == 3
        require_whole(log)

    def test_oldest_entries_are_freed_and_the_log_goes_on(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        publish_many(log, 2500)
        archive(log, 2500)
        entries = positions(log)
        freed: list[tuple[int, int]] = []
        done = trim(log, Keep(entries=100), progress=lambda *told: freed.append(told))
        assert (done.freed, done.left, done.why_kept, done.bounded_by) == (2400, 100, WhyKept.KEEP, None)
        assert freed == [(1000, 2400), (2000, 2400), (2400, 2400)]
        state = log.state()
        assert (state.trimmed, state.sequence, state.entries) == (2400, 2500, 100)
        assert done.first_kept == str(state.trimmed_to) == str(positions(log)[0])
        require_whole(log)
        decided_at = moment(log)
        assert publish(log, decided_at=decided_at._replace(position=entries[5])).sequence == 2501
        with closing(ProjectionFile(tmp_path, make_post())) as file:
            assert verdict_of(log, file) is Verdict.TRIMMED

    def test_subjects_whose_last_touch_was_trimmed_are_forgotten_and_guard_all_the_same(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        before = moment(log)
        many = [range(first, min(first + 50, 998)) for first in range(0, 998, 50)]
        for numbers in (*many, [998], [999]):
            touched = [f"parcel-{number}" for number in numbers]
            publish(log, *map(a_parcel_sent, numbers), touches=touched)
            publish(log, *(ParcelLost(id=number) for number in numbers), guards=touched, touches=touched)
        archive(log, 2000)
        on_what_goes = before._replace(position=positions(log)[500])
        assert trim(log, Keep(entries=3), dry_run=True).subjects == 998
        assert client.hlen(SUBJECTS) == 1001
        assert trim(log, Keep(entries=3)).subjects == 998
        assert sorted(client.hkeys(SUBJECTS)) == [b"", b"parcel-998", b"parcel-999"]
        for stale in (before, on_what_goes):
            with pytest.raises(Conflict) as conflict:
                publish(log, decided_at=stale, guards=["parcel-7"])
            assert (conflict.value.subject, conflict.value.position) == ("parcel-7", log.state().trimmed_to)
        decided_at = moment(log)
        touched = ["parcel-7"]
        publish(log, decided_at=decided_at, guards=touched, touches=touched)
        with pytest.raises(Conflict):
            publish(log, decided_at=decided_at, guards=touched)
        assert trim(log, Keep(entries=4)).subjects == 0
        require_whole(log)

    def test_subject_that_is_touched_while_others_are_forgotten_is_kept(
        self, log: EventLog, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            publish(log, a_parcel_sent(number), touches=[f"parcel-{number}"])
        archive(log, 3)
        look = LogSubjects.touched_before

        def touch_one_then(subjects: LogSubjects, position: Position) -> Iterator[list[bytes]]:
            for page in look(subjects, position):
                publish(log, ParcelLost(id=0), touches=["parcel-0"])
                yield page

        monkeypatch.setattr(LogSubjects, "touched_before", touch_one_then)
        assert trim(log, Keep(entries=1)).subjects == 1
        assert sorted(client.hkeys(SUBJECTS)) == [b"", b"parcel-0", b"parcel-2"]

    def test_what_the_slowest_reader_has_not_got_stays_with_its_checkpoint(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        publish_many(log, 5)
        with closing(ProjectionFile(tmp_path, make_post())) as file:
            assert verdict_of(log, file) is Verdict.SAME
            report(log, "post-v1", 5)
            publish_many(log, 5)
            archive(log, 10)
            done = trim(log, Keep(entries=0))
            assert (done.freed, done.bounded_by, done.why_kept) == (4, "post-v1", WhyKept.READER)
            assert verdict_of(log, file) is Verdict.SAME
            assert file.checkpoint().sequence == 10
            require_whole(log)

    def test_reader_that_was_removed_by_hand_finds_what_it_lacks_trimmed(
        self, log: EventLog, tmp_path: Path
    ) -> None:
        publish_many(log, 5)
        with closing(ProjectionFile(tmp_path, make_post())) as file:
            assert verdict_of(log, file) is Verdict.SAME
            report(log, "post-v1", 5)
            publish_many(log, 5)
            archive(log, 10)
            log.readers.remove("post-v1")
            assert trim(log, Keep(entries=2)).freed == 8
            with pytest.raises(
                WrongLog, match=r"no archive was named .* EventLog.connect\(…, archive=FILE\)"
            ) as halt:
                Subscription(log, file).run_to_head()
            assert halt.value.verdict is Verdict.TRIMMED
            assert file.checkpoint().sequence == 5

    def test_rebuild_that_has_only_begun_holds_everything(self, log: EventLog) -> None:
        publish_many(log, 5)
        archive(log, 5)
        report(log, "post-v2-rebuild", 0, ReaderKind.REBUILD)
        done = trim(log, Keep(entries=1))
        assert (done.freed, done.bounded_by) == (0, "post-v2-rebuild")
        assert log.state().trimmed_to == START

    def test_what_nobody_counted_yet_is_counted_and_freed_but_for_the_last(
        self, log: EventLog, client: redis.Redis, tmp_path: Path
    ) -> None:
        """Counting happens when something is published; a log that only others write to is trimmed all the same."""
        publish_many(log, 1)
        decided_at = moment(log)
        with (
            closing(ProjectionFile(tmp_path / "a", make_post())) as fast,
            closing(ProjectionFile(tmp_path / "b", make_post())) as slow,
        ):
            self.follow(log, slow, "slow", ReaderKind.PROJECTION, 1)
            add_many_foreign(client, 2300)
            self.follow(log, fast, "archive", ReaderKind.ARCHIVE, 5000)
            assert trim(log, Keep(entries=0)).bounded_by == "slow"
            assert log.state().sequence == 1, "nothing was freed for which it would have to be counted"
            self.follow(log, slow, "slow", ReaderKind.PROJECTION, 2200)
            done = trim(log, Keep(entries=0))
            assert (done.freed, done.left, done.bounded_by) == (2200, 101, "slow")
            require_whole(log)
            self.follow(log, slow, "slow", ReaderKind.PROJECTION, 5000)
            assert (trim(log, Keep(entries=0), dry_run=True).freed, log.state().entries) == (100, 101)
            done = trim(log, Keep(entries=0))
            assert (done.freed, done.left, done.why_kept) == (100, 1, WhyKept.LAST)
            require_whole(log)
            with pytest.raises(Conflict):
                publish(log, a_parcel_sent(2), decided_at=decided_at)
            assert publish(log).sequence == 2302
            assert verdict_of(log, slow) is verdict_of(log, fast) is Verdict.SAME
            assert slow.checkpoint().sequence == fast.checkpoint().sequence == 2302

    def test_log_of_foreign_entries_alone_is_trimmed_to_its_last(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        add_many_foreign(client, 2300)
        archive(log, 2300)
        assert trim(log, Keep(entries=0), dry_run=True).freed == 2299
        assert trim(log, Keep(entries=0)).freed == 2299
        require_whole(log)
        assert publish(log).sequence == 2301

    def test_empty_log_is_left_alone(self, log: EventLog) -> None:
        archive(log, 0)
        done = trim(log, Keep(entries=0))
        assert (done.freed, done.left, done.first_kept) == (0, 0, None)
        require_whole(log)

    def test_entries_younger_than_an_age_stay(self, log: EventLog, client: redis.Redis) -> None:
        client.flushall()
        now = int(log.now().timestamp() * 1000)
        for seconds_ago in (7200, 3700, 3500):
            add_foreign(client, f"{now - seconds_ago * 1000}-0")
        log.create(adopt=True)
        publish_many(log, 1)
        archive(log, 4)
        assert trim(log, Keep(age=timedelta(hours=1))).freed == 2
        require_whole(log)

    def test_dry_run_says_what_would_be_freed_and_frees_nothing(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish_many(log, 2300)
        archive(log, 2250)
        before = everything(client)
        for keep, entries in ((Keep(entries=200), 2100), (Keep(entries=0), 2249), (Keep(entries=5000), 0)):
            dry: Trim = trim(log, keep, dry_run=True)
            assert (dry.freed, dry.left, dry.dry_run) == (entries, 2300 - entries, True)
        assert everything(client) == before
        assert trim(log, Keep(entries=200)).freed == 2100

    def test_reader_not_seen_for_over_an_hour_is_named_and_holds_what_it_lacks(
        self, log: EventLog, client: redis.Redis
    ) -> None:
        publish_many(log, 5)
        archive(log, 5)
        report(log, "gone", 2)
        an_hour_ago = int(log.now().timestamp() * 1000) - 3_601_000
        position = positions(log)[1]
        client.hset(READERS, "gone", f"projection {position} 2 {an_hour_ago}")
        done = trim(log, Keep(entries=0))
        assert (done.freed, done.bounded_by) == (1, "gone")
        assert [(unseen.name, unseen.position) for unseen in done.unseen] == [("gone", str(position))]
        log.readers.remove("gone")
        again = trim(log, Keep(entries=0))
        assert (again.freed, again.unseen) == (3, [])

    @pytest.mark.parametrize("doing", ["replaced", "deleted", "last own gone", "no log"])
    def test_log_that_is_not_whole_is_not_trimmed(
        self, log: EventLog, client: redis.Redis, doing: str
    ) -> None:
        publish_many(log, 3)
        archive(log, 3)
        log_id = log.create()
        match doing:
            case "replaced":
                client.hset(META, "log_id", "f" * 32)
            case "deleted":
                client.delete(STREAM)
            case "last own gone":
                client.xdel(STREAM, str(positions(log)[2]))
            case _:
                client.hdel(META, "log_id")
        before = everything(client)
        with pytest.raises(WrongLog):
            log.readers.free_some(log_id)
        assert everything(client) == before

    @pytest.mark.parametrize("seed", range(5))
    def test_log_stays_whole_and_its_followers_follow_whatever_is_trimmed(
        self, log: EventLog, client: redis.Redis, tmp_path: Path, seed: int
    ) -> None:
        """Random entries of ours and of others, readers that lag, and trims in between."""
        chance = random.Random(seed)
        with (
            closing(ProjectionFile(tmp_path / "a", make_post())) as fast,
            closing(ProjectionFile(tmp_path / "b", make_post())) as slow,
        ):
            for _ in range(120):
                match chance.choice(["ours", "foreign", "fast", "slow", "trim"]):
                    case "ours":
                        publish_many(log, chance.randrange(1, 4))
                    case "foreign":
                        add_foreign(client)
                    case "fast":
                        self.follow(log, fast, "archive", ReaderKind.ARCHIVE, 1000)
                    case "slow":
                        self.follow(log, slow, "slow", ReaderKind.PROJECTION, 1)
                    case _:
                        if {reader.name for reader in log.readers.list_all()} == {"archive", "slow"}:
                            trim(log, Keep(entries=chance.randrange(4)))
                require_whole(log)
            assert verdict_of(log, fast) is verdict_of(log, slow) is Verdict.SAME
            assert fast.checkpoint()[2:] == slow.checkpoint()[2:]
            assert log.state().trimmed > 0

    @staticmethod
    def follow(log: EventLog, file: ProjectionFile, name: str, kind: ReaderKind, batch_size: int) -> None:
        Subscription(log, file, batch_size=batch_size).run_once()
        checkpoint = file.checkpoint()
        assert log.readers.report(
            name, kind, position=checkpoint.position, sequence=checkpoint.sequence, log_id=checkpoint.log_id
        )


class RealServerReaderContract(ReaderContract):
    """What needs settings, memory or a true XINFO to show."""

    @pytest.fixture
    def counts_lag(self, client: redis.Redis) -> bool:
        version: Any = client.info("server")
        return int(version["redis_version"].split(".")[0]) >= 7

    def require_lag(self, client: redis.Redis, name: str, lag: int, counts_lag: bool) -> None:
        assert groups(client)[name].get("lag") == (lag if counts_lag else None)

    def test_xinfo_groups_shows_the_true_lag(
        self, log: EventLog, client: redis.Redis, counts_lag: bool
    ) -> None:
        report(log, "post-v1", 0)
        self.require_lag(client, "post-v1", 0, counts_lag)
        publish_many(log, 2500)
        self.require_lag(client, "post-v1", 2500, counts_lag)
        for number in (0, 1, 1400, 2499, 2500):
            report(log, "post-v1", number)
            self.require_lag(client, "post-v1", 2500 - number, counts_lag)
        add_foreign(client)
        self.require_lag(client, "post-v1", 1, counts_lag)
        report(log, "post-v1", 2400)
        self.require_lag(client, "post-v1", 101, counts_lag)
        report(log, "post-v1", 100)
        self.require_lag(client, "post-v1", 2401, counts_lag)

    def test_lag_is_true_after_a_trim_too(self, log: EventLog, client: redis.Redis, counts_lag: bool) -> None:
        publish_many(log, 3000)
        archive(log, 3000)
        report(log, "post-v1", 1500)
        assert trim(log, Keep(entries=0)).freed == 1499
        self.require_lag(client, "post-v1", 1500, counts_lag)
        for number in (1500, 1700, 2999):
            report(log, "post-v1", number)
            self.require_lag(client, "post-v1", 3000 - number, counts_lag)
        require_whole(log)

    def test_lag_is_true_where_redis_counted_more_than_the_log(
        self, log: EventLog, client: redis.Redis, counts_lag: bool
    ) -> None:
        """Entries were there and gone before the log was made of what is left."""
        publish_many(log, 10)
        client.xtrim(STREAM, maxlen=4, approximate=False)
        log.create(adopt=True)
        publish_many(log, 1)
        for number in (0, 2, 5):
            report(log, "post-v1", number)
            self.require_lag(client, "post-v1", 5 - number, counts_lag)

    def test_lag_is_true_in_a_stream_that_was_restored(
        self, log: EventLog, client: redis.Redis, counts_lag: bool
    ) -> None:
        publish_many(log, 10)
        report(log, "post-v1", 3)
        dumped = client.dump(STREAM)
        assert dumped is not None
        client.restore(STREAM, 0, dumped, replace=True)
        report(log, "post-v1", 4)
        self.require_lag(client, "post-v1", 6, counts_lag)

    @pytest.mark.parametrize("trouble", ["no memory", "read-only"])
    def test_server_that_takes_no_writes_is_left_as_it_is(
        self, log: EventLog, client: redis.Redis, trouble: str
    ) -> None:
        publish_many(log, 3)
        report(log, "post-v1", 1)
        before = everything(client)
        if trouble == "no memory":
            client.config_set("maxmemory", 1)
        else:
            client.replicaof("127.0.0.1", "1")
        try:
            for name in ("post-v1", "new"):
                with pytest.raises(LogUnavailable):
                    report(log, name, 2)
        finally:
            client.config_set("maxmemory", 0)
            client.replicaof("NO", "ONE")
        assert everything(client) == before
        assert report(log, "post-v1", 2)

    def test_server_without_memory_can_be_trimmed(self, log: EventLog, client: redis.Redis) -> None:
        """That is when it is needed most."""
        publish_many(log, 1500)
        archive(log, 1500)
        client.config_set("maxmemory", 1)
        try:
            assert trim(log, Keep(entries=100)).freed == 1400
        finally:
            client.config_set("maxmemory", 0)
        assert log.state().trimmed == 1400
        require_whole(log)

    def test_stream_is_made_as_small_as_was_asked(self, log: EventLog) -> None:
        for _ in range(10):
            publish_many(log, 1000)
        archive(log, 10_000)
        size = log.memory.stream_bytes()
        assert size is not None
        done = trim(log, Keep(stream_bytes=size // 3))
        assert done.bytes_before == size
        assert done.bytes_after is not None
        assert size // 4 < done.bytes_after <= size // 3
        assert done.freed + done.left == 10_000
        require_whole(log)
        assert trim(log, Keep(stream_bytes=size)).freed == 0
