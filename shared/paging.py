"""Lists in pages by keyset: the next page starts behind the last id of this one."""

from __future__ import annotations

from typing import Final, NamedTuple

DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 1000


class Page(NamedTuple):
    """Up to `limit` items with ids above `after`."""

    limit: int
    after: int

    @property
    def look_ahead(self) -> int:
        """How many to ask for: one more than are shown tells whether there is a next page."""
        return self.limit + 1
