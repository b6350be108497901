"""One run at a time on one data directory."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

_STOPPING_WITHIN_S = 4.0  # its make was killed, and it is just ending
_PREDECESSOR_ENDS_WITHIN_S = 30.0
_PAUSE_S = 0.1


class AlreadyRunningError(Exception):
    """Another run uses the data directory."""


class Claim:
    """Two locks on the data directory: the top process's own, and one for all that must be gone before the next run.

    Hand `descriptor`, that of the second, to what is started. `predecessor_was_killed` when the last holder
    did not release the claim: what it had started may still be ending.
    """

    def __init__(self, directory: Path) -> None:
        self._top = _open(directory / "top.lock")
        if not _lock_within(self._top, _STOPPING_WITHIN_S):
            raise AlreadyRunningError(
                f"already running (pid {_read(self._top)}): stop that one, or choose another DATA_DIR"
            )
        self.predecessor_was_killed = _read(self._top) != ""
        self.descriptor = _open(directory / "started.lock")
        if not _lock_within(self.descriptor, _PREDECESSOR_ENDS_WITHIN_S):
            raise AlreadyRunningError(
                f"processes of the last run (pid {_read(self._top)}) do not end: stop them"
            )
        _write(self._top, str(os.getpid()))

    def release(self) -> None:
        _write(self._top, "")
        os.close(self.descriptor)
        os.close(self._top)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 20, 0).decode().strip()


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
