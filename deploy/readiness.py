"""Waiting until what was started can be used, and saying what it is waiting for."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

from deploy.supervision import Supervisor
from eventlog.errors import LogUnavailable
from eventlog.redis_address import RedisAddress
from eventlog.redis_client import RedisClient, make_pool

_PAUSE_S = 0.1
_REPORT_EVERY_S = 10.0
_EXITS_TOLERATED = 2
_ANSWER_WITHIN_S = 5.0

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the services are on this machine


class StartFailedError(Exception):
    """A program does not stay up; the message carries the end of its log."""


def wait_until_ready(name: str, problem: Callable[[], str | None], supervisor: Supervisor | None) -> None:
    """Return when `problem` answers None.

    There is no time limit, since reading a long log takes its time: every ten seconds it prints what is missing.
    StartFailedError when a program of the supervisor ends again and again, or the supervisor itself.
    """
    print(f"  {name} ...", end="", flush=True)
    report_at = time.monotonic() + _REPORT_EVERY_S
    while (found := problem()) is not None:
        if supervisor is not None:
            _require_up(supervisor)
        if time.monotonic() > report_at:
            print(f"\n    not yet: {found} ...", end="", flush=True)
            report_at = time.monotonic() + _REPORT_EVERY_S
        time.sleep(_PAUSE_S)
    print(" ready", flush=True)


def redis_problem(address: RedisAddress) -> str | None:
    """Why Redis does not answer; None if it does."""
    client = RedisClient(make_pool(address))
    try:
        client.execute("PING")
    except LogUnavailable as problem:
        return str(problem)
    finally:
        client.close()
    return None


def health_problem(service_url: str, metrics_token: str) -> str | None:
    """Why the service's ready check is not 200; None if it is."""
    headers = {"Authorization": f"Bearer {metrics_token}"} if metrics_token else {}
    url = f"{service_url}/health/ready"
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  # of http://, by Installation.url
        with _NO_PROXY.open(request, timeout=_ANSWER_WITHIN_S):
            return None
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(2000).decode(errors='replace').strip()}"
    except OSError as error:
        return f"{url}: {error}"


def _require_up(supervisor: Supervisor) -> None:
    failing = [program for program, count in supervisor.exits().items() if count > _EXITS_TOLERATED]
    if not supervisor.is_running():
        failing.append(f"supervisord-{supervisor.name}")
    if failing:
        print(" failed", flush=True)
        raise StartFailedError(
            "\n".join(
                f"{program} does not stay up; the end of {supervisor.log_path(program)}:\n{supervisor.log_end(program)}"
                for program in failing
            )
        )
