"""Is this process alive, and can it answer? And what is wrong, with the mend, where it is degraded."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from flask import Blueprint, Response

from eventlog import EventLog, EventLogError, ProjectionReader
from eventlog.checkpoints import Checkpoint
from eventlog.continuity import LogState
from eventlog.errors import NotBuilt, WeakDurability, WrongLog
from eventlog.log import LOG_MEND, NO_LOG_MEND, Durability
from eventlog.tail_status import TailState
from shared.freshness import Freshness

_LAGGING_EVENTS = 10_000
_PATIENCE_S = 1.0  # with a Redis that hangs; who asks seldom waits for longer than a few


class Check(NamedTuple):
    """One thing looked at: `ok`, `degraded` or `failed`, and what to do about it."""

    status: str
    detail: str
    mend: str = ""


class _Applied(NamedTuple):
    """How far the projection is, and how many entries it parked that nobody acknowledged."""

    checkpoint: Checkpoint
    parked: int


class Health:
    """Looks at the projection, its tail and the log; never raises."""

    def __init__(
        self,
        service: str,
        reader: ProjectionReader,
        log: EventLog,
        others: Mapping[str, Callable[[], Check]] | None = None,
    ) -> None:
        """`others` are what only this service has, by name."""
        self._service = service
        self._reader = reader
        self._log = log.with_patience(_PATIENCE_S)
        self._others = others or {}
        self._freshness = Freshness(reader.home, log)

    def checks(self) -> dict[str, Check]:
        """Each thing that can be looked at now, by name."""
        applied, log = self._look(), self._look_at_log()
        found = {"projection": applied} if isinstance(applied, Check) else self._check_applied(applied)
        found["tail"] = self._check_tail(applied.checkpoint if isinstance(applied, _Applied) else None)
        if isinstance(log, Check):
            found["log"] = log
        elif log.log_id is None or not log.stream_exists:
            followed = isinstance(applied, _Applied) and applied.checkpoint.log_id
            found["log"] = Check("degraded", "there is no log", LOG_MEND if followed else NO_LOG_MEND)
        else:
            found["log"] = _check_whole(log)
            if isinstance(applied, _Applied):
                found["lag"] = _check_lag(log, applied.checkpoint)
            found["writes"] = self._check_writes()
        if not isinstance(log, Check):
            found["durability"] = self._check_durability()
        return found | {name: look() for name, look in self._others.items()}

    def _look(self) -> _Applied | Check:
        try:
            with self._reader.look() as look:
                return _Applied(look.checkpoint, look.count_unacknowledged())
        except NotBuilt as problem:
            return Check("failed", str(problem), "start the tail, and see its log")
        except sqlite3.Error as problem:
            return Check("failed", f"cannot be read: {problem}", "see the tail's log; check disk and file")

    def _check_tail(self, checkpoint: Checkpoint | None) -> Check:
        status = self._freshness.of(checkpoint)
        if status.state is TailState.FOLLOWING:
            return Check("ok", f"verdict {status.verdict}")
        verdict = f" ({status.verdict})" if status.state is TailState.HALTED else ""
        return Check("degraded", f"{status.state}{verdict}", status.message)

    def _look_at_log(self) -> LogState | Check:
        try:
            return self._log.state()
        except WrongLog as problem:
            return Check("degraded", str(problem.verdict), str(problem))
        except EventLogError as problem:
            return Check("degraded", str(problem), "start Redis; check REDIS_URL")

    def _check_applied(self, applied: _Applied) -> dict[str, Check]:
        parked = Check("ok", "none unacknowledged")
        if applied.parked:
            mend = f"look at `{self._service} parked list`, then `{self._service} parked acknowledge`"
            parked = Check("degraded", f"{applied.parked} entries parked, unacknowledged", mend)
        return {
            "projection": Check("ok", f"applied up to {applied.checkpoint.position}"),
            "parked": parked,
        }

    def _check_writes(self) -> Check:
        try:
            self._log.check_writable()
        except EventLogError as problem:
            return Check("degraded", "refused", str(problem))
        return Check("ok", "accepted")

    def _check_durability(self) -> Check:
        try:
            durability = self._log.check_durability()
        except WeakDurability as problem:
            return Check("degraded", "weak: writes are refused", str(problem))
        except EventLogError as problem:
            return Check("degraded", str(problem), "start Redis; check REDIS_URL")
        if durability is Durability.UNPROVEN:
            return Check(
                "degraded", "durability unproven", "let CONFIG GET be read, or check appendfsync by hand"
            )
        return Check("ok", durability.value)


def _check_whole(log: LogState) -> Check:
    if log.missing:
        return Check(
            "degraded",
            f"{log.missing} of the entries that it counted are missing",
            f"What was applied before is right, and a rebuild would lack them. {LOG_MEND}",
        )
    return Check("ok", f"log {log.log_id}, {log.sequence} entries counted, ends at {log.end}")


def _check_lag(log: LogState, checkpoint: Checkpoint) -> Check:
    behind = max(0, log.sequence - checkpoint.sequence)
    if behind > _LAGGING_EVENTS:
        return Check("degraded", f"{behind} events behind", "wait; if it grows, see the tail's log")
    return Check("ok", f"{behind} events behind")


def make_health_routes(health: Health) -> Blueprint:
    """`/status` as the former services had it, `/health/live` and `/health/ready`."""
    routes = Blueprint("health", __name__)

    @routes.get("/status")
    def status() -> Response:
        return Response("OK", mimetype="text/plain")

    @routes.get("/health/live")
    def live() -> Response:
        return Response(b'{"status":"ok"}', mimetype="application/json")

    @routes.get("/health/ready")
    def ready() -> Response:
        checks = health.checks()
        found = {check.status for check in checks.values()}
        status = "failed" if "failed" in found else "degraded" if "degraded" in found else "ok"
        body = {"status": status, "checks": {name: check._asdict() for name, check in checks.items()}}
        return Response(
            msgspec.json.encode(body), 503 if status == "failed" else 200, mimetype="application/json"
        )

    return routes
