"""What long work says while it goes on: rate, how much is done, time left; on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_EVERY_S = 2.0  # where lines are written, as into a file


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Call it with how much is done, of how much: a bar on a terminal, elsewhere a line every two seconds."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(what, total=None, rate="")
            started = time.monotonic()

            def move(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total, rate=_rate(done, started))

            yield move
        return
    yield _Lines(what)


def _bar() -> Progress:
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
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said < _EVERY_S:
            return
        self._said = now
        left_s = (now - self._started) / max(1, done) * max(0, total - done)
        said = f"{self._what}: {done:,} of {total:,}, {_rate(done, self._started)}, {left_s:.0f} s left"
        click.echo(said, err=True)


def _rate(done: int, started: float) -> str:
    return f"{done / max(0.001, time.monotonic() - started):,.0f}/s"
