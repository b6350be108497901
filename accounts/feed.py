"""What happens to revenue, told as it is applied to all who watch: one look at the projection serves them all."""

from __future__ import annotations

import sqlite3
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from accounts.changes import Change, Changes
from accounts.ledger import LedgerEntry
from eventlog import START, EventLog, EventLogError, Position, ProjectionReader
from eventlog.checkpoints import Checkpoint
from eventlog.errors import NotBuilt
from eventlog.tail_status import TailStatus
from shared.admission import WATCHERS
from shared.freshness import Freshness
from shared.log_position import describe, format_log_position
from shared.problem_kinds import TOO_MANY_WAITING
from shared.problems import unavailable
from shared.shown import ShownId

HEARTBEAT_S: Final = 15.0
_STANDING_EVERY_S: Final = 1.0  # at most, and at least where it changed: also between revenue events
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05
_LOG_TELLS_WITHIN_MS: Final = 500  # also how long the end of this process may go unnoticed
_PATIENCE_S: Final = 1.0  # with a Redis that hangs
_JUDGED_EVERY_S: Final = 1.0  # as often as a tail with nothing to do looks at the log
_REMEMBERED: Final = 5000  # changes; who is further behind reads them from the projection

_SEQUENCE = attrgetter("sequence")


class RevenueEvent(msgspec.Struct, frozen=True, gc=False):
    """An entry that moved an account's total, and what the total is by it."""

    account_id: ShownId
    total_revenue_cents: int
    entry: LedgerEntry


class ProjectionEvent(msgspec.Struct, frozen=True, gc=False):
    """As `Projection-State` and `Log-Position` of a read; without a position before the log's first entry."""

    state: str
    log_position: str | None


class Place(NamedTuple):
    """Behind which changes are told: a sequence of this log; where `after` lies further on, that.

    Whoever resumes behind `event_id` misses nothing of them.
    """

    log_id: str
    sequence: int
    after: Position
    event_id: str


class _Frame(NamedTuple):
    """A change as it is sent, and to whom beside admins."""

    sequence: int
    position: Position
    owned_by: str
    text: bytes


class _Heard(NamedTuple):
    """What there is for one watcher, all of one moment; `frames` is None where it must look itself."""

    turn: int
    standing: ProjectionEvent | None
    frames: list[_Frame] | None


class _Replaced(Exception):  # nothing went wrong here
    """What is served is of another log."""


class Feed:
    """A thread looks at the projection for as long as anybody watches, and for no longer."""

    def __init__(
        self, reader: ProjectionReader, log: EventLog, is_ended_within: Callable[[float], bool]
    ) -> None:
        """`is_ended_within` waits for so many seconds; True if this process was told to end."""
        self.reader = reader
        self.is_ended = False
        self._log = log.with_patience(_PATIENCE_S)
        self._freshness = Freshness(reader.home, log)
        self._is_ended_within = is_ended_within
        self._news = threading.Condition()  # all below is read and written with it
        self._watchers = 0
        self._turn = 0
        self._is_looked_at = False
        self._log_id: str | None = None  # None before the first look
        # The sequences between which all changes are among the frames.
        self._begins_behind = self._seen_to = 0
        self._frames: list[_Frame] = []
        self._log_position: str | None = None
        self._standing: ProjectionEvent | None = None  # None before the first look

    @property
    def watching(self) -> int:
        """How many watch now."""
        return self._watchers

    def watch(self, place: Place, now: Checkpoint, owned_by: str | None, expires_in_s: float) -> Watcher:
        """What one client is sent: of one owner's accounts or (None) of all. 503 where too many watch.

        `now` is the checkpoint when it came.
        """
        log_position = format_log_position(now.position, now.log_id) if now.log_id else None
        standing = ProjectionEvent(describe(self._freshness.ask(now)()), log_position)
        with self._news:
            if self._watchers >= WATCHERS:
                raise unavailable(TOO_MANY_WAITING, "Too many watch the revenue already.")
            self._watchers += 1
            if not self._is_looked_at:
                self._is_looked_at, self._log_id, self._standing = True, None, None
                threading.Thread(target=self._look_on, name="feed", daemon=True).start()
        return Watcher(self, place, standing, owned_by, expires_in_s)

    def leave(self) -> None:
        """One that watched does not any more."""
        with self._news:
            self._watchers -= 1
            self._turn += 1  # it may wait in another thread
            self._news.notify_all()

    def hear(self, log_id: str, sequence: int) -> _Heard:
        """What there is behind a sequence of a log."""
        with self._news:
            if self._log_id is None:
                return _Heard(self._turn, None, [])
            if self._log_id != log_id or sequence < self._begins_behind:
                return _Heard(self._turn, self._standing, None)
            first = bisect_right(self._frames, sequence, key=_SEQUENCE)
            return _Heard(self._turn, self._standing, self._frames[first:])

    def wait(self, turn: int, timeout_s: float) -> None:
        """Until there is more than at that turn, or this process is told to end."""
        with self._news:
            self._news.wait_for(lambda: self._turn != turn or self.is_ended, timeout_s)

    def _look_on(self) -> None:
        changes = Changes()
        looked: tuple[str, Checkpoint] | None = None
        pause_s = judged_at_s = 0.0
        while self._is_watched():
            before = looked
            try:
                looked, is_all = self._look(changes, before)
            except (NotBuilt, sqlite3.Error):  # the tail's status says why
                looked, is_all = None, True
            if time.monotonic() - judged_at_s >= _JUDGED_EVERY_S:
                self._tell_state(self._freshness.ask(looked[1] if looked else None)())
                judged_at_s = time.monotonic()
            if not is_all:
                looked, pause_s = None, 0.0
            elif looked is None:
                pause_s = _LONGEST_PAUSE_S
            elif looked != before or self._is_nothing_behind(looked[1]):
                pause_s = _FIRST_PAUSE_S
            else:
                pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
            if self._is_ended_within(pause_s):
                with self._news:
                    self.is_ended = True
                    self._news.notify_all()
                return

    def _is_nothing_behind(self, checkpoint: Checkpoint) -> bool:
        """Whether the log has nothing that is not applied; False as soon as it has."""
        try:
            return not self._log.wait(checkpoint.position, _LOG_TELLS_WITHIN_MS)
        except EventLogError:  # the projection may have something to tell all the same
            return False

    def _is_watched(self) -> bool:
        """Whether to go on; else the next watcher starts another thread."""
        with self._news:
            self._is_looked_at = self._watchers > 0
            return self._is_looked_at

    def _look(
        self, changes: Changes, before: tuple[str, Checkpoint] | None
    ) -> tuple[tuple[str, Checkpoint], bool]:
        """Which generation is how far now, and whether all that it has is among the frames."""
        with self.reader.look() as look:
            now = look.generation, look.checkpoint
            if now == before:
                return now, True
            log_id, sequence = look.checkpoint.log_id, look.checkpoint.sequence
            # A file that is built anew has no log id at first, and has applied less than was told already.
            begins = self._log_id is None or bool(log_id and self._log_id and log_id != self._log_id)
            found, seen_to = ([], sequence) if begins else changes.read(look, self._seen_to)
        frames = [_frame(change, log_id) for change in found]
        is_all = seen_to >= sequence
        with self._news:
            if begins:
                self._frames, self._begins_behind = [], seen_to
            self._frames += frames
            if len(self._frames) > _REMEMBERED:
                self._begins_behind = self._frames[-_REMEMBERED - 1].sequence
                del self._frames[:-_REMEMBERED]
            self._log_id, self._seen_to = log_id or self._log_id or "", seen_to
            if log_id:
                position = look.checkpoint.position if is_all else frames[-1].position
                self._log_position = format_log_position(position, log_id)
            if self._standing is not None:
                self._standing = ProjectionEvent(self._standing.state, self._log_position)
            self._turn += 1
            self._news.notify_all()
        return now, is_all

    def _tell_state(self, status: TailStatus) -> None:
        standing = ProjectionEvent(describe(status), self._log_position)
        with self._news:
            if standing != self._standing:
                self._standing = standing
                self._turn += 1
                self._news.notify_all()


class Watcher:
    """What one client is sent, as the body of an answer; `close` gives its place to another."""

    def __init__(
        self, feed: Feed, place: Place, standing: ProjectionEvent, owned_by: str | None, expires_in_s: float
    ) -> None:
        self._feed = feed
        self._log_id, self._sequence, self._after, self._first_id = place
        self._standing = standing
        self._owned_by = owned_by
        self._expires_at_s = time.monotonic() + expires_in_s
        self._changes = Changes()
        self._texts = self._tell()
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._texts)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._feed.leave()

    def _tell(self) -> Iterator[bytes]:
        yield encode_event("projection", self._standing, self._first_id)
        told_at_s = stood_at_s = time.monotonic()
        while not (self._feed.is_ended or self._is_closed):
            if time.monotonic() >= self._expires_at_s:
                yield encode_event("expired")
                return
            heard = self._feed.hear(self._log_id, self._sequence)
            try:
                frames = self._look_back() if heard.frames is None else heard.frames
            except _Replaced:
                yield encode_event("replaced")
                return
            if frames:
                self._sequence = max(self._sequence, frames[-1].sequence)
            text = b"".join(self._texts_of(frames))
            # Where it looked back, there may be more to tell of what lies before that position.
            is_moved = heard.standing != self._standing and not (heard.frames is None and frames)
            if heard.standing and is_moved and time.monotonic() - stood_at_s >= _STANDING_EVERY_S:
                self._standing = heard.standing
                text += encode_event("projection", self._standing)
                stood_at_s = time.monotonic()
            elif not text and time.monotonic() - told_at_s >= HEARTBEAT_S:
                text = b":\n\n"
            if text:
                yield text
                told_at_s = time.monotonic()
            elif not frames:
                due_s = (
                    stood_at_s + _STANDING_EVERY_S if heard.standing and is_moved else told_at_s + HEARTBEAT_S
                )
                self._feed.wait(heard.turn, min(due_s, self._expires_at_s) - time.monotonic())

    def _look_back(self) -> list[_Frame]:
        """A page from the projection itself: nobody remembers what lies so far behind, or what log that was."""
        try:
            with self._feed.reader.look() as look:
                log_id = look.checkpoint.log_id
                if log_id and self._log_id and log_id != self._log_id:
                    raise _Replaced
                found, seen_to = self._changes.read(look, self._sequence)
        except (NotBuilt, sqlite3.Error):
            return []
        self._log_id, self._sequence = log_id or self._log_id, seen_to
        return [_frame(change, log_id) for change in found]

    def _texts_of(self, frames: list[_Frame]) -> Iterator[bytes]:
        for frame in frames:
            if self._after > START:
                if frame.position <= self._after:
                    continue
                self._after = START
            if self._owned_by is None or frame.owned_by == self._owned_by:
                yield frame.text


def _frame(change: Change, log_id: str) -> _Frame:
    entry = change.entry
    told = RevenueEvent(str(change.account_id), entry.balance_cents, entry)
    position = Position.parse(entry.position)
    text = encode_event("revenue", told, format_log_position(position, log_id))
    return _Frame(entry.sequence, position, change.owned_by, text)


def encode_event(name: str, told: object = None, event_id: str = "") -> bytes:
    """As https://html.spec.whatwg.org/multipage/server-sent-events.html has it; without data it would not arrive."""
    line = f"id: {event_id}\n" if event_id else ""
    return b"%sevent: %s\ndata: %s\n\n" % (line.encode(), name.encode(), msgspec.json.encode(told or {}))
