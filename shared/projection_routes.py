"""The paths on which admins look after a projection; what they do is what the commands do."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flask import Blueprint, Response

from eventlog import EventLog, ProjectionReader
from eventlog.checkpoints import Checkpoint
from eventlog.doctor.followers import count_behind
from eventlog.errors import EventLogError, NotBuilt, SwitchRefused, WrongLog
from eventlog.generations import Generations
from eventlog.parking import Parked
from eventlog.rebuild import catch_up
from eventlog.tail import acknowledge_parked, switch_generation
from shared import projection_operations as operations
from shared.built_generations import list_generations, require_previous
from shared.freshness import Freshness
from shared.http import answer
from shared.log_position import describe, format_log_position
from shared.operations import described
from shared.problem_kinds import TAIL_BUSY
from shared.problems import conflict, not_found, unavailable
from shared.rebuild_process import RebuildProcess
from shared.request_body import load_body
from shared.requested_page import one_page, requested_page

_TAIL_PATIENCE_S: Final = 10.0
_LOG_PATIENCE_S: Final = 1.0
_SWITCH = operations.SwitchBody()


def make_projection_routes(
    service: str, reader: ProjectionReader, log: EventLog, variables: Mapping[str, str]
) -> Blueprint:
    """`/projection` and below it; `variables` are those that a command of this service reads."""
    routes = Blueprint("projection", __name__)
    care = _Care(service, reader, log)
    rebuilding = RebuildProcess(service, reader, variables)

    @routes.get("/projection")
    @described(operations.FIND_PROJECTION)
    def find_projection() -> Response:
        """Show the projection: what is served, how far it is, what else was built, what is parked."""
        return answer(care.describe())

    @routes.get("/projection/parked")
    @described(operations.LIST_PARKED)
    def list_parked() -> Response:
        """List the entries that were set aside.

        In the order of the log; `after` is the sequence of an entry.
        """
        page = requested_page()
        with reader.look() as look:
            found = look.list_parked(limit=page.look_ahead, after=page.after)
        shown, link = one_page(page, found, lambda entry: entry.sequence)
        return answer([_show(entry) for entry in shown], headers=link)

    @routes.post("/projection/parked/acknowledge")
    @described(operations.ACKNOWLEDGE)
    def acknowledge() -> Response:
        """Mark all that is parked now as seen. What is served does not change."""
        return answer(operations.Acknowledged(care.acknowledge()))

    @routes.post("/projection/rebuild")
    @described(operations.REBUILD)
    def rebuild() -> Response:
        """Begin to build a new generation from the log, and to compare it with what is served.

        It is not served by that, but where nothing is.
        """
        if not rebuilding.start():
            raise conflict("A rebuild runs already.")
        return answer(operations.RebuildStarted(), 202, {"Location": "/projection/rebuild"})

    @routes.get("/projection/rebuild")
    @described(operations.FIND_REBUILD)
    def find_rebuild() -> Response:
        """Show how the last rebuild that was begun here fares."""
        return answer(rebuilding.look())

    @routes.post("/projection/switch")
    @described(operations.SWITCH)
    def switch() -> Response:
        """Catch up a generation, then serve it."""
        return answer(care.serve(load_body(_SWITCH)["generation"]))

    @routes.post("/projection/rollback")
    @described(operations.ROLL_BACK)
    def roll_back() -> Response:
        """Catch up the generation that was served before, then serve it again. Twice is back again."""
        return answer(care.serve_previous())

    return routes


class _Care:
    """What can be asked, and asked of, one projection."""

    def __init__(self, service: str, reader: ProjectionReader, log: EventLog) -> None:
        self._service = service
        self._reader = reader
        self._directory, self._projection = reader.directory, reader.projection
        self._generations = Generations(reader.directory, reader.projection)
        self._log = log
        self._patient_log = log.with_patience(_LOG_PATIENCE_S)
        self._freshness = Freshness(reader.home, log)
        self._changing = threading.Lock()  # each waits for the tail, and keeps a place of a write

    def describe(self) -> operations.ServedProjection:
        checkpoint = generation = parked = None
        unreadable = ""
        try:
            with self._reader.look() as look:
                checkpoint, generation = look.checkpoint, int(look.generation)
                parked = operations.ParkedCount(look.count_unacknowledged())
        except NotBuilt as problem:
            unreadable = str(problem)
        status = self._freshness.ask(checkpoint)()
        return operations.ServedProjection(
            name=self._projection.name,
            version=self._projection.version,
            generation=generation,
            log_position=_log_position(checkpoint) if checkpoint and checkpoint.log_id else None,
            sequence=checkpoint.sequence if checkpoint else None,
            lag=self._count_behind(checkpoint) if checkpoint else None,
            state=describe(status),
            message=status.message or unreadable,
            generations=list(list_generations(self._directory, self._projection)),
            parked=parked,
        )

    def acknowledge(self) -> int:
        with self._one_change():
            with self._reader.look() as look:
                up_to, new = look.checkpoint.sequence, look.count_unacknowledged()
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            if new and not acknowledge_parked(self._directory, self._projection, up_to, at, _TAIL_PATIENCE_S):
                raise unavailable(TAIL_BUSY, "The tail is busy; it will acknowledge them when it can.")
            return new

    def serve(self, number: int) -> operations.Switched:
        try:
            generation = self._generations.find(number)
        except NotBuilt:
            raise not_found(f"There is no generation {number}.") from None
        return self._serve(generation)

    def serve_previous(self) -> operations.Switched:
        try:
            previous = require_previous(self._service, self._generations)
        except SwitchRefused as refused:
            raise conflict(_sentence(refused)) from refused
        return self._serve(previous)

    def _serve(self, generation: Path) -> operations.Switched:
        log, directory, projection = self._log, self._directory, self._projection
        with self._one_change():
            try:
                catch_up(log, directory, projection, generation, lambda _done, _of: None)
                if not switch_generation(log, directory, projection, generation, _TAIL_PATIENCE_S):
                    raise unavailable(TAIL_BUSY)
            except (SwitchRefused, NotBuilt, WrongLog) as refused:
                raise conflict(_sentence(refused)) from refused
            with self._reader.look() as look:
                return operations.Switched(int(look.generation), _log_position(look.checkpoint))

    @contextmanager
    def _one_change(self) -> Iterator[None]:
        if not self._changing.acquire(blocking=False):
            raise conflict("Another change of the projection is under way: wait until it is done.")
        try:
            yield
        finally:
            self._changing.release()

    def _count_behind(self, checkpoint: Checkpoint) -> int | None:
        try:
            return count_behind(self._patient_log.state(), checkpoint)
        except EventLogError:
            return None


def _log_position(checkpoint: Checkpoint) -> str:
    return format_log_position(checkpoint.position, checkpoint.log_id)


def _show(entry: Parked) -> operations.ParkedEntry:
    return operations.ParkedEntry(**{**entry._asdict(), "position": str(entry.position)})


def _sentence(refused: EventLogError) -> str:
    text = str(refused)
    return f"{text[:1].upper()}{text[1:]}."
