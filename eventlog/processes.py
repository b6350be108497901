"""Which processes have a file open, as Linux tells it under /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")


class Opened(NamedTuple):
    """One process with the file open: whether to write, and whether it holds a lock (flock) on it."""

    pid: int
    to_write: bool
    locked: bool


def can_look() -> bool:
    return (_PROC / "self" / "fdinfo").is_dir()


def list_opened(files: Sequence[Path]) -> dict[Path, list[Opened]]:
    """By file, the other processes that have it open, of those this user may look into: mostly its own."""
    wanted = {}
    for file in files:
        with suppress(OSError):  # it is not there, or cannot be
            wanted[_identity(file)] = file
    found: dict[Path, list[Opened]] = {file: [] for file in files}
    for process in _list_processes():
        for descriptor in _list_descriptors(process):
            try:
                identity = _identity(descriptor)
                if identity not in wanted:
                    continue
                about = (process / "fdinfo" / descriptor.name).read_text("ascii", "replace")
            except OSError:
                continue  # closed meanwhile
            found[wanted[identity]].append(_parse(int(process.name), about))
    return found


def find_variable(pid: int, name: str) -> str | None:
    """What a process was started with; None if it was not, or is not this user's to see."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    prefix = f"{name}=".encode()
    return next(
        (os.fsdecode(each[len(prefix) :]) for each in environment.split(b"\0") if each.startswith(prefix)),
        None,
    )


def _list_processes() -> Iterator[Path]:
    for process in _PROC.iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            yield process


def _list_descriptors(process: Path) -> list[Path]:
    try:
        return list((process / "fd").iterdir())
    except OSError:
        return []  # of another user, or ended


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _parse(pid: int, about: str) -> Opened:
    flags = next((line.split()[1] for line in about.splitlines() if line.startswith("flags:")), "0")
    to_write = int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
    locked = any(line.startswith("lock:") and "FLOCK" in line for line in about.splitlines())
    return Opened(pid, to_write, locked)
