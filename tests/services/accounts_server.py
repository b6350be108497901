"""`accounts serve` as a process, for what only the real web server shows."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from eventlog.child_process import ending_with
from eventlog.embedded_redis import EmbeddedRedis, free_port
from shared.cli import WORKERS
from tests.make_run import NEVER_S, ROOT, wait_until
from tests.pair import Pair


class AccountsServer:
    """On a port of loopback; what it writes goes to `output`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process = process
        self.port = port
        self.output = output

    def end(self) -> None:
        """As a supervisor ends it."""
        self.process.terminate()
        self.process.wait(NEVER_S)


@contextmanager
def accounts_server(
    pair: Pair, redis_server: EmbeddedRedis, output: Path, variables: Mapping[str, str] | None = None
) -> Iterator[AccountsServer]:
    """Answers already; ended behind it if it still runs. `variables` set it up."""
    port = free_port()
    environment = {
        **os.environ,
        "DATA_DIR": str(pair.folder),
        "DEMO": "1",
        "REDIS_URL": redis_server.url,
        "ACCOUNTS_PORT": str(port),
        **(variables or {}),
    }
    command = ending_with(os.getpid(), [str(Path(sys.executable).with_name("accounts")), "serve"])
    with (
        output.open("wb") as written,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=written, stderr=written) as process,
    ):
        server = AccountsServer(process, port, output)
        try:
            # All of them: a worker that still starts may miss that it is to end.
            wait_until(lambda: output.read_text().count("Started worker") == WORKERS, output.read_text)
            yield server
        finally:
            server.end()
