"""Files that are whole and on disk, whatever ends the process that writes them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eventlog.generations import sync_directory


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Inside it, nobody else changes this file, or another beside it: read it there, or what they wrote is lost."""
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put this in place of what is there, in one step, and have it on disk; OSError leaves what is there.

    Who could read and write it still can: `mode` is that of a new file. For one writer at a time: see `changing`.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    with suppress(FileNotFoundError):
        unfinished.unlink()  # of a process that was killed
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            with suppress(FileNotFoundError):
                before = path.stat()
                mode = before.st_mode & 0o777
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    sync_directory(path.parent)
