"""A body is read when its request has a place in line, and for as long as it takes."""

from __future__ import annotations

import shared.arrivals

shared.arrivals.Arrivals.__call__ = lambda self, environ, start: self._app(environ, start)  # type: ignore[assignment, method-assign]  # broken on purpose
