"""A private redis-server for one machine, with which an acknowledged event is on disk.

Two of them can never share one directory: the server itself holds the directory's lock for as long as it lives.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eventlog.child_process import ending_with
from eventlog.errors import EventLogError
from eventlog.private_files import make_private_directory
from eventlog.torn_aof import cut_torn_end, mend_of_damage

HOST: Final = "127.0.0.1"

SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "bind": HOST,
    "protected-mode": "yes",
    "daemonize": "no",
    "logfile": "",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "aof-load-truncated": "no",
    "maxmemory-policy": "noeviction",
}

USERS_NAME: Final = "users.acl"  # in the server's directory; without it whoever comes may do everything

_PREFERRED = (7, 0, 0)
_PROGRAMS = ("redis-server", "valkey-server")
_INSTALL = "apt install redis-server (or brew install redis), or set REDIS_URL"
_LOCK_WAIT_S = 5.0  # an orphan that was told to end needs a moment for its last fsync
_LOADING_WAIT_S = 60.0
_STOP_WAIT_S = 10.0
_PAUSE_S = 0.02
_NEEDED_BYTES = 1024 * 1024
_SPACE_POLL_S = 0.2
_FIRST_FREE_PORT, _PORT_BLOCKS, _PORTS_IN_BLOCK = 20_000, 100, 120
_port_turns = itertools.count()


class Server(NamedTuple):
    """A server program that runs here."""

    path: Path
    version: tuple[int, int, int]


class EmbeddedRedisError(EventLogError):
    """The private Redis cannot run; the message says what to do."""


class NoServer(EmbeddedRedisError):
    """No server program was found."""


class DirectoryInUse(EmbeddedRedisError):
    """Another Redis holds the directory's lock; `pid` is its process, or None where it cannot be read."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        mend = "stop it" if pid is None else f"stop it with: kill {pid}"
        super().__init__(
            f"another Redis (pid {pid or 'unknown'}) is using {directory}: {mend}, then try again"
        )
        self.pid = pid


class PortTaken(EmbeddedRedisError):
    """Something else listens on the port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} is taken, and Redis needs it: choose another with REDIS_PORT")
        self.port = port


def find_server() -> Server:
    """The first redis-server or valkey-server of version 7 or later on the PATH, else the environment's own."""
    servers = list_servers()
    if not servers:
        raise NoServer(f"no redis-server on the PATH or in {Path(sys.executable).parent}: {_INSTALL}")
    return next((server for server in servers if server.version >= _PREFERRED), servers[-1])


def list_servers() -> list[Server]:
    """Every server program that runs here: those on the PATH in its order, then the environment's own."""
    found: dict[Path, Server] = {}
    for path in _candidates():
        version = _version_of(path)
        if version is not None:
            # never run under the resolved name: a packaged redis-server may be a link to a program of many names
            found.setdefault(path.resolve(), Server(path, version))
    return list(found.values())


def free_port() -> int:
    """A loopback port nothing listens on now.

    Each process goes through a block of its own, so that parallel tests don't take a port whose server is
    just restarting; and no outgoing connection borrows one, as the blocks lie below Linux' ephemeral ports.
    """
    first = _FIRST_FREE_PORT + os.getpid() % _PORT_BLOCKS * _PORTS_IN_BLOCK
    for turn in itertools.islice(_port_turns, _PORTS_IN_BLOCK):
        port = first + turn % _PORTS_IN_BLOCK
        if is_free(port):
            return port
    raise EmbeddedRedisError(
        f"no free port from {first} on, in {_PORTS_IN_BLOCK} tries: stop what listens there"
    )


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could bind the port; a port that is shared by SO_REUSEPORT counts as taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return True


def require_unused(directory: Path) -> None:
    """DirectoryInUse while a server of ours runs on the directory."""
    lock = _Lock(directory / "redis.lock")
    try:
        if not lock.take():
            raise DirectoryInUse(directory, lock.holder())
    finally:
        os.close(lock.descriptor)


class EmbeddedRedis:
    """A server as a child of this process, which ends with the thread that started it.

        with EmbeddedRedis(tmp_path) as server:
            client = redis.Redis.from_url(server.url)
            server.kill()
            server.start()  # the same directory, the same port

    `overrides` are settings that differ from `SERVER_SETTINGS`, for tests of what happens then.
    """

    def __init__(
        self,
        directory: Path,
        port: int = 0,
        *,
        server: Server | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self._server = server or find_server()
        self._overrides = dict(overrides or {})
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedRedisError("this Redis was not started: call start()")
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self.directory / "redis.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and return when it has loaded its log; does nothing while it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        with _locked(self.directory) as lock, self.log_path.open("ab") as log:
            self._log_start = log.tell()
            log.write(_told(cut_torn_end(self._server.path, self.directory)).encode())
            log.flush()
            config = _write_config(self.directory, self.port, self._server, self._overrides)
            self._process = subprocess.Popen(
                ending_with(os.getpid(), [str(self._server.path), str(config)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock.descriptor],
            )
            lock.name_holder(self._process.pid)
        try:
            self._wait_until_loaded()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, and wait; after some seconds it is killed."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _wait_until_loaded(self) -> None:
        deadline = time.monotonic() + _LOADING_WAIT_S
        with redis.Redis(HOST, self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
            while not self._is_loaded(client):
                if self._process is None or self._process.poll() is not None:
                    end = self._log_end()
                    raise EmbeddedRedisError(
                        f"Redis ended at its start; the end of {self.log_path}:\n{end}{mend_of_damage(end)}"
                    )
                if time.monotonic() > deadline:
                    raise EmbeddedRedisError(
                        f"Redis was not ready in {_LOADING_WAIT_S:.0f} s: see {self.log_path}"
                    )
                time.sleep(_PAUSE_S)

    def _is_loaded(self, client: redis.Redis) -> bool:
        try:
            return bool(client.ping())
        except redis.AuthenticationError:  # said while it loads, too
            return b"Ready to accept connections" in self.log_path.read_bytes()[self._log_start :]
        except (
            redis.ConnectionError,
            redis.TimeoutError,
        ):  # a loading server's refusal is a ConnectionError too
            return False

    def _log_end(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-10:])


def become_server(directory: Path, port: int) -> None:
    """Replace this process by the server; returns only by raising EmbeddedRedisError."""
    server = find_server()
    with _locked(directory) as lock:
        _wait_for_space(directory)
        sys.stderr.write(_told(cut_torn_end(server.path, directory)))
        sys.stderr.flush()
        config = _write_config(directory, port, server, {})
        os.set_inheritable(lock.descriptor, True)
        lock.name_holder(os.getpid())
        os.execv(server.path, [str(server.path), str(config)])  # noqa: S606 -- no shell is the point


def _told(message: str | None) -> str:
    return f"{message}\n" if message else ""


def _wait_for_space(directory: Path) -> None:
    """Without it Redis would end at its first write, and its supervisor pause longer with each such end."""
    if shutil.disk_usage(directory).free < _NEEDED_BYTES:
        sys.stderr.write(f"no space left for Redis in {directory}: free some; it starts then\n")
    while shutil.disk_usage(directory).free < _NEEDED_BYTES:
        time.sleep(_SPACE_POLL_S)


class _Lock:
    """The directory's lock; whoever has a copy of the descriptor holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not self.take():
            if time.monotonic() > deadline:
                os.close(self.descriptor)
                raise DirectoryInUse(self._path.parent, self.holder())
            time.sleep(_PAUSE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def name_holder(self, pid: int) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{pid}\n".encode(), 0)

    def take(self) -> bool:
        with suppress(BlockingIOError):
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def holder(self) -> int | None:
        text = self._path.read_text().strip()
        return int(text) if text.isdecimal() else None


def _locked(directory: Path) -> _Lock:
    make_private_directory(directory)
    return _Lock(directory / "redis.lock")


def _write_config(directory: Path, port: int, server: Server, overrides: Mapping[str, str]) -> Path:
    """Write redis.conf; EmbeddedRedisError if the server cannot run with it here."""
    if (directory / "appendonlydir").exists() and server.version < _PREFERRED:
        # It would not look there, and start an empty log beside the full one.
        version = ".".join(map(str, server.version))
        raise EmbeddedRedisError(
            f"{directory} was written by Redis 7 or later, and {server.path} is {version}: {_INSTALL}"
        )
    if not is_free(port):
        raise PortTaken(port)
    settings = {**SERVER_SETTINGS, "dir": str(directory.resolve()), "port": str(port), **overrides}
    users = directory.resolve() / USERS_NAME
    if users.exists():
        settings = {"aclfile": str(users), **settings}
    config = directory.resolve() / "redis.conf"
    config.write_text("".join(f"{name} {_quoted(value)}\n" for name, value in settings.items()))
    return config


def _candidates() -> Iterator[Path]:
    # Every directory, not shutil.which on the whole: an old server early on the PATH must not hide a newer one.
    for folder in [*os.get_exec_path(), str(Path(sys.executable).parent)]:
        for program in _PROGRAMS:
            found = shutil.which(program, path=folder)
            if found is not None:
                yield Path(found)


def _version_of(path: Path) -> tuple[int, int, int] | None:
    """None for a program that is not there, does not run here, or is something else."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def main(arguments: Sequence[str] | None = None) -> None:
    """Become the server: `python -m eventlog.embedded_redis DIRECTORY --port PORT`."""
    parser = argparse.ArgumentParser(
        prog="eventlog.embedded_redis", description="Run a private Redis in DIRECTORY."
    )
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        become_server(options.directory, options.port)
    except EmbeddedRedisError as error:
        sys.exit(f"Redis cannot start: {error}")


if __name__ == "__main__":
    main()
