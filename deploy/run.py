"""`make run`: starts Redis, both services with their tails, and the archive; stops them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

from deploy.claim import AlreadyRunningError, Claim
from deploy.installation import PROGRAMS_DIR, Installation
from deploy.ports import PortsTakenError, needed_ports, require_free
from deploy.readiness import StartFailedError, health_problem, redis_problem, wait_until_ready
from deploy.redis_users import write_users
from deploy.supervision import Supervisor
from deploy.tour import welcome
from eventlog.child_process import end_with_parent
from eventlog.embedded_redis import EmbeddedRedisError, find_server, require_unused
from eventlog.torn_aof import mend_of_damage
from shared.settings import InvalidSettings

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REMNANTS_END_WITHIN_S = 15.0
_REDIS_STOP_WAIT_S = 30  # its last fsync may be slow
_SERVICES_STOP_WAIT_S = 20  # as compose and systemd wait; a web server gives its workers 8 s
_PAUSE_S = 0.2
_LISTENS = "Listening at"  # granian's word, after the port has been taken: shared/own_port.py


class StopRequested(BaseException):
    """Ctrl-C, or a signal that asks this process to end."""


def main() -> None:
    """Run until told to stop; exits with 0 then, and with 1 and a message when it cannot run."""
    if "MAKELEVEL" in os.environ:
        end_with_parent()  # a killed make takes everything with it
    for number in _STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup is meant
            signal.signal(number, _request_stop)
    try:
        _run(Installation.from_environment(os.environ))
    except StopRequested:
        print("Stopped; `make run` goes on from here.", flush=True)
    except (
        AlreadyRunningError,
        EmbeddedRedisError,
        InvalidSettings,
        OSError,
        PortsTakenError,
        StartFailedError,
    ) as error:
        sys.exit(f"\nCannot run: {error}")


def _run(installation: Installation) -> None:
    if installation.private_redis:
        find_server()
    installation.make_directories()
    with _claimed(installation) as claim:
        # In demo mode the first makes the keys that the second reads.
        for service in ("accounts", "customers"):
            if not _command(installation, service, "serve", "--check"):
                raise StartFailedError(f"{service} refuses to start: see the line above")
        _run_processes(installation, claim)


def _run_processes(installation: Installation, claim: Claim) -> None:
    with _redis(installation, claim) as redis_supervisor:
        _make_the_log(installation)
        with _services(installation, claim) as services:
            with_tour = installation.settings.demo and _make_demo(installation)
            print(welcome(installation, with_tour=with_tour), flush=True)
            supervisors = [
                supervisor for supervisor in (redis_supervisor, services) if supervisor is not None
            ]
            while all(supervisor.is_running() for supervisor in supervisors):
                time.sleep(_PAUSE_S)
            raise StartFailedError(f"a supervisor was killed; see {installation.log_dir}")


@contextmanager
def _claimed(installation: Installation) -> Iterator[Claim]:
    claim = Claim(installation.run_dir)
    try:
        patience_s = _REMNANTS_END_WITHIN_S if claim.predecessor_was_killed else 0
        try:
            require_free(needed_ports(installation), installation.settings.host, patience_s)
        except PortsTakenError:
            if installation.private_redis:
                require_unused(installation.redis_dir)  # else it is our own that has the port, started alone
            raise
        yield claim
    finally:
        claim.release()


@contextmanager
def _redis(installation: Installation, claim: Claim) -> Iterator[Supervisor | None]:
    """The private Redis, or None where REDIS_URL names another; answers in either case."""
    if not installation.private_redis:
        problem = partial(redis_problem, installation.redis)
        print("Waiting for:", flush=True)
        wait_until_ready("Redis at REDIS_URL", problem, None)
        yield None
        return
    settings = installation.settings
    write_users(installation.redis_dir, settings.stream, anyone_reads=True, anyone_writes=settings.demo)
    problem = partial(redis_problem, installation.redis)
    program = [
        sys.executable,
        "-m",
        "eventlog.embedded_redis",
        str(installation.redis_dir),
        "--port",
        str(installation.settings.redis_port),
    ]
    supervisor = Supervisor(installation, "redis", {"redis": program}, stop_wait_s=_REDIS_STOP_WAIT_S)
    with _supervised(supervisor, claim):
        print("Starting:", flush=True)
        try:
            wait_until_ready("Redis", problem, supervisor)
        except StartFailedError as failed:
            raise StartFailedError(f"{failed}{mend_of_damage(str(failed))}") from failed
        yield supervisor


@contextmanager
def _services(installation: Installation, claim: Claim) -> Iterator[Supervisor]:
    programs = {
        f"{service}-{part}": [str(PROGRAMS_DIR / service), command]
        for service in ("customers", "accounts")
        for part, command in (("web", "serve"), ("tail", "tail"))
    }
    programs["archive"] = [str(PROGRAMS_DIR / "eventlog"), "archive"]
    supervisor = Supervisor(installation, "services", programs, stop_wait_s=_SERVICES_STOP_WAIT_S)
    with _supervised(supervisor, claim):
        for service in ("customers", "accounts"):
            wait_until_ready(
                service, partial(_service_problem, installation, supervisor, service), supervisor
            )
        yield supervisor


def _service_problem(installation: Installation, supervisor: Supervisor, service: str) -> str | None:
    """As `health_problem`; until our own web server has the port, another's may answer there."""
    if not supervisor.has_written(f"{service}-web", _LISTENS):
        return "its web server does not listen yet"
    return health_problem(installation.url(service), installation.settings.metrics_token)


@contextmanager
def _supervised(supervisor: Supervisor, claim: Claim) -> Iterator[None]:
    try:
        supervisor.start([claim.descriptor])
        yield
    finally:
        _ignore_stop_signals()
        with suppress(OSError):  # the terminal may be gone
            print(f"Stopping {supervisor.name} ...", flush=True)
        supervisor.stop()


def _make_the_log(installation: Installation) -> None:
    if not _command(installation, "eventlog", "init"):
        print(
            "\n*** The log could not be made: see the line above for why, and for what mends it.\n"
            "*** Everything starts all the same; the services answer with what they have, and say that it is stale.\n",
            flush=True,
        )


def _make_demo(installation: Installation) -> bool:
    """Whether the demo users and accounts are there."""
    made = _command(installation, "accounts", "demo")
    if not made:
        print(
            "\n*** The demo users and accounts could not be made: see the line above for why.\n"
            "*** There is no tour without them: mend that, then Ctrl-C, and `make run` again.",
            flush=True,
        )
    return made


def _command(installation: Installation, program: str, *words: str) -> bool:
    """Run one of our own commands to its end; whether it succeeded. Its output is the user's to read."""
    line = [str(PROGRAMS_DIR / program), *words]
    return (
        subprocess.run(line, env=installation.environment(), stdin=subprocess.DEVNULL, check=False).returncode
        == 0
    )


def _request_stop(signal_number: int, frame: FrameType | None) -> None:
    _ignore_stop_signals()
    raise StopRequested


def _ignore_stop_signals() -> None:
    """From here on it ends anyway, and in its order: an impatient second Ctrl-C must not change that."""
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
