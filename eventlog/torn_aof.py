"""What a kill in the middle of a write leaves at the end of Redis' file: cut off and kept aside, so that Redis starts.

A record that was not written whole was never synced, so nobody was told that it is there. Anything else that is
wrong with the file is left to the operator: Redis refuses to start on it.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Final

_MULTI_PART: Final = Path("appendonlydir") / "appendonly.aof.manifest"  # Redis 7 and later
_SINGLE: Final = Path("appendonly.aof")
_ANALYZED = re.compile(rb"AOF analyzed: (?:filename=(?P<name>[^,]+), )?size=\d+, ok_up_to=(?P<whole>\d+)")
_COUNT = re.compile(rb"(?P<kind>[*$])(?P<number>[0-9]{1,10})\r\n")
_TORN_COUNT = re.compile(rb"[*$]?[0-9]{0,10}\r?")


_DAMAGE_MEND: Final = (
    "restore a backup of its directory; or move that aside, start again, and write the log back from the archive: "
    "`eventlog reseed` (docs/runbook.md, Redis does not start). redis-check-aof --fix is the last resort: it cuts off "
    "the damage and all that follows"
)


def mend_of_damage(log_end: str) -> str:
    """What to do instead of what Redis advises at the end of its log; empty where that is about something else."""
    return f"\nBefore you do so: {_DAMAGE_MEND}" if "check-aof" in log_end else ""


def cut_torn_end(server: Path, directory: Path) -> str | None:
    """Cut the file if it ends within a record, and say so; or say what is wrong otherwise. None if nothing is.

    `server` is the program that will read the file, and knows how to check it.
    """
    checked = next((path for path in (directory / _MULTI_PART, directory / _SINGLE) if path.is_file()), None)
    if checked is None:
        return None
    # Every server program checks a file instead if it is called redis-check-aof, or valkey-check-aof.
    name_of_checker = server.name.replace("server", "check-aof")
    found = subprocess.run([name_of_checker, checked], executable=server, capture_output=True, check=False)
    analyzed = list(_ANALYZED.finditer(found.stdout))
    if found.returncode == 0 or not analyzed:
        return None
    name, whole = analyzed[-1]["name"], int(analyzed[-1]["whole"])
    file = checked.with_name(name.decode()) if name else checked
    end = _read_behind(file, whole)
    if not is_torn_record(end):
        return (
            f"{file} is damaged from byte {whole} on, and Redis will not start on it: {_DAMAGE_MEND} "
            f"('{checked}')"
        )
    kept = directory / f"torn-{time.time_ns() // 1_000_000}.aof"
    kept.write_bytes(end)
    with file.open("r+b") as opened:
        opened.truncate(whole)
        os.fsync(opened.fileno())
    return (
        f"{file} ended within a record, which was never confirmed to anybody: "
        f"its {len(end)} bytes were cut off, and are kept as {kept}"
    )


def is_torn_record(end: bytes) -> bool:
    """Whether this is the beginning of a command, or of a transaction, and nothing else."""
    at = 0
    while at < len(end):
        count = _COUNT.match(end, at)
        if count is None or count["kind"] != b"*":
            return count is None and _TORN_COUNT.fullmatch(end, at) is not None
        at = count.end()
        for _ in range(int(count["number"])):
            size = _COUNT.match(end, at)
            if size is None or size["kind"] != b"$":
                return size is None and _TORN_COUNT.fullmatch(end, at) is not None
            at = size.end() + int(size["number"])
            if at + 2 > len(end):
                # A flipped bit in the size would swallow what follows: no word of ours has a line's end in it.
                return b"\r\n" not in end[size.end() :]
            if end[at : at + 2] != b"\r\n":
                return False
            at += 2
    return end.startswith(b"*1\r\n$5\r\nMULTI\r\n")


def _read_behind(file: Path, position: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(position)
        return opened.read()
