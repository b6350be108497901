"""Directories and files that are for their owner alone, whatever the umask: what is in them is about people."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_private_directory(directory: Path) -> None:
    """With what is missing above it; what is there stays as it is. OSError where it cannot be made."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def make_private_database(path: Path) -> None:
    """An empty file for SQLite, unless something is there; what SQLite puts beside it has the mode of the file."""
    with suppress(OSError):  # who opens it is told
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
