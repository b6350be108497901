"""A build broken on purpose: another generation is served as it is, however far it has come."""

from collections.abc import Callable
from pathlib import Path

from eventlog.generations import Generations
from eventlog.projection_file import ProjectionFile
from eventlog.subscription import Subscription
from eventlog.tail_requests import RequestKind


def _switch_at_once(
    self: Subscription, generation: Path, kind: RequestKind, is_wanted: Callable[[], bool] = lambda: True
) -> None:
    del kind, is_wanted
    before = self._file
    Generations(before.directory, before.projection).switch(generation)
    self._file = ProjectionFile(before.directory, before.projection)
    before.close()


Subscription.switch_to = _switch_at_once  # type: ignore[method-assign]  # that is what breaks it
