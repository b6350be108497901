"""A build broken on purpose: continuity by ids alone, so that a log with later entries is the same log."""

from eventlog import follower, log
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import CountEntries, Divergence, NumberedEntry, Snapshot, Verdict


def _find_by_ids(checkpoint: Checkpoint, snapshot: Snapshot) -> Divergence | None:
    if snapshot.state.end < checkpoint.position:
        return Divergence(Verdict.REWOUND, f"the log ends before the checkpoint, {checkpoint.position}")
    return None


def _number_by_ids(
    checkpoint: Checkpoint, snapshot: Snapshot, count_entries: CountEntries
) -> list[NumberedEntry] | Divergence:
    return _find_by_ids(checkpoint, snapshot) or [
        NumberedEntry(entry, checkpoint.sequence + number, foreign=entry.claimed_sequence is None)
        for number, entry in enumerate(snapshot.entries, start=1)
    ]


log.find_divergence = _find_by_ids  # type: ignore[attr-defined]  # that is what breaks it
follower.number_entries = _number_by_ids  # type: ignore[attr-defined]  # that is what breaks it
