"""What was built of a projection: each generation of each version, how large, how far, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from eventlog import Projection, ProjectionReader
from eventlog.errors import NotBuilt, SwitchRefused
from eventlog.generations import FILE_NAME, Generations, list_versions
from eventlog.tail_lock import is_held

State: TypeAlias = Literal["served", "building", "previous", "kept", "unfinished"]


class BuiltGeneration(msgspec.Struct, frozen=True):
    """`begun_at` is None once it is whole; `problem` is there where its file cannot be read."""

    version: int
    generation: int
    state: State
    begun_at: str | None
    bytes: int
    log_id: str
    position: str
    sequence: int
    problem: str | msgspec.UnsetType = msgspec.UNSET


def list_generations(directory: Path, projection: Projection) -> Iterator[BuiltGeneration]:
    """By version, the oldest first."""
    for version in list_versions(directory):
        theirs = projection if version == projection.version else Projection(projection.name, version, ())
        built = Generations(directory, theirs)
        for path in built.list_all():
            log_id, position, sequence, problem = _how_far(directory, theirs, path)
            begun_at = built.begun_at(path)
            yield BuiltGeneration(
                version=version,
                generation=int(path.name),
                state=_state(built, path),
                begun_at=None if begun_at is None else f"{begun_at:%Y-%m-%dT%H:%M:%SZ}",
                bytes=sum(found.stat().st_size for found in path.glob(f"{FILE_NAME}*")),
                log_id=log_id,
                position=position,
                sequence=sequence,
                problem=problem or msgspec.UNSET,
            )


def require_previous(service: str, generations: Generations) -> Path:
    """The generation to go back to; SwitchRefused where there is none."""
    previous = generations.previous()
    if previous is None:
        raise SwitchRefused(
            "there is no generation to go back to: none was served before, or it was pruned. See "
            f"`{service} generations`"
        )
    return previous


def _state(built: Generations, path: Path) -> State:
    if path == built.serving():
        return "served"
    if is_held(path):
        return "building"
    if path == built.previous():
        return "previous"
    return "kept" if built.begun_at(path) is None else "unfinished"  # what built it was killed


def _how_far(directory: Path, projection: Projection, path: Path) -> tuple[str, str, int, str]:
    try:
        with ProjectionReader(directory, projection, path).look() as look:
            return look.checkpoint.log_id, str(look.checkpoint.position), look.checkpoint.sequence, ""
    except NotBuilt as unusable:
        return "", "0-0", 0, str(unusable)
