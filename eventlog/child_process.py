"""Processes that end with the one that started them, however that one ends.

It imports nothing but the standard library, and loads in milliseconds when run as a script.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Final

PID_VARIABLE: Final = "CHILD_PROCESS_PID"
"""The exec form leaves the command's pid here, so that the command can tell its own children who their parent is."""

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent(parent_pid: int | None = None, *, with_signal: int = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when its parent ends, even by SIGKILL; does nothing outside Linux.

    `parent_pid` is the parent's own word for who it is: with it, a parent that ended before this call is
    noticed too (a worker of `multiprocessing` needs no telling). Survives exec. The kernel's parent is the
    *thread* that forked: start such processes from a thread that lives as long as they should.
    """
    if sys.platform != "linux":
        return
    expected = parent_pid or _multiprocessing_parent() or os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, with_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != expected:
        os.kill(os.getpid(), with_signal)


def ending_with(
    parent: int | str, command: Sequence[str], *, with_signal: signal.Signals = signal.SIGTERM
) -> list[str]:
    """The command line that runs `command`, under the same pid, as a child that ends with its `parent`.

    `parent` is a pid, or text that whoever runs the line will replace by one.
    """
    options = ["--parent", str(parent), "--signal", with_signal.name]
    return [sys.executable, "-I", "-S", __file__, *options, "--", *command]


def _multiprocessing_parent() -> int | None:
    parent = multiprocessing.parent_process()
    return None if parent is None else parent.pid


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the command: `python -m eventlog.child_process [--parent PID] [--signal NAME] -- CMD ...`."""
    parser = argparse.ArgumentParser(
        prog="eventlog.child_process", description="Run CMD; it ends with its parent."
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="who starts this (default: the parent now)")
    parser.add_argument("--signal", default="SIGTERM", choices=[each.name for each in signal.Signals])
    parser.add_argument("command", nargs="+", metavar="CMD")
    options = parser.parse_args(arguments)
    program = shutil.which(options.command[0])
    if program is None:
        sys.exit(f"{options.command[0]} cannot be run: not an executable file, and not on the PATH")
    end_with_parent(options.parent, with_signal=signal.Signals[options.signal])
    os.execve(program, options.command, {**os.environ, PID_VARIABLE: str(os.getpid())})  # noqa: S606 -- no shell is the point


if __name__ == "__main__":
    main()
