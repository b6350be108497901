"""The log by itself: whether it is there, is whole, and takes another entry."""

from __future__ import annotations

from typing import Final

from eventlog.continuity import LogState
from eventlog.doctor.findings import Finding, Name, Severity, with_all_clear
from eventlog.errors import EventLogError
from eventlog.log import EventLog
from eventlog.mends import ENTRIES_MEND, LOG_MEND, NO_LOG_MEND

ENTRY_NAMES: Final = (Name.LOG_MISSING, Name.ENTRIES_MISSING, Name.WRITES_REFUSED)


def examine_entries(log: EventLog, state: LogState, *, followed: bool) -> list[Finding]:
    """`followed` if some projection remembers a log. Appends nothing."""
    found = judge_state(state, followed=followed)
    if found is None or found.name is not Name.LOG_MISSING:
        refused = judge_writes(log)
        return with_all_clear(ENTRY_NAMES, [each for each in (found, refused) if each is not None])
    return with_all_clear(ENTRY_NAMES, [found])


def judge_state(state: LogState, *, followed: bool) -> Finding | None:
    """None where the log is there with all that it counted."""
    if state.log_id is None or not state.stream_exists:
        mend = LOG_MEND if followed else NO_LOG_MEND
        return Finding(Name.LOG_MISSING, Severity.PROBLEM, "there is no log", mend)
    if state.missing:
        return Finding(
            Name.ENTRIES_MISSING,
            Severity.PROBLEM,
            f"{state.missing} of the entries that it counted are missing",
            f"What was applied before is right, and a rebuild would lack them. {ENTRIES_MEND}",
        )
    return None


def judge_writes(log: EventLog) -> Finding | None:
    """None where an append would be accepted now."""
    try:
        log.check_writable()
    except EventLogError as problem:
        return Finding(Name.WRITES_REFUSED, Severity.PROBLEM, "refused", str(problem))
    return None
