"""One run at a time on one data directory."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

_PREDECESSOR_ENDS_WITHIN_S = 30.0
_PAUSE_S = 0.1


class AlreadyRunningError(Exception):
    """Another run uses the data directory."""


class Claim:
    """A lock on the data directory that names its holder.

    Hand `descriptor` to the processes that must be gone before the next run starts. `predecessor_was_killed`
    when the last holder did not release it: what it had started may still be ending.
    """

    def __init__(self, data_dir: Path, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _PREDECESSOR_ENDS_WITHIN_S
        while not self._locked():
            holder = self._holder()
            if holder is None or _is_alive(holder) or time.monotonic() > deadline:
                os.close(self.descriptor)
                raise AlreadyRunningError(
                    f"already running (pid {holder or 'unknown'}) on {data_dir}: "
                    "stop that one first, or choose another DATA_DIR"
                )
            time.sleep(_PAUSE_S)
        self.predecessor_was_killed = self._holder() is not None
        self._name_holder(f"{os.getpid()}\n")

    def release(self) -> None:
        self._name_holder("")
        os.close(self.descriptor)

    def _locked(self) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _holder(self) -> int | None:
        text = os.pread(self.descriptor, 20, 0).strip()
        return int(text) if text.isdigit() else None

    def _name_holder(self, text: str) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
