"""What a process has counted, in a small file beside those of its siblings, so that each can tell of all.

Not files that are mapped into memory, as prometheus_client has them: to write into one on a full disk is SIGBUS.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Metric

from eventlog.private_files import make_private_directory

_WRITTEN_EVERY_S: Final = 1.0
_WRITTEN_ANYWAY_EVERY_S: Final = 10.0  # gauges move by themselves
_LOOKS: Final = 5  # at files that change hands while processes begin

_Labels = tuple[tuple[str, str], ...]


class _Counted(msgspec.Struct, frozen=True):
    """One metric of a process: `samples` are name, labels and value; sums over processes, and over their lives."""

    name: str
    documentation: str
    kind: str
    samples: list[tuple[str, _Labels, float]]


_DECODER: Final = msgspec.json.Decoder(list[_Counted])
_GAUGE: Final = "gauge"


class CountedFile:
    """Of this process: named by its id, in a directory that all processes of its kind write to.

    A process that begins goes on from what one that died has counted, so that sums do not fall, and files do not
    become more. Written within a second of `is_behind`, and whenever this process tells of all. What a disk does not
    take is written later.
    """

    def __init__(self, directory: Path, registry: CollectorRegistry) -> None:
        self._directory = directory
        self._path = directory / f"{os.getpid()}.json"
        self._registry = registry
        self._writing = threading.Lock()
        self._written = b""
        self.is_behind = False  # whoever counts sets it: to find out costs 2 ms
        with suppress(OSError):
            make_private_directory(directory)
            self._take_over()
        self._before = [found for found in _read(self._path) if found.kind != _GAUGE]
        self.write()
        threading.Thread(target=self._write_on, name="counted-file", daemon=True).start()
        # Once, when the process ends; unlike atexit in the forked workers of a web server, too.
        Finalize(None, self.write, exitpriority=2)

    def write(self) -> None:
        """What was counted until now."""
        with self._writing:
            self.is_behind = False
            counted = msgspec.json.encode(_sum([*self._before, *_of(self._registry)]))
            if counted == self._written:
                return
            unfinished = self._path.with_suffix(".new")
            try:
                unfinished.write_bytes(counted)
                unfinished.replace(self._path)
                self._written = counted
            except OSError:
                self.is_behind = True
                with suppress(OSError):
                    unfinished.unlink()

    def _take_over(self) -> None:
        """In one step, so that no sum lacks it or has it twice; one file at most."""
        if self._path.exists():
            return  # its process had this id
        for path in sorted(self._directory.glob("*.json")):
            if not _is_alive(path):
                with suppress(FileNotFoundError):  # another was first
                    path.rename(self._path)
                    return

    def _write_on(self) -> None:
        pause, written_at_s = threading.Event(), time.monotonic()
        while not pause.wait(_WRITTEN_EVERY_S):
            if self.is_behind or time.monotonic() - written_at_s >= _WRITTEN_ANYWAY_EVERY_S:
                self.write()
                written_at_s = time.monotonic()


def read_all(*directories: Path) -> Iterator[Metric]:
    """What all processes of these kinds have counted; gauges only of those that live."""
    for counted in _sum(_read_together(directories)):
        metric = Metric(counted.name, counted.documentation, counted.kind)
        for name, labels, value in counted.samples:
            metric.add_sample(name, dict(labels), value)
        yield metric


def _read_together(directories: Iterable[Path]) -> list[_Counted]:
    """All files: none is left out, or read twice, for having just been taken over."""
    found: list[_Counted] = []
    for _ in range(_LOOKS):
        before = _list_files(directories)
        found = [
            counted for path in before for counted in _read(path) if counted.kind != _GAUGE or _is_alive(path)
        ]
        if _list_files(directories) == before:
            break
    return found


def _list_files(directories: Iterable[Path]) -> list[Path]:
    return [path for directory in directories for path in sorted(directory.glob("*.json"))]


def _of(registry: CollectorRegistry) -> Iterator[_Counted]:
    for metric in registry.collect():
        samples = [(each.name, tuple(each.labels.items()), each.value) for each in metric.samples]
        yield _Counted(metric.name, metric.documentation, metric.type, samples)


def _sum(found: Iterable[_Counted]) -> list[_Counted]:
    """Of each metric one, in the order in which they came."""
    metrics: dict[str, _Counted] = {}
    values: dict[str, dict[tuple[str, _Labels], float]] = {}
    for counted in found:
        metrics[counted.name] = counted
        of_metric = values.setdefault(counted.name, {})
        for name, labels, value in counted.samples:
            of_metric[name, labels] = of_metric.get((name, labels), 0.0) + value
    return [
        msgspec.structs.replace(
            counted, samples=[(name, labels, value) for (name, labels), value in values[counted.name].items()]
        )
        for counted in metrics.values()
    ]


def _read(path: Path) -> list[_Counted]:
    """Nothing where it went, or cannot be read."""
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return []


def _is_alive(path: Path) -> bool:
    """The process whose file it is."""
    try:
        os.kill(int(path.stem), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
