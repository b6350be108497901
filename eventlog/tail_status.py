"""What the tail says of itself to the processes that answer reads: a small file beside the projection.

Its content changes with the state; its modification time is the heartbeat, which needs no disk space.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from eventlog.continuity import Verdict

_FILE_NAME = "tail.json"
HEARTBEAT_EVERY_S: Final = 1.0
DEAD_AFTER_S: Final = (
    10.0  # a Redis that swallows requests holds a living tail for 7 s: socket timeout and pause
)


class TailState(StrEnum):
    """`following` is the only one in which what is read is fresh."""

    FOLLOWING = "following"
    CATCHING_UP = "catching-up"  # more than a batch is left to apply
    RETRYING = "retrying"
    HALTED = "halted"
    STOPPED = "stopped"
    DEAD = "dead"


NO_TAIL: Final = frozenset({TailState.DEAD, TailState.STOPPED})


class TailStatus(msgspec.Struct, frozen=True):
    """`verdict` is `same` unless a halt was for the log's sake; `message` says what is wrong and what to do."""

    state: TailState
    verdict: Verdict = Verdict.SAME
    message: str = ""


_DECODER: Final = msgspec.json.Decoder(TailStatus)


def judge_dead(status: TailStatus, holders: set[int], start: str) -> tuple[str, str]:
    """What is wrong with a tail that gives no heartbeat, and the mend: one that is started waits for the lock.

    `holders` are the processes that hold that.
    """
    if not holders:
        return status.message, f"{start}; its log says why it ended"
    named = " ".join(map(str, sorted(holders)))
    return (
        f"process {named} holds its lock and gives no heartbeat: it is paused, or hangs",
        f"kill -CONT {named}, or kill -9: its supervisor starts another",
    )


class TailStatusFile:
    """Written by the tail that holds the lock; read by anyone."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE_NAME
        self._written: TailStatus | None = None
        self._beaten_at = 0.0
        self._read: dict[tuple[int, int, int, int], TailStatus] = {}  # only the last: each beat makes another

    def report(self, status: TailStatus) -> bool:
        """Write a status that differs from the last, else beat; answers whether it differed.

        On a full disk, where no new file can be had, it is written over the old one.
        """
        if status != self._written:
            try:
                self._write(msgspec.json.encode(status))
            except OSError:
                return False
            self._written = status
            return True
        if time.monotonic() - self._beaten_at >= HEARTBEAT_EVERY_S:
            try:
                os.utime(self._path)
            except OSError:
                self._written = None  # the file went away: write it anew
            self._beaten_at = time.monotonic()
        return False

    def _write(self, text: bytes) -> None:
        unfinished = self._path.with_suffix(f".{os.getpid()}")
        try:
            unfinished.write_bytes(text)
            unfinished.replace(self._path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            # The block that the old status has is enough; spaces cover what is left of it.
            with self._path.open("r+b") as file:
                file.write(text.ljust(os.fstat(file.fileno()).st_size))

    def age_s(self) -> float:
        """How long ago the last sign of life was; FileNotFoundError if there was none."""
        return max(0.0, time.time() - self._path.stat().st_mtime)

    def read(self) -> TailStatus:
        """The last report; `dead` if there is none or its heartbeat has stopped."""
        try:
            found = self._path.stat()
            age_s = time.time() - found.st_mtime
            version = found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
            status = self._read.get(version)
            if status is None:
                status = _DECODER.decode(self._path.read_bytes())
                self._read = {version: status}
        except (OSError, msgspec.MsgspecError):
            return TailStatus(TailState.DEAD, message="no tail has reported yet: start it")
        if status.state is TailState.STOPPED:
            return status
        if abs(age_s) > DEAD_AFTER_S:
            return msgspec.structs.replace(
                status, state=TailState.DEAD, message=f"no heartbeat for {age_s:.0f} s"
            )
        return status
