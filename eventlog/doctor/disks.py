"""The disks under the projections and under the log, and whether the first has its directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from eventlog.doctor.findings import Finding, Limits, Name, Severity, not_looked_at, with_all_clear


def examine_disks(data_dir: Path, redis_dir: Path | None, limits: Limits) -> list[Finding]:
    """`redis_dir` is None where Redis is away, or on another machine, or this user may not see it."""
    if not data_dir.is_dir():
        missing = Finding(
            Name.DATA_DIR_MISSING,
            Severity.PROBLEM,
            f"there is no directory {data_dir}, so nothing of projections and archive is seen",
            "where nothing was started yet, start it; else set DATA_DIR to that of the services",
        )
        return [missing, *not_looked_at([Name.DISK_NEARLY_FULL], "DATA_DIR is not there")]
    found = with_all_clear([Name.DISK_NEARLY_FULL], _judge_disks(data_dir, redis_dir, limits))
    return [*found, Finding(Name.DATA_DIR_MISSING, Severity.OK)]


def _judge_disks(data_dir: Path, redis_dir: Path | None, limits: Limits) -> Iterator[Finding]:
    yield from _judge_disk(f"DATA_DIR ({data_dir})", data_dir, limits)
    if redis_dir is None:
        yield Finding(
            Name.DISK_NEARLY_FULL,
            Severity.NOT_LOOKED_AT,
            "of Redis: it does not run here, or this user may not see where it keeps its files",
        )
    elif redis_dir.stat().st_dev != data_dir.stat().st_dev:
        yield from _judge_disk(f"Redis ({redis_dir.readlink()})", redis_dir, limits)


def _judge_disk(what: str, directory: Path, limits: Limits) -> Iterator[Finding]:
    disk = shutil.disk_usage(directory)
    if disk.free < max(limits.free_bytes, disk.total * limits.free_share):
        yield Finding(
            Name.DISK_NEARLY_FULL,
            Severity.WARNING,
            f"{disk.free:,} of {disk.total:,} bytes are free for {what}; when none are, "
            "writes are refused and projections stand still",
            "free some, or move it to a larger disk; all resumes by itself",
        )
