"""What an operator does about a log that is not the one that was followed."""

from __future__ import annotations

from typing import Final

from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Divergence, Verdict
from eventlog.errors import WrongLog

LOG_MEND: Final = (
    "Make sure that this is the Redis and the stream you mean (REDIS_URL, EVENT_STREAM). Then restore the Redis "
    "data that held the log; or, where Redis lost everything, write it back from the archive: `eventlog reseed`; "
    "or accept what is there now: run `eventlog init --adopt`, then delete the "
    "directory of each projection that followed the log: the tails rebuild by themselves."
)
NO_LOG_MEND: Final = (
    f"If there never was one: run `eventlog init`. If there was: {LOG_MEND[0].lower()}{LOG_MEND[1:]}"
)
FOLLOWED_MEND: Final = (
    "Where one projection alone says so, its file may be wrong and not the log: `verify --repair` of its service "
    f"looks, and mends it. Else: {LOG_MEND[0].lower()}{LOG_MEND[1:]}"
)
TRIMMED_MEND: Final = (
    "Put back the archive that has it (DATA_DIR/archive), and start it: `eventlog archive`. If it is lost, restore "
    "the Redis data of before; or accept what is there now: run `eventlog init --adopt`, then delete the "
    "directory of each projection that followed the log: the tails rebuild by themselves."
)


def wrong_log(divergence: Divergence, checkpoint: Checkpoint) -> WrongLog:
    """The error for whoever follows the log from this checkpoint, with the mend."""
    if divergence.verdict is Verdict.TRIMMED:
        mend = TRIMMED_MEND
    elif checkpoint.log_id:
        mend = FOLLOWED_MEND
    elif divergence.verdict is Verdict.REWOUND:
        mend = LOG_MEND
    else:
        mend = NO_LOG_MEND
    return WrongLog(divergence.verdict, divergence.explanation, mend)


def split_mend(message: str) -> tuple[str, str]:
    """What is wrong and what mends it, of a WrongLog's message; another message says both by itself."""
    for mend in (NO_LOG_MEND, FOLLOWED_MEND, LOG_MEND, TRIMMED_MEND):
        if message.endswith(mend):
            return message.removesuffix(mend).rstrip(" ."), mend
    return message, "what it says; once mended, it goes on by itself"
