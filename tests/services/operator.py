"""An operator at the terminal: types commands of the services, and looks at what they print and how they exit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from click.testing import CliRunner, Result

import accounts.cli
import customers.cli
import eventlog.cli
from tests.pair import Pair

_COMMANDS = {"accounts": accounts.cli.main, "customers": customers.cli.main}


class Operator:
    """On the machine of a pair, with its variables."""

    def __init__(self, pair: Pair, redis_url: str) -> None:
        self.environment = {"DATA_DIR": str(pair.folder), "REDIS_URL": redis_url, "EVENT_STREAM": ""}

    def run(self, line: str, *more: str | Path, exits: int = 0) -> Result:
        """Run `accounts rebuild --switch`, in this process; words with blanks come as `more`."""
        service, *words = line.split()
        typed = [*words, *map(str, more)]
        result = CliRunner().invoke(_COMMANDS[service], typed, env=self.environment)
        assert result.exit_code == exits, (line, result.exit_code, result.output, result.exception)
        return result

    def ask(self, line: str, *more: str | Path, exits: int = 0) -> Any:
        """The same with `--json`: the one document that is all of standard output."""
        printed = self.run(line, *more, "--json", exits=exits).stdout
        assert printed.count("\n") == 1, printed
        return msgspec.json.decode(printed)

    def is_refused(self, line: str, *more: str | Path) -> str:
        """Exit code 1, nothing on standard output; the one line that says why."""
        result = self.run(line, *more, exits=1)
        assert result.stdout == ""
        return require_one_line(result.stderr)

    def look_after_log(self, *words: str) -> Result:
        """Run `eventlog ...`."""
        variables = {**self.environment, "EVENT_STREAM": "event-stream"}
        result = CliRunner().invoke(eventlog.cli.main, list(words), env=variables)
        assert result.exit_code == 0, result.output
        return result

    def start(self, line: str, *more: str | Path) -> subprocess.Popen[str]:
        """Run it as a process of its own, as the leader of a group."""
        service, *words = line.split()
        return subprocess.Popen(
            [str(Path(sys.executable).parent / service), *words, *map(str, more)],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def generations(self, service: str = "accounts") -> dict[int, str]:
        """The state of each generation by its number."""
        return {each["generation"]: each["state"] for each in self.ask(f"{service} generations")}


def require_one_line(printed: str) -> str:
    """The one line of an error that we know."""
    lines = printed.splitlines()
    assert len(lines) == 1, printed
    return lines[0]
