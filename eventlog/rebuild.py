"""A new generation beside the one that is served: built, caught up with it, and compared at exactly its position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.checkpoints import Checkpoint, require_same_moment
from eventlog.comparison import Comparison, compare
from eventlog.errors import EventLogError, MomentsDiffer, NotBuilt
from eventlog.follower import BATCH_SIZE
from eventlog.generations import Generations, discard
from eventlog.log import EventLog
from eventlog.projection import Projection
from eventlog.projection_file import ProjectionFile, open_generation
from eventlog.projection_reader import Look, ProjectionReader
from eventlog.reader_report import ReaderReport
from eventlog.readers import ReaderKind
from eventlog.subscription import Subscription, reader_name
from eventlog.witnesses import why_log_is_doubted, why_not_of

# Told, after each batch, the sequence applied and the one to reach.
OnProgress = Callable[[int, int], None]

_CLOSE: Final = (
    BATCH_SIZE  # entries; what is left then takes one batch, while a look holds the served rows still
)


class Built(NamedTuple):
    """A generation that is complete and not served yet.

    `comparison` is None where nothing that can be compared is served; then `fault` says why.
    """

    generation: Path
    checkpoint: Checkpoint
    comparison: Comparison | None
    fault: str = ""


def build_generation(
    log: EventLog,
    directory: Path,
    projection: Projection,
    on_progress: OnProgress,
    data_dir: Path | None = None,
) -> Built:
    """Build from the log, while what is served goes on, and compare both at one position.

    Raises WrongLog, NewerSchema, HandlerFailed, LogUnavailable, or SwitchRefused where the log is not
    the one that is served; unless all else that follows it below `data_dir` shows that the file is wrong.
    On any error, and on Ctrl-C, the unfinished generation is deleted.
    """
    generations = Generations(directory, projection)
    generation = generations.begin()
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
            comparison, fault = None, ""
            try:
                _approach(subscription, file, serving, tell)
                with serving.look() as look:
                    comparison = _compare_at(look, subscription, file, generation)
            except NotBuilt as unusable:
                _require_usable(file)
                fault = str(unusable)
            except MomentsDiffer as differ:
                fault = _why_file_is_wrong(log, serving, data_dir, differ)
            if comparison is None:
                end = log.state().sequence
                subscription.run_to_head(on_batch=lambda now: tell(now, end))
                file.carry_over_acknowledgements()
            generations.finish(generation)
            return Built(generation, file.checkpoint(), comparison, fault)
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
    if wrong := look.find_wrong_tables():
        raise NotBuilt(f"{file.projection.name} cannot be compared: {'; '.join(wrong)}")
    file.carry_over_acknowledgements()
    with ProjectionReader(file.directory, file.projection, generation).look() as built:
        return compare(look, built, file.projection)


def _why_file_is_wrong(
    log: EventLog, serving: ProjectionReader, data_dir: Path | None, differ: MomentsDiffer
) -> str:
    """What its checkpoint has wrong; MomentsDiffer where it may be the log that is."""
    with serving.look() as look:
        served = look.checkpoint
    problem = why_not_of(log, served)
    if not problem:  # the entry is there, under another number than the whole log before it gives
        return f"its checkpoint is not of this log: {served.position} is not number {served.sequence} of it"
    doubt = "" if data_dir is None else why_log_is_doubted(log, data_dir, serving.home)
    if data_dir is None or doubt:
        raise MomentsDiffer("; ".join(filter(None, (str(differ), doubt)))) from differ
    return f"its checkpoint is not of this log, which all else here fits: {problem}"


def _require_usable(file: ProjectionFile) -> None:
    """Raise NotBuilt if it is the new file, not the served one, that cannot be read."""
    file.checkpoint()
