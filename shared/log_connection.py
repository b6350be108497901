"""How a service opens the log: where it lies, as which user, with the archive and the keys that sign entries."""

from __future__ import annotations

from pathlib import Path

from eventlog import EventLog
from eventlog.found_projections import find_projections
from eventlog.key_file import ForgottenKeys
from shared.events import make_codec
from shared.settings import Settings


def connect_log(settings: Settings, service: str) -> EventLog:
    """As this service, not yet connected to; KeysUnusable where its keys cannot be read.

    Without a file of keys, where a projection was built with one, it cannot be published to or applied.
    """
    keys: Path | ForgottenKeys | None = settings.keys_file
    if keys is None:
        found = (each.home for each in find_projections(settings.data_dir) if each.verified)
        keys = next(map(ForgottenKeys, found), None)
    return EventLog.connect(
        settings.redis(service),
        make_codec(),
        settings.stream,
        archive=settings.archive,
        keys=keys,
    )
