"""A child ends with the process that started it, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from eventlog.child_process import PID_VARIABLE, ending_with
from tests.make_run import NEVER_S

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended"),
]

_PARENT = """
import os, subprocess, sys, time
from eventlog.child_process import ending_with
subprocess.Popen(ending_with(os.getpid(), ["sh", "-c", "echo $$; exec sleep 600"]))
time.sleep(600)
"""
_GONE_PID = 2**22 + 1  # above the kernel's largest


def test_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))  # the command itself has said it runs
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([child], timeout=NEVER_S)
        for survivor in alive:
            survivor.kill()
    assert alive == []


def test_child_of_a_parent_that_ended_before_ends_at_once(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    child = subprocess.run(ending_with(_GONE_PID, ["touch", str(trace)]), check=False)
    assert child.returncode == -signal.SIGTERM
    assert not trace.exists()


def test_command_keeps_the_pid_and_finds_it_in_its_environment() -> None:
    line = ending_with(os.getpid(), ["sh", "-c", f"echo $$ ${PID_VARIABLE}"])
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as child:
        assert child.communicate()[0].split() == [str(child.pid), str(child.pid)]


def test_missing_command_is_named() -> None:
    child = subprocess.run(
        ending_with(os.getpid(), ["no-such-program"]), capture_output=True, text=True, check=False
    )
    assert child.returncode == 1
    assert child.stderr.startswith("no-such-program cannot be run")
