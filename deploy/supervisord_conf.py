"""The text of a supervisord.conf: what is started, restarted and stopped, and how."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping, Sequence

from eventlog.child_process import PID_VARIABLE, ending_with

_SUPERVISORD_PID = (
    f"%(ENV_{PID_VARIABLE})s"  # expanded by supervisord, which is itself started by ending_with
)

# startretries: it never gives up; the pause before a start grows by a second with each that fails.
# startsecs: more than a start that fails takes on a busy machine, or it would pass for one that did not fail.
# killasgroup, not stopasgroup: a web server stops its own workers; what is left of them is killed with it.
_PROGRAM = """
[program:{name}]
command={command}
startsecs=3
startretries=1000000
autorestart=true
stopsignal=TERM
stopwaitsecs={stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile=../log/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""

# No control socket: nothing outside needs to speak to it. nocleanup: other supervisors' logs are not ours.
_SUPERVISORD = """[supervisord]
nodaemon=true
silent=true
nocleanup=true
logfile=../log/supervisord-{name}.log
logfile_maxbytes=10MB
logfile_backups=3
pidfile=supervisord-{name}.pid
"""


def render(name: str, programs: Mapping[str, Sequence[str]], stop_wait_s: int) -> str:
    """One group of programs, stopped together; supervisord runs in a directory beside `log`.

    Paths are relative to it: supervisord would read a % in the data directory's own as an expansion.
    """
    sections = [_SUPERVISORD.format(name=name)]
    if os.geteuid() == 0:
        sections.append("user=root\n")  # said outright, or it warns that privileges were not dropped
    for program, command in programs.items():
        sections.append(_PROGRAM.format(name=program, command=_follower(command), stop_wait_s=stop_wait_s))
    sections.append(f"\n[group:{name}]\nprograms={','.join(programs)}\n")
    return "".join(sections)


def _follower(command: Sequence[str]) -> str:
    """A program that ends with supervisord, even when that is killed."""
    # SIGKILL: a program that is just starting, or waits for a slow client, would pass over a SIGTERM.
    words = ending_with(_SUPERVISORD_PID, command, with_signal=signal.SIGKILL)
    return " ".join(word if word == _SUPERVISORD_PID else _quoted(word) for word in words)


def _quoted(word: str) -> str:
    # supervisord reads % as an expansion, and " #" and " ;" as a comment, even inside quotes
    return shlex.quote(word).replace("%", "%%").replace(" ", "'\" \"'")
