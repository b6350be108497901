"""How many of something, as people say it."""

from __future__ import annotations


def counted(count: int, one: str) -> str:
    """`counted(1, "entry")` is `1 entry`, `counted(2000, "entry")` is `2,000 entries`."""
    many = f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
    return f"{count:,} {one if count == 1 else many}"
