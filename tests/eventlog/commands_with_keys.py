"""`eventlog` as it is typed, in this process, with the keys of a log or without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from eventlog.cli import main

Run = Callable[..., Result]


def running_with_keys(url: str, data_directory: Path, keys_file: Path) -> Run:
    """Runs a line, which must exit as it is told; without the keys where `keys` is False."""

    def run(line: str, *, exits: int = 0, keys: bool = True) -> Result:
        variables = {
            "REDIS_URL": url,
            "DATA_DIR": str(data_directory),
            "EVENT_KEYS_FILE": str(keys_file) if keys else "",
        }
        done = CliRunner().invoke(main, line.split(), env=variables)
        assert done.exit_code == exits, (line, done.output, done.exception)
        return done

    return run
