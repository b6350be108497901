"""A time that does not pass."""

from datetime import UTC, datetime

FIXED_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
