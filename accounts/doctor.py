"""What only accounts can have wrong: its users. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.demo import DEMO_USERS
from accounts.identity import Users
from eventlog.doctor.findings import Finding, Severity, with_all_clear
from shared.doctor import ServiceName


def examine_users(users: Users, *, demo: bool) -> list[Finding]:
    """Whether anybody can log in, and whether everybody can."""
    return with_all_clear([ServiceName.NOBODY_CAN_LOG_IN, ServiceName.DEMO_USERS], _judge_users(users, demo))


def _judge_users(users: Users, demo: bool) -> Iterator[Finding]:
    found = users.check()
    if found.status != "ok":
        yield Finding(ServiceName.NOBODY_CAN_LOG_IN, Severity.PROBLEM, found.detail, found.mend)
        return
    known = [] if demo else [user for user in DEMO_USERS if users.authenticate(user.username, user.password)]
    if known:
        names = " and ".join(user.username for user in known)
        yield Finding(
            ServiceName.DEMO_USERS,
            Severity.PROBLEM,
            f"{names} can log in with a password that everybody can read, and this is not demo mode",
            "add an admin of your own, then `accounts users disable` them. For what was started with DEMO=1, give this"
            " command DEMO=1 too",
        )
