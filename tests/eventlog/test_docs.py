"""A stranger follows docs/eventlog.md to the letter, in an empty directory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from eventlog.continuity import Verdict
from eventlog.embedded_redis import free_port
from eventlog.tail_status import TailState, TailStatusFile

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "eventlog.md").read_text("utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(found["language"], found["text"]) for found in BLOCK.finditer(PAGE)]
FILES = {text.splitlines()[0].removeprefix("# "): text for language, text in BLOCKS if language == "python"}
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
PORT = "6380"
EXPORT = next(line for line in COMMANDS if line.startswith("export "))
VARIABLES = dict(word.split("=") for word in EXPORT.split()[1:])


class Stranger:
    """An empty directory with the page's files, a shell in it, and what was left running there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_port()
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            **VARIABLES,
            "REDIS_PORT": str(self.port),
        }
        self._left_running: list[subprocess.Popen[str]] = []
        for name, text in FILES.items():
            (directory / name).write_text(text.replace(PORT, str(self.port)))

    def start(self, line: str) -> subprocess.Popen[str]:
        """Leave it running, as in another terminal."""
        process = subprocess.Popen(
            line.replace(PORT, str(self.port)).split(),
            cwd=self._directory,
            env=self._environment,
            text=True,
            stdout=subprocess.DEVNULL,
        )
        self._left_running.append(process)
        return process

    def run(self, line: str) -> str:
        done = subprocess.run(
            line.split(),
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def wait_for_redis(self) -> None:
        with redis.Redis(port=self.port) as client:

            def answers() -> bool:
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

            _wait_until(answers)

    def wait_for_tail(self) -> None:
        status = TailStatusFile(self._directory / "helpdesk" / "support" / "v1")
        _wait_until(lambda: status.read().state is TailState.FOLLOWING)

    def leave(self) -> None:
        for process in reversed(self._left_running):
            process.terminate()
            process.wait(20)


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    stranger = Stranger(tmp_path)
    yield stranger
    stranger.leave()


def test_page_works_from_top_to_bottom(stranger: Stranger) -> None:
    start_server, _, init = COMMANDS
    stranger.start(start_server)
    stranger.wait_for_redis()
    assert "on stream event-stream" in stranger.run(init)

    assert "1 passed" in stranger.run("pytest -p no:cacheprovider test_support.py")
    worked = stranger.run("python work.py")
    assert "as number 1" in worked
    assert "decide again, knowing" in worked

    assert stranger.run("python rebuild.py") == "nothing was served to compare it with\n"
    tail = stranger.start("python tail.py")
    stranger.wait_for_tail()
    assert stranger.run("python answer.py").splitlines()[1:] == [
        "customer 7 opened 1",
        "passed over: TicketClosed",
    ]
    assert stranger.run("python rebuild.py") == "the same: True rows compared: 1\n"
    tail.terminate()
    assert tail.wait(20) == 0


def test_every_python_block_is_a_file_that_the_page_runs() -> None:
    assert list(FILES) == ["support.py", "test_support.py", "work.py", "tail.py", "answer.py", "rebuild.py"]
    assert PORT in FILES["support.py"]
    assert PORT in COMMANDS[0]
    assert VARIABLES == {"REDIS_PORT": PORT, "DATA_DIR": "helpdesk"}


def test_page_names_every_verdict() -> None:
    assert set(re.findall(r"\| verdict `(\w+)`", PAGE)) == set(Verdict)
