"""Durations as operators write them: `30s`, `5m`, `12h`, `7d`, `2w`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: str) -> timedelta | None:
    """None for text that is no duration."""
    found = _DURATION.fullmatch(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def ago(now: datetime, age: timedelta) -> datetime:
    """Never before 1970, where positions begin, however long ago."""
    return now - age if age < now - _EPOCH else _EPOCH


def short_duration(seconds: float) -> str:
    """In its two largest units, as `2d 3h` or `4m 10s`; `0s` for less than a second."""
    left = max(0, int(seconds))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
