"""`customers import FILE`, which kills itself: `python -m tests.services.importing_process CRASH_BEFORE FILE`.

That is before the CRASH_BEFORE-th time that it has Redis run a script, reads the answer, syncs or renames a file.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from customers.cli import main
from eventlog.redis_client import Script

steps_left = 0


def count_step() -> None:
    global steps_left  # noqa: PLW0603  # the process has one count
    steps_left -= 1
    if steps_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(step: Callable[..., Any]) -> Callable[..., Any]:
    def count_first(*arguments: Any, **more: Any) -> Any:
        count_step()
        return step(*arguments, **more)

    return count_first


class CrashingConnection:
    """A script was sent, and perhaps carried out, when its answer is read."""

    def __init__(self, connection: Any) -> None:
        self.send_command = connection.send_command
        self.read_response = counted(connection.read_response)


def run_counted(script: Script, connection: Any, keys: Any, arguments: Any) -> Any:
    count_step()
    return run_script(script, CrashingConnection(connection), keys, arguments)


run_script = Script.run


if __name__ == "__main__":
    steps_left = int(sys.argv[1])
    Script.run = run_counted  # type: ignore[assignment,method-assign]  # for this process
    for name in ("fsync", "replace"):
        setattr(os, name, counted(getattr(os, name)))
    main(["import", *sys.argv[2:]])
