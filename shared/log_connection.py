"""How a service opens the log: where it lies, as which user, with the archive and the keys that sign entries."""

from __future__ import annotations

from eventlog import EventLog
from shared.events import make_codec
from shared.settings import Settings


def connect_log(settings: Settings, service: str) -> EventLog:
    """As this service, not yet connected to; KeysUnusable where its keys cannot be read."""
    return EventLog.connect(
        settings.redis(service),
        make_codec(),
        settings.stream,
        archive=settings.archive,
        keys=settings.keys_file,
    )
