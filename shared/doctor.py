"""What a service alone knows of its health: its own projection, its tail. Changes nothing."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from typing import Final

from eventlog import EventLog, Projection
from eventlog.doctor import DEFAULT_LIMITS, look_at_log
from eventlog.doctor.findings import Finding, Severity
from eventlog.doctor.followers import examine_follower
from eventlog.doctor.places import Follower, follower_of
from eventlog.doctor.tails import find_tail
from eventlog.processes import find_variable
from shared.health import Check
from shared.settings import Settings

_PATIENCE_S: Final = 3.0  # with a Redis that hangs


class ServiceName(StrEnum):
    """What may be wrong with a service, beside what the library looks for."""

    KEYS_UNUSABLE = "keys-unusable"
    NOBODY_CAN_LOG_IN = "nobody-can-log-in"
    NO_ADMIN = "no-admin"
    DEMO_USERS = "demo-users"


def follower_of_service(settings: Settings, service: str, projection: Projection) -> Follower:
    directory = settings.projection_directory(service, projection)
    return follower_of(directory, projection, f"{service}/{projection.name}", service)


def examine_service(settings: Settings, follower: Follower, log: EventLog) -> list[Finding]:
    """The projection and its tail. `settings` are those of `as_running`."""
    with closing(log.with_patience(_PATIENCE_S)) as patient:
        state, found = look_at_log(patient)
        found += examine_follower(follower, patient, state, DEFAULT_LIMITS)
    return found


def as_running(settings: Settings, follower: Follower) -> Settings:
    """The settings with what `make run` gives its programs and no shell has: demo mode."""
    tail = find_tail(follower)
    return settings._replace(demo=settings.demo or (tail is not None and find_variable(tail, "DEMO") == "1"))


def judge_keys(found: Check) -> list[Finding]:
    """Whether tokens can be checked, and by accounts signed."""
    name = ServiceName.KEYS_UNUSABLE
    return [
        Finding(name, Severity.OK)
        if found.status == "ok"
        else Finding(name, Severity.PROBLEM, found.detail, found.mend)
    ]
