"""A user who may do everything to the private Redis, for tests that tamper with it: users of one's own stay there."""

from __future__ import annotations

from pathlib import Path

_LINES = "user default off ~* &* +@all\nuser tester on >tester ~* &* +@all\n"
TESTER_URL = "redis://tester:tester@127.0.0.1:{}/0"


def admit_tester(redis_dir: Path) -> None:
    """Before the server starts, in the directory that it is to have; nobody else may do anything there."""
    redis_dir.mkdir(parents=True, exist_ok=True)
    (redis_dir / "users.acl").write_text(_LINES)
