"""The lock of whoever writes: one process at a time, freed by the kernel when it ends."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Final

from eventlog.errors import TailRunning
from eventlog.private_files import make_private_directory
from eventlog.processes import can_look, list_opened

LOCK_NAME: Final = "tail.lock"


class TailLock:
    """On a projection's home, held by its tail; on a generation that is not served, or a rebuild, by what builds it."""

    def __init__(self, directory: Path) -> None:
        make_private_directory(directory)
        self._path = directory / LOCK_NAME
        self._file = self._path.open("a+")

    def acquire(self) -> None:
        """Take the lock, or raise TailRunning at once."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TailRunning(f"{self._path} is held: another tail writes this projection") from None

    def fileno(self) -> int:
        """A process that inherits it holds the lock, too, for as long as it lives."""
        return self._file.fileno()

    def release(self) -> None:
        self._file.close()


def is_free(lock: Path) -> bool:
    """Whether the file is there and surely nobody holds it, of whatever user; it is only read."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def find_holders(lock: Path) -> set[int]:
    """The processes that hold a tail's lock, of those that this user may see."""
    return {each.pid for each in list_opened([lock])[lock] if each.locked} if can_look() else set()


def is_held(directory: Path) -> bool:
    """Whether some process holds the lock now."""
    if not (directory / LOCK_NAME).exists():
        return False  # and none is made: it may just be deleted
    lock = TailLock(directory)
    try:
        lock.acquire()
    except TailRunning:
        return True
    finally:
        lock.release()
    return False
