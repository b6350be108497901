"""A new generation beside the one that is served: built, caught up with it, and compared at exactly its position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.checkpoints import Checkpoint, require_same_moment
from eventlog.comparison import Comparison, compare
from eventlog.errors import EventLogError, NotBuilt
from eventlog.follower import BATCH_SIZE
from eventlog.generations import Generations, discard, list_versions
from eventlog.log import EventLog
from eventlog.parking import Parked
from eventlog.projection import Projection
from eventlog.projection_file import ProjectionFile, open_generation
from eventlog.projection_reader import Look, ProjectionReader
from eventlog.reader_report import ReaderReport
from eventlog.readers import ReaderKind
from eventlog.subscription import Subscription, reader_name

# Told, after each batch, the sequence applied and the one to reach.
OnProgress = Callable[[int, int], None]

_CLOSE: Final = (
    BATCH_SIZE  # entries; what is left then takes one batch, while a look holds the served rows still
)


class Built(NamedTuple):
    """A generation that is complete and not served yet; `comparison` is None where nothing is served."""

    generation: Path
    checkpoint: Checkpoint
    comparison: Comparison | None


def build_generation(
    log: EventLog, directory: Path, projection: Projection, on_progress: OnProgress
) -> Built:
    """Build from the log, while what is served goes on, and compare both at one position.

    Raises WrongLog, NewerSchema, HandlerFailed, LogUnavailable, or SwitchRefused where the log is not
    the one that is served. On any error, and on Ctrl-C, the unfinished generation is deleted.
    """
    generation = Generations(directory, projection).begin()
    try:
        with (
            open_generation(directory, projection, generation) as file,
            _known_to_the_log(log, projection, generation) as make_known,
        ):

            def tell(now: Checkpoint, total: int) -> None:
                make_known(now)
                on_progress(now.sequence, max(now.sequence, total))

            serving = ProjectionReader(directory, projection)
            subscription = Subscription(log, file)
            try:
                _approach(subscription, file, serving, tell)
                with serving.look() as look:
                    comparison = _compare_at(look, subscription, file, generation)
            except NotBuilt:
                _require_usable(file)
                comparison = None
                end = log.state().sequence
                subscription.run_to_head(on_batch=lambda now: tell(now, end))
                file.carry_over(_acknowledged_before(directory, projection))
            return Built(generation, file.checkpoint(), comparison)
    except BaseException:
        discard(generation)
        raise


def catch_up(
    log: EventLog, directory: Path, projection: Projection, generation: Path, on_progress: OnProgress
) -> None:
    """Bring a generation that is not served close to the one that is, so that a switch takes no time."""
    with open_generation(directory, projection, generation) as file:
        serving = ProjectionReader(directory, projection)
        _approach(Subscription(log, file), file, serving, lambda now, total: on_progress(now.sequence, total))


def rebuild_name(projection: Projection, generation: Path) -> str:
    """As which its building is known to the log: `revenue-v2-rebuild-3`."""
    return f"{reader_name(projection)}-rebuild-{generation.name}"


@contextmanager
def _known_to_the_log(
    log: EventLog, projection: Projection, generation: Path
) -> Iterator[Callable[[Checkpoint], None]]:
    """Before anything is read, so that nothing is trimmed that it still needs; no longer once it ends."""
    name = rebuild_name(projection, generation)
    log_id = log.state().log_id or ""
    with closing(ReaderReport(log, name, ReaderKind.REBUILD)) as report:
        report.tell(Checkpoint(projection.name, projection.version, log_id))
        try:
            yield report.tell
        finally:
            with suppress(EventLogError):  # it is named as gone, and removed by hand
                log.readers.remove(name)


def _approach(
    subscription: Subscription,
    file: ProjectionFile,
    serving: ProjectionReader,
    tell: Callable[[Checkpoint, int], None],
) -> None:
    """Apply what the served file has applied, until little is left. Never goes beyond it."""
    while True:
        with serving.look() as look:
            target = look.checkpoint
        if target.sequence - file.checkpoint().sequence <= _CLOSE:
            return
        if not subscription.run_to_head(target.position, partial(_tell, tell, target.sequence)):
            return  # the log does not reach so far: whoever compares names it


def _tell(tell: Callable[[Checkpoint, int], None], total: int, now: Checkpoint) -> None:
    tell(now, total)


def _compare_at(look: Look, subscription: Subscription, file: ProjectionFile, generation: Path) -> Comparison:
    subscription.run_to_head(look.checkpoint.position)
    require_same_moment(look.checkpoint, file.checkpoint())
    file.carry_over(look.list_acknowledged())
    with ProjectionReader(file.directory, file.projection, generation).look() as built:
        return compare(look, built, file.projection)


def _require_usable(file: ProjectionFile) -> None:
    """Raise NotBuilt if it is the new file, not the served one, that cannot be read."""
    file.checkpoint()


def _acknowledged_before(directory: Path, projection: Projection) -> list[Parked]:
    """What was acknowledged in the newest other version of the projection."""
    others = [version for version in list_versions(directory) if version != projection.version]
    for version in reversed(others):
        try:
            with ProjectionReader(directory, Projection(projection.name, version, ())).look() as look:
                return look.list_acknowledged()
        except NotBuilt:
            continue
    return []
