"""What an operator does about a log that is not the one that was followed."""

from __future__ import annotations

from typing import Final

from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Divergence, Verdict
from eventlog.errors import WrongLog

NO_LOG_MEND: Final = "Run `eventlog init`."
LOG_MEND: Final = (
    "Make sure that this is the Redis and the stream you mean (REDIS_URL, EVENT_STREAM). Then restore the Redis "
    "data that held the log; or, where Redis lost everything, write it back from the archive: `eventlog reseed`; "
    "or accept what is there now: run `eventlog init --adopt`, then delete the "
    "directory of each projection that followed the log: the tails rebuild by themselves."
)
TRIMMED_MEND: Final = (
    "Put back the archive that has it (DATA_DIR/archive), and start it: `eventlog archive`. If it is lost, restore "
    "the Redis data of before; or accept what is there now: run `eventlog init --adopt`, then delete the "
    "directory of each projection that followed the log: the tails rebuild by themselves."
)


def wrong_log(divergence: Divergence, checkpoint: Checkpoint) -> WrongLog:
    """The error for whoever follows the log from this checkpoint, with the mend."""
    mend = LOG_MEND if checkpoint.log_id else NO_LOG_MEND
    if divergence.verdict is Verdict.TRIMMED:
        mend = TRIMMED_MEND
    return WrongLog(divergence.verdict, divergence.explanation, mend)
