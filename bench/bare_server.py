"""Something else that answers the same requests, behind the same web server with the same settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench.running_pair import ROOT
from eventlog.embedded_redis import free_port, is_free
from tests.make_run import wait_until


@contextmanager
def bare_server(peer: str, beside: str) -> Iterator[int]:
    """The port of a module of bench/peers, which is told what it works on."""
    port = free_port()
    process = psutil.Popen([sys.executable, "-m", f"bench.peers.{peer}", beside, str(port)], cwd=ROOT)
    try:
        wait_until(lambda: not is_free(port), lambda: f"{peer} did not start")
        yield port
    finally:
        workers = process.children(recursive=True)
        process.terminate()
        psutil.wait_procs([process, *workers], timeout=20)
