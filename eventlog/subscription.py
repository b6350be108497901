"""From the log to one projection: run once, run to the head, run until stopped; each calls the one before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from eventlog.acknowledged import find_acknowledged
from eventlog.archive_chain import first_link
from eventlog.checkpoints import Checkpoint, require_no_step_back
from eventlog.codec import Decoded, Malformed, Newer, UnknownType
from eventlog.continuity import NumberedEntry
from eventlog.errors import EventLogError, FileGone, HandlerFailed, NewerSchema, NotBuilt, SwitchRefused
from eventlog.events import Event, RecordedEvent
from eventlog.follower import BATCH_SIZE, Follower, moved_over
from eventlog.generations import Generations, home_of
from eventlog.key_file import ForgottenKeys
from eventlog.log import EventLog
from eventlog.mends import wrong_log
from eventlog.parking import Parked
from eventlog.pending_rows import PendingRows
from eventlog.position import LAST, Position
from eventlog.projection import Projection, Refused
from eventlog.projection_file import ProjectionFile, open_generation
from eventlog.readers import ReaderKind
from eventlog.seen_events import SeenEvents
from eventlog.signed_log import require_unchanged
from eventlog.signing import Beginning
from eventlog.tail_requests import RequestKind, TailRequest
from eventlog.verification import Unproven, Verification, changed

_ENTRY, _FOREIGN = attrgetter("entry"), attrgetter("foreign")

# Serves a generation for a request of this kind, unless it is not wanted any more.
SwitchTo = Callable[[Path, RequestKind, Callable[[], bool]], None]


def reader_name(projection: Projection) -> str:
    """As which its tail is known to the log: `revenue-v2`."""
    return f"{projection.name}-v{projection.version}"


class AppliedBatch(NamedTuple):
    """What `on_applied` is told, once rows and checkpoint are committed: between two Unix times, in nanoseconds.

    `recorded` are the entries that could be read as events, in order; `parked` may be among them. `first` and `last`
    are the positions of the `entries`, None where there are none.
    """

    projection: str
    began_ns: int
    ended_ns: int
    entries: int
    recorded: Sequence[RecordedEvent[Event]]
    parked: Sequence[Parked]
    first: Position | None
    last: Position | None


OnApplied = Callable[[AppliedBatch], None]


class Subscription(Follower):
    """Moves events from the log to a projection's file, each exactly once, in order.

    Only one process at a time should run it for a file (see TailLock); if two do, the
    compare-and-set of the checkpoint lets one of them win each batch and rolls the other back.
    """

    def __init__(
        self,
        log: EventLog,
        file: ProjectionFile,
        *,
        batch_size: int = BATCH_SIZE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_applied: OnApplied | None = None,
    ) -> None:
        """`on_applied` must not raise: the batch that it is told of is committed."""
        projection = file.projection
        super().__init__(
            log,
            home_of(file.directory, projection),
            projection.name,
            ReaderKind.PROJECTION,
            reader_name(projection),
            batch_size=batch_size,
        )
        self._file = file
        self._clock = clock
        self._on_applied = on_applied
        self._applied_to = Checkpoint(file.projection.name, file.projection.version)  # as of the last run
        self._unchanged: tuple[Beginning, int, bytes] | None = None  # see _require_unchanged
        # What is parked again, for the same reason, needs no second look.
        self._seen = {
            (entry.sequence, entry.position, entry.reason): entry
            for entry in find_acknowledged(file.directory)
        }

    def close(self) -> None:
        """Close the file that it writes now."""
        self._file.close()

    def run_once(self, up_to: Position = LAST) -> int:
        """Verify the log, apply one batch, and answer how many entries the checkpoint moved over.

        Entries behind `up_to` are left for another time.

        Raises WrongLog, NewerSchema, NotBuilt or KeysUnusable when it must halt, HandlerFailed when a handler is at
        fault, LogUnavailable, CheckpointMoved or sqlite3.Error when trying again may help. The checkpoint
        then stands before the first entry that was not applied.
        """
        before = self._file.checkpoint()
        snapshot, numbered = self._read_batch(before, up_to)
        log_id = snapshot.state.log_id or ""
        ends = before.sequence + len(snapshot.entries) if snapshot.reached_end else None
        unproven, seen = self._verify(before, log_id, numbered, ends)
        batch = _Batch(
            self._log,
            self._file.projection,
            self._file.pending_rows(),
            self._clock,
            self._seen,
            keeps_recorded=self._on_applied is not None,
        )
        began_ns = time.time_ns()
        with self._file.looked_up():
            problem = batch.apply_all(numbered, unproven)
        applied = numbered[: batch.applied]
        if len(applied) < len(numbered):
            _, seen = self._verify(before, log_id, applied, ends)  # what it has met ends where it ended
        self._note_behind(snapshot, before, len(applied), len(numbered) - len(applied))
        after = moved_over(before, applied)._replace(
            log_id=log_id, passed_over=before.passed_over | batch.passed_over
        )
        if after != before:
            self._file.commit(before, after, batch.rows, batch.parked, seen)
            if self._on_applied is not None:
                self._on_applied(batch.told(began_ns, applied))
        self._applied_to = after
        if problem is not None:
            raise problem
        return len(applied)

    def _verify(
        self, before: Checkpoint, log_id: str, numbered: Sequence[NumberedEntry], ends: int | None
    ) -> tuple[Sequence[Unproven | None], SeenEvents | None]:
        """Which entries are not proven, and what was met with them; without keys nothing is looked at.

        `ends` is the number of the log's last entry, where the batch comes to it.
        """
        if self._log.keys is None:
            if self._file.was_verified():
                ForgottenKeys(self._file.path).read()
            return (), None
        keys = self._log.keys.read()  # behind the entries, so that it has the keys they were signed with
        beginning = keys.beginnings.get(log_id)
        seen = self._file.seen_events(before, beginning.sequence if beginning else 0, first_link(log_id))
        if beginning and before.sequence < beginning.sequence:
            if ends is not None and ends < beginning.sequence:
                raise wrong_log(changed(log_id, beginning), before, self._kind)
            self._require_unchanged(before, log_id, beginning, seen)
        verification = Verification(keys, log_id, seen)
        unproven = verification.verify(numbered)
        if verification.changed is not None:
            raise wrong_log(verification.changed, before, self._kind)
        return unproven, seen

    def _require_unchanged(
        self, before: Checkpoint, log_id: str, beginning: Beginning, seen: SeenEvents
    ) -> None:
        """Before anything from before signing began is applied, look at all of that, once.

        What is changed behind that look does not fit the chain, which goes on from here: also where what was applied
        until now was applied without keys.
        """
        known, link = self._unchanged, seen.verified.link
        if known is None or known[0] != beginning or (link is None and known[1] != before.sequence):
            known = (
                beginning,
                before.sequence,
                require_unchanged(self._log, log_id, beginning, before.sequence),
            )
            self._unchanged = known
        if link is None:
            seen.verified = seen.verified._replace(link=known[2])

    def switch_to(
        self, generation: Path, kind: RequestKind, is_wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """Serve another generation, brought to at least the position of this one; go on with it.

        Where this one cannot be read, or for a repair, to the log's end instead. Only by whoever holds the
        tail lock. On any error the serving one stays, and is written on; SwitchRefused also where it is no
        longer wanted when all else is done.
        """
        serving = self._file
        generations = Generations(serving.directory, serving.projection)
        if generation == generations.serving():
            return  # a tail was killed just after it had switched
        before = None if kind is RequestKind.REPAIR else _readable_checkpoint(serving)
        serve_instead(
            self._log,
            serving.directory,
            serving.projection,
            generation,
            served=before,
            is_wanted=is_wanted,
            batch_size=self._batch_size,
        )
        self._file = ProjectionFile(serving.directory, serving.projection)
        serving.close()

    def checkpoint(self) -> Checkpoint:
        return self._applied_to

    def damage_named(self) -> AbstractContextManager[None]:
        return self._file.damage_named()

    def carry_out_requests(self) -> None:
        acknowledge = TailRequest(self._home, RequestKind.ACKNOWLEDGE)
        up_to_sequence = acknowledge.take()
        if up_to_sequence is not None:
            self._file.acknowledge(up_to_sequence, self._clock().isoformat(timespec="milliseconds"))
            acknowledge.finish()
        generations = Generations(self._file.directory, self._file.projection)
        carry_out_switches(generations, self.switch_to)


def carry_out_switches(generations: Generations, switch_to: SwitchTo) -> None:
    """Do what was asked by a request of either kind, or leave the refusal to whoever asked."""
    for kind in (RequestKind.SWITCH, RequestKind.REPAIR):
        request = TailRequest(generations.home, kind)
        number = request.take()
        if number is None:
            continue
        try:
            switch_to(generations.find(number), kind, request.is_taken)
        except (EventLogError, sqlite3.Error, OSError) as refused:
            request.finish(str(refused))
        else:
            request.finish()


def serve_instead(
    log: EventLog,
    directory: Path,
    projection: Projection,
    generation: Path,
    *,
    served: Checkpoint | None,
    is_wanted: Callable[[], bool],
    batch_size: int = BATCH_SIZE,
) -> None:
    """Bring a generation to what is served, or to the log's end where that is None, and serve it from now on.

    Only by whoever holds the tail lock. Raises SwitchRefused where it would be a step back, or is no longer wanted.
    """
    with open_generation(directory, projection, generation) as candidate:
        subscription = Subscription(log, candidate, batch_size=batch_size)
        if served is None:
            subscription.run_to_head()
        else:
            subscription.run_to_head(served.position)
            require_no_step_back(served, candidate.checkpoint())
        candidate.carry_over_acknowledgements()
        if not is_wanted():
            raise SwitchRefused(f"generation {generation.name} is no longer asked for")
        Generations(directory, projection).switch(generation)


def _readable_checkpoint(file: ProjectionFile) -> Checkpoint | None:
    """None where the file is damaged, or of other code."""
    try:
        with file.damage_named():
            return file.checkpoint()
    except NotBuilt as unusable:
        if isinstance(unusable, FileGone):
            raise
        return None


class _Batch:
    """What one run over numbered entries comes to: rows, parked entries, and how far it got."""

    def __init__(
        self,
        log: EventLog,
        projection: Projection,
        rows: PendingRows,
        clock: Callable[[], datetime],
        seen: Mapping[tuple[int, Position, str], Parked],
        *,
        keeps_recorded: bool,
    ) -> None:
        self.rows = rows
        self.parked: list[Parked] = []
        self.passed_over: frozenset[str] = frozenset()
        self.applied = 0
        self._codec = log.codec
        self._projection = projection
        self._clock = clock
        self._seen = seen
        self._keeps_recorded = keeps_recorded
        self._decoded: Sequence[Decoded | Unproven] = ()

    def apply_all(
        self, numbered: Sequence[NumberedEntry], unproven: Sequence[Unproven | None] = ()
    ) -> EventLogError | None:
        """Apply entry by entry, or park it where it is `unproven`; at the first that must not be passed, answer why."""
        project, left_out = self._project, self._projection.left_out
        decoded_entries = self._decode_all(numbered, unproven)
        if self._keeps_recorded:
            decoded_entries = self._decoded = list(decoded_entries)
        for found, decoded in zip(numbered, decoded_entries, strict=True):
            if not (left_out and found.entry.position in left_out):
                if isinstance(decoded, RecordedEvent):
                    problem = project(found, decoded)
                else:
                    problem = self._set_aside(found, decoded)
                if problem is not None:
                    return problem
            self.applied += 1
        return None

    def told(self, began_ns: int, applied: Sequence[NumberedEntry]) -> AppliedBatch:
        """Of what was applied, just now."""
        recorded = [each for each in self._decoded[: self.applied] if isinstance(each, RecordedEvent)]
        return AppliedBatch(
            self._projection.name,
            began_ns,
            time.time_ns(),
            self.applied,
            recorded,
            self.parked,
            applied[0].entry.position if applied else None,
            applied[-1].entry.position if applied else None,
        )

    def _decode_all(
        self, numbered: Sequence[NumberedEntry], unproven: Sequence[Unproven | None]
    ) -> Iterable[Decoded | Unproven]:
        if any(unproven):
            return (
                refused or self._decode(found, foreign=found.foreign)
                for found, refused in zip(numbered, unproven, strict=True)
            )
        if numbered and not any(map(_FOREIGN, numbered)):
            recorded = self._codec.decode_own(list(map(_ENTRY, numbered)), numbered[0].sequence)
            if recorded is not None:
                return recorded
        return (self._decode(found, foreign=found.foreign) for found in numbered)

    def _decode(self, found: NumberedEntry, *, foreign: bool) -> Decoded:
        return self._codec.decode(found.entry, found.sequence, foreign=foreign)

    def _set_aside(
        self, found: NumberedEntry, unread: Malformed | UnknownType | Newer | Unproven
    ) -> EventLogError | None:
        if found.adopted and not isinstance(unread, UnknownType | Unproven):
            # Its number was never ours to check: read as it was before the log was adopted.
            decoded = self._decode(found, foreign=True)
            if isinstance(decoded, RecordedEvent):
                return self._project(found, decoded)
            unread = decoded
        match unread:
            case Malformed(event_type, reason) | Unproven(event_type, reason):
                self._park(found, event_type, reason)
            case UnknownType(event_type):
                self.passed_over |= {event_type}
            case Newer(event_type, version, known):
                return NewerSchema(event_type, version, known, found.entry.position)
        return None

    def _project(self, found: NumberedEntry, recorded: RecordedEvent[Event]) -> EventLogError | None:
        try:
            outcome = self._projection.handle(recorded, self.rows)
            if outcome is None:
                self.passed_over |= {recorded.event.type_name}
            elif isinstance(outcome, Refused):
                self._park(found, recorded.event.type_name, outcome.reason)
            else:
                self.rows.apply(outcome)
        except sqlite3.Error:
            raise
        except Exception as cause:  # noqa: BLE001  # a handler is its author's code: whatever it raises stops here, named
            failed = HandlerFailed(found.entry.position, recorded.event.type_name, cause)
            failed.__cause__ = cause
            return failed
        return None

    def _park(self, found: NumberedEntry, event_type: str, reason: str) -> None:
        sequence, position = found.sequence, found.entry.position
        reason = reason.encode("utf-8", "replace").decode()
        before = self._seen.get((sequence, position, reason))
        if before is None:
            parked_at, acknowledged_at = self._clock().isoformat(timespec="milliseconds"), None
        else:
            parked_at, acknowledged_at = before.parked_at, before.acknowledged_at
        self.parked.append(Parked(sequence, position, event_type, reason, parked_at, acknowledged_at))
