"""What an operator does about a log that is not the one that was followed."""

from __future__ import annotations

from typing import Final

from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Divergence, Verdict
from eventlog.errors import EventLogError, PermissionMissing, RedisHangs, WrongLog
from eventlog.readers import ReaderKind

_ACCEPT: Final = (
    "run `eventlog init --adopt`, then delete the directory of each projection that followed the log, and move "
    "DATA_DIR/archive aside: tails and archive begin anew by themselves."
)
ENTRIES_MEND: Final = (
    "Write them back from the archive: `eventlog reseed --replace`. Without one, restore the Redis data that had them; "
    f"or accept that they are gone: {_ACCEPT}"
)
LOG_MEND: Final = (
    "Make sure that this is the Redis and the stream you mean (REDIS_URL, EVENT_STREAM). Then restore the Redis "
    "data that held the log; or write back from the archive what Redis lost: `eventlog reseed`, with `--replace` where "
    "some of it is there still, or was changed; "
    f"or accept what is there now: {_ACCEPT}"
)
NO_LOG_MEND: Final = (
    f"If there never was one: run `eventlog init`. If there was: {LOG_MEND[0].lower()}{LOG_MEND[1:]}"
)
FOLLOWED_MEND: Final = (
    "Where one projection alone says so, its file may be wrong and not the log: `SERVICE verify --repair` looks, and "
    "mends it; where there is no such command, stop its tail, delete its directory, start the tail again. "
    f"Else: {LOG_MEND[0].lower()}{LOG_MEND[1:]}"
)
TRIMMED_MEND: Final = (
    "Put back the archive that has it (DATA_DIR/archive), and start it: `eventlog archive`; or name it where the log "
    "is opened: EventLog.connect(…, archive=FILE). If it is lost, restore the Redis data of before; or accept what is "
    f"there now: {_ACCEPT}"
)
ARCHIVE_MEND: Final = (
    "Where the archive is wrong and not the log, put back the one of this log (DATA_DIR/archive); or, where nothing "
    "was trimmed, move DATA_DIR/archive aside: another is built by itself. "
    f"Else: {LOG_MEND[0].lower()}{LOG_MEND[1:]}"
)


def mend_of(problem: EventLogError) -> str:
    """What an operator does about a log that cannot be asked."""
    return (
        problem.mend
        if isinstance(problem, PermissionMissing | RedisHangs)
        else "start Redis; check REDIS_URL"
    )


def wrong_log(
    divergence: Divergence, checkpoint: Checkpoint, kind: ReaderKind = ReaderKind.PROJECTION
) -> WrongLog:
    """The error for whoever follows the log from this checkpoint, with the mend."""
    if divergence.verdict is Verdict.TRIMMED:
        mend = TRIMMED_MEND
    elif checkpoint.log_id:
        mend = ARCHIVE_MEND if kind is ReaderKind.ARCHIVE else FOLLOWED_MEND
    elif divergence.verdict is Verdict.REWOUND:
        mend = LOG_MEND
    else:
        mend = NO_LOG_MEND
    return WrongLog(divergence.verdict, divergence.explanation, mend)


def split_mend(message: str) -> tuple[str, str]:
    """What is wrong and what mends it, of a WrongLog's message; another message says both by itself."""
    for mend in (NO_LOG_MEND, FOLLOWED_MEND, ARCHIVE_MEND, LOG_MEND, TRIMMED_MEND):
        if message.endswith(mend):
            return message.removesuffix(mend).rstrip(" ."), mend
    return message, "what it says; once mended, it goes on by itself"
