"""Whether other users of the machine may read what is about people."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from eventlog.counted import counted
from eventlog.doctor.findings import Finding, Name, Severity, with_all_clear

_ABOUT_PEOPLE: Final = re.compile(r"\.(db(-wal|-shm|-journal)?|aof|rdb)$")  # SQLite's files, and Redis'


def examine_modes(data_dir: Path) -> list[Finding]:
    """Of the files below it; who may come by the directory itself is not looked at."""
    return with_all_clear([Name.READABLE_BY_OTHERS], _judge_modes(data_dir))


def _judge_modes(data_dir: Path) -> Iterator[Finding]:
    exposed = sorted(_list_exposed(data_dir))
    if exposed:
        yield Finding(
            Name.READABLE_BY_OTHERS,
            Severity.WARNING,
            f"whoever may log in to this machine may read {counted(len(exposed), 'file')} with names and amounts,"
            f" or password hashes, such as {exposed[0]}",
            f"`chmod 700 {data_dir}`; where programs of several users share it, give these users a group, and"
            f" `chmod -R o= {data_dir}`",
        )


def _list_exposed(directory: Path) -> Iterator[Path]:
    """Nothing of what this user may not see, or what is being deleted."""
    with suppress(OSError):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return
        for entry in os.scandir(directory):
            if entry.is_dir(follow_symlinks=False):
                yield from _list_exposed(Path(entry.path))
            elif (
                _ABOUT_PEOPLE.search(entry.name) and entry.stat(follow_symlinks=False).st_mode & stat.S_IROTH
            ):
                yield Path(entry.path)
