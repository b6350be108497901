"""`accounts`, `customers` and `eventlog` share one manner: examples that work, `--json`, one-line errors, colours."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from accounts.revenue import revenue
from customers.directory import directory
from eventlog import Projection, ProjectionFile
from eventlog.archiving import ARCHIVE_NAME
from eventlog.commands.common import DIFFERENT, INTERRUPTED
from eventlog.embedded_redis import EmbeddedRedis, free_port
from eventlog.key_file import KeyFile, new_key, write_keys
from eventlog.position import START
from eventlog.readers import ReaderKind
from eventlog.signed_log import begin_signing
from eventlog.signing import Keys
from shared.permissions import Role
from tests.make_run import NEVER_S, wait_until
from tests.pair import Pair
from tests.programs import COMMANDS, PROGRAMS, examples_of, options_of
from tests.services.operator import require_one_line

WITHOUT_JSON = {
    "accounts serve": "prints nothing",
    "accounts tail": "prints nothing",
    "customers serve": "prints nothing",
    "customers tail": "prints nothing",
}
A_DOCUMENT_A_LINE = {"eventlog tail"}
UNTIL_INTERRUPTED = {
    "accounts serve",
    "accounts tail",
    "customers serve",
    "customers tail",
    "eventlog archive",
    "eventlog tail --follow",
}
LONG_WORK = {
    "eventlog archive --once": "keeping",
    "eventlog archive --check": "checking",
    "eventlog trim --keep 1": "freeing",
    "accounts rebuild --switch": "building revenue",
    "accounts verify": "building revenue",
    "accounts rollback": "catching up generation",
    "accounts as-of now": "replaying",
    "accounts replay": "replaying",
    "customers import november.ndjson": "checking november.ndjson",
}
EXAMPLE_POSITION = "1795262660328-0"
EXAMPLE_KEY = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def has_json(command: click.Command) -> bool:
    return "--json" in options_of(command)


def prints_by_itself(command: click.Command) -> bool:
    return not isinstance(command, click.Group) or command.invoke_without_command


@pytest.mark.parametrize("path", COMMANDS)
def test_help_says_what_a_command_does_and_ends_with_examples(path: str) -> None:
    program, *words = path.split()
    shown = CliRunner().invoke(PROGRAMS[program], [*words, "--help"], prog_name=program)
    assert shown.exit_code == 0
    assert COMMANDS[path].get_short_help_str()
    _, _, examples = shown.stdout.partition("\nExamples:\n")
    assert [line.strip() for line in examples.splitlines()] == examples_of(path) != []


def test_every_command_that_prints_has_json_or_a_reason() -> None:
    lacking = {path for path, found in COMMANDS.items() if prints_by_itself(found) and not has_json(found)}
    assert lacking == WITHOUT_JSON.keys()


@pytest.mark.parametrize("program", PROGRAMS)
def test_version_is_that_of_the_package(program: str) -> None:
    shown = CliRunner().invoke(PROGRAMS[program], ["--version"], prog_name=program)
    assert shown.stdout == f"{program} {version('revenue-stream')}\n"


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("eventlog statsu", "status"),
        ("accounts rebulid", "rebuild"),
        ("customers generations purne", "prune"),
    ],
)
def test_mistyped_command_names_the_near_one(line: str, near: str) -> None:
    program, *words = line.split()
    refused = CliRunner().invoke(PROGRAMS[program], words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"Did you mean '{near}'? (see `" in require_one_line(refused.stderr)


class Terminal:
    """Where examples are typed: beside a running pair, in an empty directory with the files that they name."""

    def __init__(self, pair: Pair, url: str, folder: Path) -> None:
        self._pair = pair
        self._folder = folder
        self.environment = {
            "DATA_DIR": str(pair.folder),
            "REDIS_URL": url,
            "EVENT_STREAM": "event-stream",
            "DEMO": "1",
            "ACCOUNTS_PORT": str(free_port()),
            "CUSTOMERS_PORT": str(free_port()),
        }
        self._position = str(pair.log.state().end)

    def prepare(self, line: str) -> None:
        """Make what the line takes for granted, anew before each time that it is typed."""
        words = line.split()
        invoice = {"customer_id": "7", "purchase_date": "2026-01-31", "purchase_price_cents": 12000}
        (self._folder / "november.ndjson").write_text(f"{json.dumps(invoice)}\n")
        if "backup" in words:
            (self._folder / "november.db").unlink(missing_ok=True)
        if "replay" in words:
            (self._folder / "replayed.db").unlink(missing_ok=True)
        if "users" in words:
            (self._pair.folder / "accounts" / "users.db").unlink(missing_ok=True)
            if not {"add", "list"} & set(words):
                self._pair.users.add("ada", "a password of hers", Role.MEMBER)
        if "--archive" in words:
            shutil.copy(self._pair.folder / ARCHIVE_NAME, self._folder / "archive-copy.db")
        if "remove" in words:
            self._pair.log.readers.report(
                "revenue-v1",
                ReaderKind.PROJECTION,
                position=START,
                sequence=0,
                log_id=self._pair.log.state().log_id or "",
            )
        self._prepare_keys(line)
        if "--version" in words:
            for home, projection in (
                (self._pair.revenue_folder, revenue),
                (self._pair.directory_folder, directory),
            ):
                ProjectionFile(home, Projection(projection.name, 1, ())).close()

    def _prepare_keys(self, line: str) -> None:
        """Those of tokens, and those of entries."""
        if line.startswith("accounts keys remove"):
            self._pair.keys.rotate()
        self.environment["EVENT_KEYS_FILE"] = ""
        if line.startswith("eventlog keys"):
            path = self._folder / "event-keys.json"
            write_keys(path, Keys([new_key(), new_key()._replace(id="3f9a01c2")], {}))
            self.environment["EVENT_KEYS_FILE"] = str(path)
            if "begin" not in line:
                begin_signing(self._pair.log, KeyFile(path))

    def type(self, line: str) -> Result:
        self.prepare(line)
        program, *words = shlex.split(
            line.replace(EXAMPLE_POSITION, self._position).replace(
                EXAMPLE_KEY, self._pair.keys.list_keys()[0].kid
            )
        )
        done = CliRunner().invoke(
            PROGRAMS[program], words, env=self.environment, input="a long password\na long password\n"
        )
        assert done.exit_code in {0, DIFFERENT}, (line, done.output, done.exception)
        assert "doctor" in words or done.exit_code == 0, (line, done.output)
        return done

    def interrupt(self, line: str) -> None:
        """Start what runs until Ctrl-C, see it begin, and end it so."""
        program, *words = line.split()
        told = self._folder / "told"
        with told.open("wb") as file:
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / program), *words],
                env={**os.environ, **self.environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
            try:
                wait_until(lambda: bool(told.read_text()) or process.poll() is not None, told.read_text)
                process.send_signal(signal.SIGINT)
                assert process.wait(NEVER_S) in {0, INTERRUPTED}, (
                    told.read_text()
                )  # the latter where it had hardly begun
            finally:
                process.kill()
                process.wait(NEVER_S)


@pytest.fixture
def terminal(
    served: Pair, redis_server: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    folder = tmp_path / "terminal"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(served, redis_server.url, folder)


def as_documents(path: str, printed: str) -> list[object]:
    lines = printed.splitlines() if path in A_DOCUMENT_A_LINE else [printed]
    return [json.loads(line) for line in lines]


@pytest.mark.processes
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_example_works_and_json_is_all_of_standard_output(program: str, terminal: Terminal) -> None:
    """What needs an archive comes after the one that makes it, and what makes another log comes last."""
    paths = [path for path in COMMANDS if path.split()[0] == program]
    lines = [(path, line) for path in paths for line in examples_of(path)]
    first = [
        "eventlog archive --once",
        f"{program} backup november.db",
        f"{program} rebuild --switch-if-equal",
    ]
    lines.sort(key=lambda each: (each[1] not in first, "--adopt" in each[1]))
    for path, line in lines:
        if line in UNTIL_INTERRUPTED:
            terminal.interrupt(line)
            continue
        printed = terminal.type(line).stdout
        if "--json" in line:
            assert as_documents(path, printed), line
        elif has_json(COMMANDS[path]) and not isinstance(COMMANDS[path], click.Group):
            assert as_documents(path, terminal.type(f"{line} --json").stdout), line


def shown_on_terminal(line: str, stream: str = "stdout", **variables: str) -> str:
    """What a person sees of it: that stream is a terminal."""
    ours, theirs = os.openpty()
    program, *words = line.split()
    streams: dict[str, int] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    try:
        subprocess.run(
            [str(Path(sys.executable).parent / program), *words],
            env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **variables},
            stdout=streams["stdout"],
            stderr=streams["stderr"],
            check=True,
        )
        os.close(theirs)
        return os.read(ours, 100_000).decode()  # OSError where nothing was shown
    finally:
        os.close(ours)


@pytest.mark.processes
def test_long_work_shows_a_bar_on_a_terminal(terminal: Terminal) -> None:
    """Archive first: what it keeps is checked, trimmed and written back."""
    terminal.prepare("customers import november.ndjson")
    for line, what in LONG_WORK.items():
        assert what in shown_on_terminal(line, "stderr", **terminal.environment), line


@pytest.mark.processes
def test_colours_are_for_a_terminal_and_not_where_no_color_is_set(terminal: Terminal) -> None:
    line, plain = "eventlog tail -n 1", "eventlog tail -n 1 --json"
    assert "\x1b[" in shown_on_terminal(line, **terminal.environment)
    assert "\x1b[" not in shown_on_terminal(line, **terminal.environment, NO_COLOR="1")
    assert "\x1b[" not in shown_on_terminal(plain, **terminal.environment)
    assert "\x1b[" not in terminal.type(line).stdout


@pytest.mark.parametrize(
    "line",
    [
        "eventlog status",
        "accounts rebuild",
        "accounts users add a --password x",
        "eventlog trim",
        "eventlog show x",
    ],
)
def test_error_is_one_line_with_nothing_on_standard_output(line: str, tmp_path: Path) -> None:
    program, *words = line.split()
    nobody = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}", "DATA_DIR": str(tmp_path)}
    refused = CliRunner().invoke(PROGRAMS[program], words, env=nobody)
    assert (refused.exit_code in {1, 2}, refused.stdout) == (True, "")
    assert require_one_line(refused.stderr).startswith("Error: ")
