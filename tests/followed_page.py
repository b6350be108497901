"""A page of the documentation followed to the letter, in an empty directory.

A ```python block whose first line is a comment with a name is a file; each line of a ```sh block is typed, in
order; one that ends with the comment `until Ctrl-C` is left running, as in a terminal of its own.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from eventlog import Codec, EventLog
from tests.make_run import NEVER_S, ROOT, wait_until

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w/.]+\.py)\n")
_LEFT_RUNNING = "# until Ctrl-C"


class Block(NamedTuple):
    """A fenced block of a page; no language is the empty one."""

    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """What a block of Python is to be saved as."""
        found = _FILE_NAME.match(self.text)
        return found[1] if found and self.language == "python" else None


def blocks_of(page: Path) -> list[Block]:
    """In order, each without the blanks that it is indented by."""
    return blocks_in(page.read_text("utf-8"))


def blocks_in(markdown: str) -> list[Block]:
    """As `blocks_of`, of a part of a page."""
    return [
        Block(found["language"], re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE))
        for found in _BLOCK.finditer(markdown)
    ]


class Followed:
    """A shell in the directory, what it printed last for each line, what was left running, and the pages done."""

    def __init__(self, folder: Path, replaced: Mapping[str, str]) -> None:
        self._folder = folder
        self._replaced = replaced
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.printed: dict[str, str] = {}
        self.followed: list[Path] = []

    def follow(
        self, page: Path, *, ready: Iterable[Callable[[], bool]] = (), skipped: Container[str] = ()
    ) -> None:
        """Do all that the page says; `ready` tells of what is left running, in turn, when it is."""
        begun = iter(ready)
        for block in blocks_of(page):
            if block.file_name:
                (self._folder / block.file_name).write_text(self._replace(block.text))
            elif block.language == "sh":
                for line in block.text.splitlines():
                    if line not in skipped:
                        self._type(line, begun)
        self.followed.append(page)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """What a line does that stands in a sentence of the page."""
        return subprocess.run(
            ["sh", "-c", self._replace(line)],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def kill(self, line: str) -> None:
        """As `kill -9` does, what was left running."""
        process = self._running.pop(line)
        process.kill()
        process.wait(NEVER_S)

    def stop(self, line: str) -> int:
        """Ctrl-C, in the terminal where it was left running."""
        process = self._running.pop(line)
        process.terminate()
        return process.wait(NEVER_S)

    def leave(self) -> None:
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(NEVER_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(NEVER_S)

    def _replace(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(self._replaced)})\b", lambda found: self._replaced[found[1]], text)

    def _type(self, line: str, ready: Iterator[Callable[[], bool]]) -> None:
        command, _, comment = line.partition("    #")
        if command.startswith("export "):
            words = (word.split("=", 1) for word in self._replace(command).split()[1:])
            self._environment.update((name, value) for name, value in words)
        elif f"#{comment}" == _LEFT_RUNNING:
            if command in self._running:
                self.stop(command)
            self._running[command] = self._start(command)
            wait_until(next(ready), lambda: command)
        else:
            done = self.run(command)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            self.printed[command] = done.stdout

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._replace(command).split(),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def is_reader(port: int, name: str) -> Callable[[], bool]:
    """Whether the log on that port knows a reader of this name, as it does once a tail has applied what is there."""

    def is_known() -> bool:
        with closing(EventLog.connect(f"redis://127.0.0.1:{port}", Codec([]))) as log:
            return name in {reader.name for reader in log.readers.list_all()}

    return is_known


def answers_on(port: int) -> Callable[[], bool]:
    """Whether a Redis does."""

    def answers() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        return False

    return answers


@contextmanager
def followed(folder: Path, replaced: Mapping[str, str]) -> Iterator[Followed]:
    """`replaced`: each word that the page writes, and what stands for it here, such as a free port."""
    page = Followed(folder, replaced)
    try:
        yield page
    finally:
        page.leave()
