"""What long work says while it goes on: rate, how much is done, time left; on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress

_EVERY_S = 2.0  # where lines are written, as into a file


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Call it with how much is done, of how much: a bar on a terminal, elsewhere a line every two seconds."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(what, total=None, rate="")
            pace = _Pace()

            def move(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total, rate=f"{pace.per_second(done):,.0f}/s")

            yield move
        return
    yield _Lines(what)


def _bar() -> Progress:
    from rich.console import Console  # noqa: PLC0415  # every start would wait for it, and services show no bar
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class _Lines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._pace = _Pace()
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        per_second = self._pace.per_second(done)
        now = time.monotonic()
        if now - self._said < _EVERY_S:
            return
        self._said = now
        left_s = max(0, total - done) / max(1, per_second)
        click.echo(f"{self._what}: {done:,} of {total:,}, {per_second:,.0f}/s, {left_s:.0f} s left", err=True)


class _Pace:
    """How fast it goes, by what was done since the first that was told: the rest may be of another day."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def per_second(self, done: int) -> float:
        now = time.monotonic()
        if self._first is None:
            self._first = done, now
        before, since = self._first
        return (done - before) / max(0.001, now - since)
