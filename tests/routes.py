"""Every route of both services, read off the apps themselves: for the table of who may what, and for its test."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from eventlog import EventLog
from shared.events import make_codec
from shared.operations import Operation, operation_of
from shared.permissions import Allowed
from tests.fake_redis import fake_pool
from tests.pair import Pair


class Route(NamedTuple):
    """A path as Flask has it, `/accounts/<account_id>`; `operation` is None for the files of pages."""

    service: str
    method: str
    path: str
    operation: Operation | None
    summary: str

    @property
    def allowed(self) -> Allowed:
        return self.operation.allowed if self.operation else Allowed.ANYONE

    @property
    def is_unending(self) -> bool:
        """Its answer goes on while somebody listens."""
        return self.operation is not None and "text/event-stream" in self.operation.media_types

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.path}"


def list_routes() -> list[Route]:
    """By service, path and method; those that werkzeug answers itself (`HEAD`, `OPTIONS`) go with `GET`."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(EventLog(fake_pool(), make_codec()), Path(folder))
        for service, app in (("accounts", pair.accounts_app), ("customers", pair.customers_app)):
            for rule in app.url_map.iter_rules():
                view = app.view_functions[rule.endpoint]
                operation = operation_of(view)
                summary = (view.__doc__ or "").partition("\n")[0] if operation else "Files of the pages."
                methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
                found += [Route(service, method, rule.rule, operation, summary) for method in methods]
    return sorted(found, key=lambda route: (route.service, route.path, route.method))
