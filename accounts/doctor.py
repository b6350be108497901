"""What only accounts can have wrong: its users. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.demo import DEMO_USERS
from accounts.identity import Users
from eventlog.doctor.findings import Finding, Severity, with_all_clear
from shared.doctor import ServiceName
from shared.permissions import Role


def examine_users(users: Users, *, demo: bool) -> list[Finding]:
    """Whether anybody can log in, an admin among them, and whether everybody can."""
    looked_for = [ServiceName.NOBODY_CAN_LOG_IN, ServiceName.NO_ADMIN, ServiceName.DEMO_USERS]
    return with_all_clear(looked_for, _judge_users(users, demo))


def _judge_users(users: Users, demo: bool) -> Iterator[Finding]:
    found = users.check()
    if found.status != "ok":
        yield Finding(ServiceName.NOBODY_CAN_LOG_IN, Severity.PROBLEM, found.detail, found.mend)
        return
    if not any(user.role is Role.ADMIN and not user.disabled_date for user in users.list_users()):
        yield Finding(
            ServiceName.NO_ADMIN,
            Severity.WARNING,
            "nobody who may log in is an admin: users can be added, and projections rebuilt, by command alone",
            "`accounts users add NAME --role admin --generate`, or `accounts users enable` one who is there",
        )
    may_log_in = {user.username for user in users.list_users() if not user.disabled_date}
    there = [] if demo else [user for user in DEMO_USERS if user.username in may_log_in]
    known = [user for user in there if users.authenticate(user.username, user.password)]
    if known:
        names = " and ".join(user.username for user in known)
        yield Finding(
            ServiceName.DEMO_USERS,
            Severity.PROBLEM,
            f"{names} can log in with a password that everybody can read, and this is not demo mode",
            "add an admin of your own, then `accounts users disable` them. For what was started with DEMO=1, give this"
            " command DEMO=1 too",
        )
