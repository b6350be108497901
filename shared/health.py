"""Is this process alive, and can it answer? And what is wrong, with the mend, where it is degraded."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

import msgspec
from flask import Blueprint, Response

from eventlog import EventLog, EventLogError, ProjectionReader
from eventlog.checkpoints import Checkpoint
from eventlog.errors import NotBuilt, WeakDurability
from eventlog.log import LOG_MEND, NO_LOG_MEND, Durability
from eventlog.tail_status import TailState, TailStatusFile

_LAGGING_EVENTS = 10_000


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

    def __init__(self, service: str, reader: ProjectionReader, log: EventLog) -> None:
        self._service = service
        self._reader = reader
        self._log = log
        self._status = TailStatusFile(reader.directory)

    def checks(self) -> dict[str, Check]:
        applied = self._look()
        log_known = isinstance(applied, _Applied) and bool(applied.checkpoint.log_id)
        tail, log = self._check_tail(), self._check_log(LOG_MEND if log_known else NO_LOG_MEND)
        if isinstance(applied, Check):
            found = {"projection": applied, "tail": tail, "log": log}
        else:
            projection = Check("ok", f"applied up to {applied.checkpoint.position}")
            found = {"projection": projection, "tail": tail, "log": log}
            if log.status == "ok":
                found["lag"] = self._check_lag(applied.checkpoint)
            found["parked"] = self._check_parked(applied.parked)
        found["durability"] = self._check_durability()
        return found

    def _look(self) -> _Applied | Check:
        try:
            with self._reader.look() as look:
                return _Applied(look.checkpoint, look.count_unacknowledged())
        except NotBuilt as problem:
            return Check("failed", str(problem), "start the tail, and see its log")
        except sqlite3.Error as problem:
            return Check("failed", f"cannot be read: {problem}", "see the tail's log; check disk and file")

    def _check_tail(self) -> Check:
        status = self._status.read()
        if status.state is TailState.FOLLOWING:
            return Check("ok", f"verdict {status.verdict}")
        verdict = f" ({status.verdict})" if status.state is TailState.HALTED else ""
        return Check("degraded", f"{status.state}{verdict}", status.message)

    def _check_log(self, mend: str) -> Check:
        try:
            state = self._log.state()
        except EventLogError as problem:
            return Check("degraded", str(problem), "start Redis; check REDIS_URL")
        if state.log_id is None or not state.stream_exists:
            return Check("degraded", "there is no log", mend)
        return Check("ok", f"log {state.log_id}, {state.sequence} entries counted, ends at {state.end}")

    def _check_lag(self, checkpoint: Checkpoint) -> Check:
        try:
            behind = max(0, self._log.state().sequence - checkpoint.sequence)
        except EventLogError as problem:
            return Check("degraded", str(problem), "start Redis; check REDIS_URL")
        if behind > _LAGGING_EVENTS:
            return Check("degraded", f"{behind} events behind", "wait; if it grows, see the tail's log")
        return Check("ok", f"{behind} events behind")

    def _check_parked(self, parked: int) -> Check:
        if not parked:
            return Check("ok", "none unacknowledged")
        mend = f"look at `{self._service} parked list`, then `{self._service} parked acknowledge`"
        return Check("degraded", f"{parked} entries parked, unacknowledged", mend)

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
