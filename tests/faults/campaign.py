"""A fault is tried in pieces, each from its own seed; a long run is many pieces, kept in a journal and gone on with."""

from __future__ import annotations

import platform
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec

from eventlog.embedded_redis import find_server


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
        self._journal = journals / f"{fault.name}-{seed}.jsonl"
        self._lines = _read(self._journal)

    @property
    def trials(self) -> int:
        return sum(line.outcome.trials for line in self._lines)

    def go_on(self, trials: int) -> Iterator[Outcome]:
        """Make pieces until there are this many trials; each is in the journal once it is answered."""
        self._journal.parent.mkdir(parents=True, exist_ok=True)
        while self.trials < trials:
            number = len(self._lines)
            with tempfile.TemporaryDirectory(prefix="fault-") as folder:
                piece = Piece(
                    f"{self.seed}-{number}",
                    min(self.fault.trials_per_piece, trials - self.trials),
                    Path(folder),
                )
                outcome = self.fault.run(piece)
            line = _Line(number, datetime.now(UTC).isoformat(timespec="seconds"), _versions(), outcome)
            with self._journal.open("ab") as journal:
                journal.write(msgspec.json.encode(line) + b"\n")
            self._lines.append(line)
            yield outcome

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
    """Finished pieces; a line cut off in the middle is a piece that is made again."""
    if not journal.exists():
        return []
    text = journal.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        journal.write_bytes(whole)
    return [msgspec.json.decode(line, type=_Line) for line in whole.splitlines()]


def _versions() -> str:
    redis_version = ".".join(str(part) for part in find_server().version)
    return (
        f"Python {platform.python_version()}, Redis {redis_version}, redis-py {version('redis')},"
        f" SQLite {sqlite3.sqlite_version}, {sys.platform}"
    )


def _part(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
