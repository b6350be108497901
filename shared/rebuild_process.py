"""The command `rebuild` as a process of its own, which any worker starts and every worker sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from eventlog import ProjectionReader
from eventlog.child_process import ending_with
from eventlog.errors import NotBuilt, TailRunning
from eventlog.tail_lock import TailLock, is_held
from shared.built_generations import list_generations

_FOLDER, _PRINTED, _SAID = "rebuild", "printed.json", "said.txt"
_ERROR: Final = "Error: "


class RebuildProgress(msgspec.Struct, frozen=True):
    """In entries of the log."""

    applied: int
    of: int


class RebuildState(msgspec.Struct, frozen=True):
    """`result` is what the command `rebuild --json` printed, `error` why it printed nothing."""

    state: Literal["none", "running", "done", "failed"]
    progress: RebuildProgress | None = None
    result: dict[str, Any] | None = None
    error: str | None = None


class RebuildProcess:
    """Of one projection, one at a time. It holds a lock in `rebuild` in the projection's home while it runs."""

    def __init__(self, service: str, reader: ProjectionReader, variables: Mapping[str, str]) -> None:
        """`variables` are those that the command reads."""
        self._service = service
        self._reader = reader
        self._variables = variables
        self._folder = reader.home / _FOLDER

    def start(self) -> bool:
        """False if one runs. It ends with this process, and no sooner."""
        lock = TailLock(self._folder)
        try:
            lock.acquire()
            # The kernel takes the thread that starts it for its parent: one that lives as long.
            begun = threading.Event()
            threading.Thread(target=self._run, args=(lock, begun), name="rebuild", daemon=True).start()
            begun.wait()
        except TailRunning:
            return False
        finally:
            lock.release()
        return True

    def look(self) -> RebuildState:
        """How the last one fares, or fared."""
        if is_held(self._folder):
            return RebuildState("running", self._progress())
        try:
            printed = (self._folder / _PRINTED).read_bytes()
        except FileNotFoundError:
            return RebuildState("none")
        try:
            return RebuildState("done", result=msgspec.json.decode(printed, type=dict[str, Any]))
        except msgspec.MsgspecError:
            return RebuildState("failed", error=self._why())

    def _run(self, lock: TailLock, begun: threading.Event) -> None:
        command = [str(Path(sys.executable).with_name(self._service)), "rebuild", "--json"]
        try:
            with (self._folder / _PRINTED).open("wb") as printed, (self._folder / _SAID).open("wb") as said:
                process = subprocess.Popen(
                    # SIGINT: as with Ctrl-C, it deletes what it has not finished.
                    ending_with(os.getpid(), command, with_signal=signal.SIGINT),
                    env={**os.environ, **self._variables},
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=said,
                    pass_fds=[lock.fileno()],
                )
        finally:
            begun.set()
        process.wait()

    def _progress(self) -> RebuildProgress | None:
        """None before it has begun to apply, and where nothing is served that it could catch up with."""
        try:
            with self._reader.look() as look:
                served = look.checkpoint.sequence
        except NotBuilt:
            return None
        built = list_generations(self._reader.directory, self._reader.projection)
        version = self._reader.projection.version
        applied = [each.sequence for each in built if each.state == "building" and each.version == version]
        return RebuildProgress(applied[-1], max(served, applied[-1])) if applied else None

    def _why(self) -> str:
        """The last line that it said; of one that was killed that is how far it had come."""
        said = (self._folder / _SAID).read_text("utf-8", "replace").split("\n")
        last = next((line for line in reversed(said) if line.strip()), "")
        if last.startswith(_ERROR):
            return last.removeprefix(_ERROR)
        return f"it ended before it was done{f': {last}' if last else ''}"
