"""supervisord as a child of this process: started, watched through its log, and stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.installation import Installation
from deploy.supervisord_conf import render
from eventlog.child_process import ending_with

_EXIT = re.compile(r"^\S+ \S+ \w+ exited: (\S+)", re.MULTILINE)
_STARTED = re.compile(r"^\S+ \S+ \w+ (?:success|exited): (\S+)", re.MULTILINE)
_STARTED_WITHIN_S = 5.0
_PAUSE_S = 0.1
_LOG_LINES_SHOWN = 15
_OWN_SHUTDOWN_S = 10


class Supervisor:
    """Keeps one group of programs running; everything it started ends with it, however it ends."""

    def __init__(
        self,
        installation: Installation,
        name: str,
        programs: Mapping[str, Sequence[str]],
        *,
        stop_wait_s: int,
    ) -> None:
        self.name = name
        self._programs = set(programs)
        self._log_dir = installation.log_dir
        self._stop_wait_s = stop_wait_s
        self._environment = installation.environment()
        self._conf = installation.run_dir / f"supervisord-{name}.conf"
        self._conf.write_text(render(name, programs, stop_wait_s))
        self._log = self._log_dir / f"supervisord-{name}.log"
        self._log_start = _size(self._log)
        self._program_log_starts = {program: _size(self.log_path(program)) for program in programs}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, inherited: Sequence[int]) -> None:
        """`inherited` descriptors stay open until supervisord has ended; its programs do not get them."""
        supervisord = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._conf)]
        self._process = subprocess.Popen(
            # SIGKILL: its programs learn of its end from the kernel. Told to end while it starts them, it would
            # signal children that have not begun yet, and wait for them in vain.
            ending_with(os.getpid(), supervisord, with_signal=signal.SIGKILL),
            env=self._environment,
            cwd=self._conf.parent,
            stdin=subprocess.DEVNULL,
            pass_fds=inherited,
            process_group=0,  # a Ctrl-C is for us alone, to stop things in their order
        )

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Return when supervisord and its programs have ended; kills what does not end in time."""
        if self._process is None:
            return
        self._wait_until_started()
        self._process.terminate()
        try:
            self._process.wait(self._stop_wait_s + _OWN_SHUTDOWN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def exits(self) -> Counter[str]:
        """How often each program has ended since the start."""
        return Counter(_EXIT.findall(self._log_text()))

    def has_written(self, program: str, text: str) -> bool:
        """Whether a program has, to its log, since the start."""
        return text in _text_from(self.log_path(program), self._program_log_starts[program])

    def _wait_until_started(self) -> None:
        """Until each program has run for a second, or ended: a signal to one that was just forked is lost."""
        deadline = time.monotonic() + _STARTED_WITHIN_S
        while self.is_running() and time.monotonic() < deadline:
            if self._programs <= set(_STARTED.findall(self._log_text())):
                return
            time.sleep(_PAUSE_S)

    def _log_text(self) -> str:
        """What supervisord wrote since the start."""
        return _text_from(self._log, self._log_start)

    def log_path(self, program: str) -> Path:
        return self._log_dir / f"{program}.log"

    def log_end(self, program: str) -> str:
        """The last lines a program wrote, indented; says so if there are none."""
        path = self.log_path(program)
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        return "\n".join(f"    {line}" for line in lines[-_LOG_LINES_SHOWN:]) or "    (it wrote nothing)"


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _text_from(log: Path, start: int) -> str:
    if not log.exists():
        return ""
    with log.open(errors="replace") as file:
        file.seek(start)
        return file.read()
