"""What a tail tells of each batch that it applied: counted, and a line in its log."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import structlog

from eventlog.subscription import AppliedBatch, OnApplied
from shared.metrics import TailMetrics
from shared.traceparent import trace_id_of

# Entries of a batch that a line names each; a tail that catches up names the first and the last.
_NAMED: Final = 20


def seeing_batches(metrics: TailMetrics, inner: OnApplied | None) -> OnApplied:
    """What `on_applied` is, `inner` included."""
    log = structlog.get_logger().bind()

    def see(batch: AppliedBatch) -> None:
        if batch.entries:  # else it only took notice of the log
            metrics.note_batch(batch)
            with suppress(OSError):  # whoever reads the log is gone
                log_batch(batch)
        if inner is not None:
            inner(batch)

    def log_batch(batch: AppliedBatch) -> None:
        line: dict[str, object] = {
            "projection": batch.projection,
            "entries": batch.entries,
            "first_position": str(batch.first),
            "position": str(batch.last),
            "seconds": round((batch.ended_ns - batch.began_ns) / 1e9, 6),
        }
        if batch.entries <= _NAMED:
            known = [each.metadata for each in batch.recorded]
            line["correlation_ids"] = sorted({each.correlation_id for each in known})
            if traces := {trace_id_of(each.traceparent) for each in known if each.traceparent}:
                line["trace_ids"] = sorted(traces)
        log.info("applied", **line)
        if batch.parked:
            first = [str(parked.position) for parked in batch.parked[:_NAMED]]
            log.warning("parked", projection=batch.projection, entries=len(batch.parked), positions=first)

    return see
