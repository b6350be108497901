"""Is this still the log the checkpoint came from, and which entry is the next? Pure: values in, verdict out.

IDs alone cannot show it: after a flush or a failover, new IDs soon overtake the checkpoint again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import count, repeat
from typing import NamedTuple

import msgspec

from eventlog.checkpoints import Checkpoint
from eventlog.codec import Entry, are_numbered_from
from eventlog.position import START, Position


class Verdict(StrEnum):
    """What a reader found when it compared its checkpoint with the log."""

    SAME = "same"
    TRIMMED = "trimmed"  # entries it needs lie below the bound that `eventlog trim` recorded
    REWOUND = "rewound"  # the same log, but something it had, or was owed, is missing or changed
    REPLACED = "replaced"  # another log, or none


class LogState(NamedTuple):
    """What the log says of itself. `log_id` is None where there is no log.

    `sequence` and `last_position` are those of its own last entry; `end` is the position of the
    last entry of all, foreign ones included, and `entries` how many there are; `trimmed_to` is the first
    entry behind the `trimmed` ones that were freed on purpose, and `adopted_to` bounds what was there when
    the log was made of it, under numbers of another log. `floor` is the last foreign entry that was counted.
    """

    log_id: str | None
    stream_exists: bool
    sequence: int
    last_position: Position
    end: Position
    entries: int
    trimmed_to: Position = START
    trimmed: int = 0
    adopted_to: Position = START
    floor: Position = START

    @property
    def missing(self) -> int:
        """How many of the entries it counted are not there; at least, while foreign ones wait to be counted."""
        return max(0, self.sequence - self.trimmed - self.entries)


class Snapshot(NamedTuple):
    """One consistent look at the log from a checkpoint on; `reached_end` if no entry is left behind it.

    `unarchived` says why what was trimmed cannot be read; it is empty where the archive gave it.
    """

    state: LogState
    at_checkpoint: Entry | None
    entries: list[Entry]
    reached_end: bool
    unarchived: str = "no archive was named to read it from"

    def why_unread(self, after: Position) -> str:
        """Why entries behind a position that were trimmed are not among these; empty if none are left out."""
        state = self.state
        if not (state.trimmed and self.unarchived and after < state.trimmed_to.previous()):
            return ""
        return (
            f"what lies before {state.trimmed_to} was trimmed, and {self.unarchived}: put the archive back "
            "(DATA_DIR/archive), or name it where the log is opened: EventLog.connect(…, archive=FILE)"
        )


class NumberedEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry with its ordinal; `foreign` if this library did not publish it.

    An `adopted` one has our form and another log's number: ours, if it can be read as ours.
    """

    entry: Entry
    sequence: int
    foreign: bool
    adopted: bool = False


class Divergence(NamedTuple):
    """Why the reader must stop."""

    verdict: Verdict
    explanation: str


# How many entries lie behind the first position, up to and including the second.
CountEntries = Callable[[Position, Position], int]


def number_entries(
    checkpoint: Checkpoint, snapshot: Snapshot, count_entries: CountEntries
) -> list[NumberedEntry] | Divergence:
    """The snapshot's entries with their sequences, or the reason none of them may be applied."""
    divergence = find_divergence(checkpoint, snapshot)
    if divergence is not None:
        return divergence
    numbered: list[NumberedEntry] = []
    if are_numbered_from(checkpoint.sequence + 1, snapshot.entries):
        return _checked(
            checkpoint,
            snapshot,
            list(map(NumberedEntry, snapshot.entries, count(checkpoint.sequence + 1), repeat(False))),
        )
    nothing_missing = False
    for sequence, entry in enumerate(snapshot.entries, checkpoint.sequence + 1):
        claimed = entry.claimed_sequence
        own = claimed == b"%d" % sequence
        adopted = not own and claimed is not None and entry.position <= snapshot.state.adopted_to
        if claimed is not None and not own and not adopted and not nothing_missing:
            nothing_missing = _counts_fit(checkpoint, snapshot.state, count_entries)
            if not nothing_missing:
                return _missing(
                    checkpoint, snapshot, f"{entry.id.decode()} should be number {sequence} and is not"
                )
        numbered.append(NumberedEntry(entry, sequence, not own and not adopted, adopted))
    return _checked(checkpoint, snapshot, numbered)


def _checked(
    checkpoint: Checkpoint, snapshot: Snapshot, numbered: list[NumberedEntry]
) -> list[NumberedEntry] | Divergence:
    return _check_end(checkpoint, snapshot, numbered) or _check_count(checkpoint, snapshot) or numbered


def find_divergence(checkpoint: Checkpoint, snapshot: Snapshot) -> Divergence | None:
    """Compare a checkpoint, and the entry now at its position, with the log; None if it is the same."""
    state, at_checkpoint = snapshot.state, snapshot.at_checkpoint
    if state.log_id is None:
        followed = f"; the checkpoint is of log {checkpoint.log_id}" if checkpoint.log_id else " yet"
        return Divergence(Verdict.REPLACED, f"there is no log{followed}")
    if checkpoint.log_id and checkpoint.log_id != state.log_id:
        return Divergence(
            Verdict.REPLACED, f"the log is {state.log_id}; the checkpoint is of log {checkpoint.log_id}"
        )
    if not state.stream_exists:
        return Divergence(Verdict.REPLACED, f"the stream of log {state.log_id} is gone")
    if checkpoint.position == START:
        return None
    if at_checkpoint is None:
        return _missing(checkpoint, snapshot, f"the entry at the checkpoint, {checkpoint.position}, is gone")
    if at_checkpoint.digest() != checkpoint.digest:
        return Divergence(
            Verdict.REWOUND, f"the entry at the checkpoint, {checkpoint.position}, has other content"
        )
    return None


def _counts_fit(checkpoint: Checkpoint, state: LogState, count_entries: CountEntries) -> bool:
    """Whether everything between the checkpoint and the log's own last entry is there.

    If it is, a Sequence that does not fit is a forgery, not a hole.
    """
    if checkpoint.position >= state.last_position:
        return True
    return count_entries(checkpoint.position, state.last_position) == state.sequence - checkpoint.sequence


def _check_end(
    checkpoint: Checkpoint, snapshot: Snapshot, numbered: list[NumberedEntry]
) -> Divergence | None:
    """Once the log's own last entry is within reach, its number must be the one the log remembers."""
    state = snapshot.state
    if checkpoint.position == state.last_position and checkpoint.sequence != state.sequence:
        return Divergence(
            Verdict.REWOUND,
            f"the entry at the checkpoint, {checkpoint.position}, is number {state.sequence}; the checkpoint says "
            f"{checkpoint.sequence}",
        )
    if checkpoint.position >= state.last_position:
        return None
    seen_to = numbered[-1].entry.position if numbered else checkpoint.position
    if seen_to < state.last_position:
        if snapshot.reached_end:
            return _missing(
                checkpoint, snapshot, f"it ends at {seen_to}, and its last was {state.last_position}"
            )
        return None
    at_last = next(
        (found for found in reversed(numbered) if found.entry.position <= state.last_position), None
    )
    if at_last is None or at_last.entry.position != state.last_position or at_last.sequence != state.sequence:
        found = "missing" if at_last is None else f"number {at_last.sequence} at {at_last.entry.position}"
        return _missing(
            checkpoint,
            snapshot,
            f"its own last entry should be {state.sequence} at {state.last_position}: {found}",
        )
    return None


def _check_count(checkpoint: Checkpoint, snapshot: Snapshot) -> Divergence | None:
    """A projection begins only on a whole log; what goes missing behind one that is further, it has applied."""
    state = snapshot.state
    gone = state.missing + (state.trimmed if snapshot.unarchived else 0)
    if checkpoint.position == START and gone:
        return _missing(checkpoint, snapshot, f"{gone} of the entries that it counted are gone")
    return None


def _missing(checkpoint: Checkpoint, snapshot: Snapshot, explanation: str) -> Divergence:
    """What the archive gave is not missing: then the hole lies above what was trimmed."""
    state = snapshot.state
    if snapshot.unarchived and checkpoint.position < state.trimmed_to:
        return Divergence(
            Verdict.TRIMMED,
            f"{snapshot.unarchived}, so what was trimmed of log {state.log_id} cannot be read: {explanation}",
        )
    return Divergence(Verdict.REWOUND, f"log {state.log_id}: {explanation}")
