"""What a service alone knows of its health: its secret, its own projection, its tail. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from typing import Final

from eventlog import EventLog, Projection
from eventlog.doctor import DEFAULT_LIMITS, look_at_log
from eventlog.doctor.findings import Finding, Severity, with_all_clear
from eventlog.doctor.followers import examine_follower
from eventlog.doctor.places import Follower, follower_of
from eventlog.doctor.processes import find_variable
from eventlog.doctor.tails import find_tail
from shared.settings import InvalidSettings, Settings

_PATIENCE_S: Final = 3.0  # with a Redis that hangs

# Secrets that stand in tutorials: Flask's, FastAPI's and jwt.io's.
_WELL_KNOWN: Final = frozenset(
    {
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "a-string-secret-at-least-256-bits-long",
    }
)
_RENEW: Final = (
    "set JWT_SECRET to the same random text for both services, e.g. from `openssl rand -base64 48`"
)


class ServiceName(StrEnum):
    """What may be wrong with a service, beside what the library looks for."""

    SECRET_MISSING = "secret-missing"  # noqa: S105 -- a finding, not a secret
    SECRET_WEAK = "secret-weak"  # noqa: S105 -- likewise
    NOBODY_CAN_LOG_IN = "nobody-can-log-in"
    DEMO_USERS = "demo-users"


def follower_of_service(settings: Settings, service: str, projection: Projection) -> Follower:
    directory = settings.projection_directory(service, projection)
    return follower_of(directory, projection, f"{service}/{projection.name}", service)


def examine_service(settings: Settings, follower: Follower, log: EventLog) -> list[Finding]:
    """The secret, the projection and its tail. `settings` are those of `as_running`."""
    with closing(log.with_patience(_PATIENCE_S)) as patient:
        state, found = look_at_log(patient)
        found += examine_follower(follower, patient, state, DEFAULT_LIMITS)
    secret_names = [ServiceName.SECRET_MISSING, ServiceName.SECRET_WEAK]
    return found + with_all_clear(secret_names, _judge_secret(settings))


def as_running(settings: Settings, follower: Follower) -> Settings:
    """The settings with what `make run` gives its programs and no shell has: demo mode, and the secret it made."""
    tail = find_tail(follower)
    demo = settings.demo or (tail is not None and find_variable(tail, "DEMO") == "1")
    secret = settings.jwt_secret
    if demo and not secret and settings.demo_secret_path.exists():
        secret = settings.demo_secret_path.read_text("utf-8")
    return settings._replace(demo=demo, jwt_secret=secret)


def _judge_secret(settings: Settings) -> Iterator[Finding]:
    secret = settings.jwt_secret
    if not secret:
        mend = (
            f"{_RENEW}, and give this command what they were given (DEMO=1 for a `make run` that is stopped)"
        )
        yield Finding(ServiceName.SECRET_MISSING, Severity.PROBLEM, "JWT_SECRET is not set", mend)
        return
    try:
        settings.require_secret()
    except InvalidSettings as short:
        yield Finding(ServiceName.SECRET_WEAK, Severity.PROBLEM, str(short), _RENEW)
        return
    if secret in _WELL_KNOWN:
        detail = "JWT_SECRET is an example that everybody can read: whoever knows it signs in as anybody"
        yield Finding(ServiceName.SECRET_WEAK, Severity.PROBLEM, detail, _RENEW)
    elif _repeats_itself(secret):
        detail = "JWT_SECRET repeats itself: whoever guesses its short pattern signs in as anybody"
        yield Finding(ServiceName.SECRET_WEAK, Severity.PROBLEM, detail, _RENEW)


def _repeats_itself(secret: str) -> bool:
    """Whether it is one shorter text, again and again."""
    return (secret + secret).index(secret, 1) < len(secret)
