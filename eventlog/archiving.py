"""From the log to its archive: a subscription that keeps entries instead of projecting them."""

from __future__ import annotations

import logging
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from eventlog.archive import Archive, Kept, damage_named
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import Divergence, Verdict
from eventlog.follower import BATCH_SIZE, Follower, moved_over
from eventlog.log import NAMED_COMMAND_LIFETIME_MS, EventLog
from eventlog.mends import wrong_log
from eventlog.position import LAST, START, Position
from eventlog.readers import ReaderKind
from eventlog.tail import follow_until_stopped

ARCHIVE_NAME: Final = Path("archive", "archive.db")  # below the data directory
ARCHIVE_READER: Final = "archive"  # as which it is known to the log

_logger = logging.getLogger(__name__)


class Archiving(Follower):
    """Moves entries from the log to its archive, each once, in order, as they are.

    What is doubtful is not kept: it halts as a projection does.
    """

    gather_s = (
        0.05  # nobody waits for it, and each of its commits waits for the disk that Redis waits for, too
    )

    def __init__(self, log: EventLog, archive: Archive, *, batch_size: int = BATCH_SIZE) -> None:
        super().__init__(
            log, archive.path.parent, "archive", ReaderKind.ARCHIVE, ARCHIVE_READER, batch_size=batch_size
        )
        self._archive = archive

    def checkpoint(self) -> Checkpoint:
        return self._archive.checkpoint()

    def damage_named(self) -> AbstractContextManager[None]:
        return damage_named(self._archive.path)

    def carry_out_requests(self) -> None:
        """Nobody asks anything of it."""

    def run_once(self, up_to: Position = LAST) -> int:
        """Verify the log, keep one batch, and answer how many entries are on disk because of it.

        Raises WrongLog when it must halt, ArchiveUnusable when the file is damaged or was moved, and
        LogUnavailable, CheckpointMoved or sqlite3.Error when trying again may help.
        """
        before = self._archive.checkpoint()
        snapshot, numbered = self._read_batch(before, up_to)
        self._note_behind(snapshot, before, len(numbered), 0)
        if self._archive.altered_beside():
            self._archive.renew_beside(before, self._read_kept(START, before))
            _logger.error(
                "%s was altered by something else: its meta and named commands are read from Redis again; "
                "whether its entries are as they were kept, `eventlog archive --check` says",
                self._archive.path,
            )
        after = moved_over(before, numbered)._replace(log_id=snapshot.state.log_id or "")
        if after == before:
            return 0
        # Read behind the entries, so that it has what was done up to them.
        kept = self._read_kept(before.position, after)
        oldest_ms = max(0, after.position.milliseconds - NAMED_COMMAND_LIFETIME_MS)
        self._archive.commit(before, after, numbered, kept, forget_commands_before=Position(oldest_ms, 0))
        return len(numbered)

    def _read_kept(self, behind: Position, up_to: Checkpoint) -> Kept:
        kept = self._log.read_kept(behind, up_to.position)
        if kept.meta.get(b"log_id") != up_to.log_id.encode():
            gone = Divergence(Verdict.REPLACED, f"log {up_to.log_id} went while it was read")
            raise wrong_log(gone, up_to, self._kind)
        return kept


def run_archive(log: EventLog, path: Path) -> None:
    """Follow until SIGTERM or SIGINT, finishing the batch at hand; wait first while another process does.

    Raises ArchiveUnusable if the file is damaged, or was moved: start again to begin another.
    """

    def follow(stop: threading.Event) -> None:
        archive = Archive(path)
        try:
            Archiving(log, archive).run_forever(stop)
        finally:
            archive.close()

    follow_until_stopped(path.parent, follow)
