"""A projection's tail: whether it lives, works, is alone, and who keeps it from ending its WAL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import msgspec

from eventlog.checkpoints import Checkpoint, read_checkpoint
from eventlog.doctor.findings import Finding, Limits, Name, Severity, not_looked_at
from eventlog.doctor.places import Follower, opened
from eventlog.mends import split_mend
from eventlog.processes import can_look, list_opened
from eventlog.readers import ReaderKind
from eventlog.tail_lock import find_holders, is_free
from eventlog.tail_status import NO_TAIL, TailState, TailStatus, TailStatusFile, judge_dead

_POLL_S: Final = 0.1

TAIL_NAMES: Final = (
    Name.TAIL_DEAD,
    Name.TAIL_STOPPED,
    Name.TAIL_HALTED,
    Name.TAIL_RETRYING,
    Name.SECOND_TAIL,
    Name.WAL_GROWN,
)


def examine_tail(follower: Follower, limits: Limits) -> list[Finding]:
    status = TailStatusFile(follower.home).read()
    if not can_look():
        unseen = not_looked_at([Name.SECOND_TAIL], "only Linux tells which processes have a file open")
        return [*_judge_tail(follower, status, set()), *_judge_wal(follower, set(), limits), *unseen]
    users = list_opened([follower.file, follower.lock])
    at_lock, at_file = users[follower.lock], users[follower.file]
    holders = {each.pid for each in at_lock if each.locked}
    writers = {each.pid for each in at_file if each.to_write}
    if not holders | writers and status.state not in NO_TAIL and is_free(follower.lock):
        status = _just_died(status, follower)
    readers = {each.pid for each in at_file} - writers
    return [
        *_judge_tail(follower, status, holders),
        *_judge_wal(follower, readers, limits),
        *_judge_second_tail(
            follower, status, holders, writers, {each.pid for each in at_lock} - holders - writers
        ),
    ]


def find_tail(follower: Follower) -> int | None:
    """The process that holds the projection's lock; None if there is none that this user may see."""
    return next(iter(find_holders(follower.lock)), None)


def moves(follower: Follower, before: Checkpoint, within_s: float) -> bool:
    """Whether the tail applies something in time, or itself says why it does not."""
    deadline = time.monotonic() + within_s
    while True:
        state = TailStatusFile(follower.home).read().state
        if state not in {TailState.FOLLOWING, TailState.CATCHING_UP}:
            return True
        with opened(follower.file) as connection:
            if read_checkpoint(connection) != before:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)


def _judge_tail(follower: Follower, status: TailStatus, holders: set[int]) -> list[Finding]:
    match status.state:
        case TailState.DEAD:
            detail, mend = judge_dead(status, holders, follower.start)
            return [Finding(Name.TAIL_DEAD, Severity.PROBLEM, f"{follower.label}: {detail}", mend)]
        case TailState.STOPPED:
            detail = f"{follower.label}: {status.message}"
            return [Finding(Name.TAIL_STOPPED, Severity.PROBLEM, detail, follower.start)]
        case TailState.HALTED:
            said, mend = split_mend(status.message)
            stands = (
                "keeps nothing"
                if follower.kind is ReaderKind.ARCHIVE
                else "applies nothing, and reads are stale,"
            )
            detail = f"{follower.label}: it {stands} until what it says is mended: {said}"
            return [Finding(Name.TAIL_HALTED, Severity.PROBLEM, detail, mend)]
        case TailState.RETRYING:
            detail = f"{follower.label}: {status.message}"
            mend = "mend what it names; it goes on by itself"
            return [Finding(Name.TAIL_RETRYING, Severity.PROBLEM, detail, mend)]
        case TailState.FOLLOWING | TailState.CATCHING_UP:
            return []


def _just_died(status: TailStatus, follower: Follower) -> TailStatus:
    """It was killed before it could say so: the kernel has freed its lock."""
    said = (
        f"nobody holds its lock; the last sign of life was {TailStatusFile(follower.home).age_s():.0f} s ago"
    )
    return msgspec.structs.replace(status, state=TailState.DEAD, message=said)


def _judge_second_tail(
    follower: Follower, status: TailStatus, holders: set[int], writers: set[int], waiting: set[int]
) -> Iterator[Finding]:
    if len(holders | writers) > 1:
        yield Finding(
            Name.SECOND_TAIL,
            Severity.PROBLEM,
            f"{follower.label}: processes {_named(holders | writers)} have its file open to write; "
            f"{_named(holders) or 'none'} holds its lock",
            "end all but the one that holds the lock. Nothing was applied twice: each batch compares the checkpoint",
        )
    elif waiting and holders:
        yield Finding(
            Name.SECOND_TAIL,
            Severity.WARNING,
            f"{follower.label}: process {_named(waiting)} waits for the lock that {_named(holders)} holds",
            f"if it is not meant to take over: kill {_named(waiting)}",
        )
    elif not holders and status.state not in NO_TAIL:
        why = f"{follower.label}: its tail runs where this user cannot look"
        yield from not_looked_at([Name.SECOND_TAIL], why)


def _judge_wal(follower: Follower, readers: set[int], limits: Limits) -> Iterator[Finding]:
    wal = follower.wal
    try:
        size = wal.stat().st_size
    except FileNotFoundError:
        size = 0
    if size > limits.wal_bytes:
        who = f"read by process {_named(readers)}" if readers else "who reads it cannot be seen from here"
        yield Finding(
            Name.WAL_GROWN,
            Severity.WARNING,
            f"{follower.label}: {wal.name} has {size:,} bytes, for a reader keeps a look open ({who})",
            "end the reader that does not end its look; the tail then writes the WAL from its start again",
        )


def _named(pids: set[int]) -> str:
    return " ".join(map(str, sorted(pids)))
