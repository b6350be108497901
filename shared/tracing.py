"""Whether this process makes spans, by OpenTelemetry's own variables; without them nothing of it is imported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.spans import Spans

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN: Final = "http/protobuf"

_logger = logging.getLogger(__name__)


def start_tracing(process: str, environment: Mapping[str, str]) -> Spans | None:
    """Begin to export to the collector that the environment names, as the service `process` if it names none.

    None where no collector is named. Where it cannot be done a line in the process's log says why: traces are no
    reason not to start.
    """
    if not any(environment.get(name) for name in _ENDPOINTS) or _is_off(environment):
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _SPOKEN)
    if protocol != _SPOKEN:
        _logger.warning("no traces: %s is %r, and only %s is spoken", _PROTOCOLS[1], protocol, _SPOKEN)
        return None
    try:
        from shared.spans import Spans  # noqa: PLC0415  # an extra, which takes 0.3 s to import

        return Spans(process)
    except ImportError as missing:
        _logger.warning("no traces: %s: pip install 'revenue-stream[tracing]'", missing)
    except Exception as refused:  # noqa: BLE001  # settings that it does not like, some while it is imported
        _logger.warning(
            "no traces: OpenTelemetry does not start: %s: %s: set right, or unset, what is wrong of %s",
            type(refused).__name__,
            refused,
            ", ".join(sorted(name for name in environment if name.startswith("OTEL_"))),
        )
    return None


def _is_off(environment: Mapping[str, str]) -> bool:
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none"
