"""A fault is tried in pieces, each from its own seed; a long run is many pieces, kept in a journal and gone on with."""

from __future__ import annotations

import platform
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from eventlog.embedded_redis import find_server

_ROOT = Path(__file__).parents[2]
_PLACES_TOLD = 3


class Piece(NamedTuple):
    """One stretch of a run: what it does follows from `seed`; `folder` is empty and its own.

    `build` is a folder that breaks the code of the processes it starts; None for the real one.
    """

    seed: str
    trials: int
    folder: Path
    build: Path | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What a piece came to: `counts` by name, times by name, and everything that must not have happened."""

    trials: int
    counts: dict[str, int]
    wrong: list[str]
    seconds: dict[str, list[float]] = {}


class Fault(NamedTuple):
    """What is tried, how often in a recorded run, and how much of it fits one piece."""

    name: str
    summary: str
    trials: int
    trials_per_piece: int
    run: Callable[[Piece], Outcome]


class _Line(msgspec.Struct, frozen=True):
    """A finished piece in the journal."""

    piece: int
    finished: str
    versions: str
    outcome: Outcome


class Run:
    """All pieces of one fault with one seed; made in as many sittings as it takes."""

    def __init__(self, fault: Fault, seed: int, journals: Path) -> None:
        self.fault = fault
        self.seed = seed
        self.journal = journals / f"{fault.name}-{seed}.jsonl"
        self._lines = _read(self.journal)

    @property
    def trials(self) -> int:
        return sum(line.outcome.trials for line in self._lines)

    def go_on(self, trials: int) -> Iterator[Outcome]:
        """Make pieces until there are this many trials; each is in the journal once it is answered.

        The last piece is as short as what is left, so only the same `trials` make the same pieces again.
        """
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        while self.trials < trials:
            number, versions = len(self._lines), describe_versions()
            asked = min(self.fault.trials_per_piece, trials - self.trials)
            outcome = self._try(f"{self.seed}-{number}", asked)
            line = _Line(number, datetime.now(UTC).isoformat(timespec="seconds"), versions, outcome)
            with self.journal.open("ab") as journal:
                journal.write(msgspec.json.encode(line) + b"\n")
            self._lines.append(line)
            yield outcome

    def _try(self, seed: str, trials: int) -> Outcome:
        """One piece; where it did not come to a trial, what went wrong counts for all that were asked for."""
        try:
            with tempfile.TemporaryDirectory(prefix="fault-") as folder:
                outcome = self.fault.run(Piece(seed, trials, Path(folder)))
        except Exception as error:  # noqa: BLE001  # whatever ends a piece is a finding, and the next one is tried
            return Outcome(trials, {"ended by an exception": 1}, [_told(error)])
        if outcome.trials:
            return outcome
        if not outcome.wrong:
            raise click.ClickException(f"{self.fault.name}: piece {seed} made no trial, and does not say why")
        return msgspec.structs.replace(outcome, trials=trials)

    def summary(self) -> str:
        """One row for the table of docs/guarantees.md."""
        counts: Counter[str] = Counter()
        seconds: dict[str, list[float]] = {}
        for line in self._lines:
            counts.update(line.outcome.counts)
            for name, times in line.outcome.seconds.items():
                seconds.setdefault(name, []).extend(times)
        told = [f"{count:,} {name}" for name, count in counts.items()]
        told += [
            f"{name} p50 {_part(times, 50):.2f} s, p99 {_part(times, 99):.2f} s"
            for name, times in seconds.items()
        ]
        return (
            f"| {self.fault.name} | {self.fault.summary} | {self.trials:,} | {'; '.join(told)}"
            f" | {self._verdict()} | {self.seed} | {self._lines[-1].finished[:10]} |"
        )

    @property
    def versions(self) -> set[str]:
        """What the pieces ran on."""
        return {line.versions for line in self._lines}

    def _verdict(self) -> str:
        """How often something went wrong; where never, the share of trials in which it still may (95 % sure)."""
        if self.wrong:
            return f"{len(self.wrong)} wrong"
        return f"0 wrong: under {100 * (1 - 0.05 ** (1 / self.trials)):.2g} %"

    @property
    def wrong(self) -> list[str]:
        """Everything that must not have happened, with the piece it happened in."""
        return [f"piece {line.piece}: {found}" for line in self._lines for found in line.outcome.wrong]


def _read(journal: Path) -> list[_Line]:
    """Finished pieces; a last line that was cut off is a piece that is made again."""
    if not journal.exists():
        return []
    text = journal.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    lines = [_decode(line, f"{journal}:{number}") for number, line in enumerate(whole.splitlines(), 1)]
    if whole != text:
        journal.write_bytes(whole)
    return lines


def _decode(line: bytes, place: str) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except ValueError as error:  # also where it is not UTF-8
        raise click.ClickException(
            f"{place}: not a finished piece: {error}; mend the line, or move the file away to begin anew"
        ) from error


def _told(error: Exception) -> str:
    """What it says, and through which lines of this repository it came last."""
    places = [
        f"{path.relative_to(_ROOT)}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if (path := Path(frame.filename)).is_relative_to(_ROOT) and "site-packages" not in path.parts
    ]
    return f"{type(error).__name__}: {error} (by way of {', '.join(places[-_PLACES_TOLD:])})"


def describe_versions() -> str:
    """Of all that a recorded run depends on, and the commit."""
    redis_version = ".".join(str(part) for part in find_server().version)
    return (
        f"Python {platform.python_version()}, Redis {redis_version}, redis-py {version('redis')},"
        f" SQLite {sqlite3.sqlite_version}, {sys.platform}, {_commit()}"
    )


def _commit() -> str:
    """What is checked out, with + where tracked files differ from it."""
    describe = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]  # without tags: the short hash
    try:
        described = subprocess.run(describe, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no commit"
    return f"commit {described.stdout.strip()}"


def _part(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
