"""A bare app behind the web server of the services, with its settings."""

from __future__ import annotations

from granian import Granian
from granian.constants import Interfaces

from shared.admission import THREADS
from shared.cli import WORKERS


def serve(module: str, port: int) -> None:
    """What `make_app` of the module makes, until it is ended."""
    Granian(
        f"{module}:make_app",
        factory=True,
        interface=Interfaces.WSGI,
        address="127.0.0.1",
        port=port,
        workers=WORKERS,
        blocking_threads=THREADS,
        websockets=False,
        log_enabled=False,
    ).serve()
