"""A collector of traces: a process that takes OTLP over HTTP, as any does, and tells what spans it was sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from eventlog.child_process import ending_with
from tests.make_run import ROOT, wait_until

_PROTOBUF = "application/x-protobuf"


class Seen(NamedTuple):
    """A span as it was exported; ids are hexadecimal, `links` the ids of the spans linked to."""

    process: str
    name: str
    trace_id: str
    id: str
    parent_id: str
    links: list[str]
    attributes: Mapping[str, Any]
    is_error: bool


class Collector:
    """Where it listens, and what it was sent until now."""

    def __init__(self, url: str, spans: Path) -> None:
        self.url = url
        self._spans = spans

    def spans(self) -> list[Seen]:
        return [Seen(**json.loads(line)) for line in self._spans.read_text().splitlines()]


@contextmanager
def running_collector(folder: Path) -> Iterator[Collector]:
    """On a free port; its files lie in `folder`."""
    spans, address = folder / "spans.ndjson", folder / "address"
    spans.touch()
    command = [sys.executable, "-m", "tests.trace_collector", str(spans), str(address)]
    with subprocess.Popen(ending_with(os.getpid(), command), cwd=ROOT) as process:
        try:
            wait_until(address.exists, lambda: "the collector does not listen")
            yield Collector(address.read_text(), spans)
        finally:
            process.terminate()


def _shown(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return list(map(_shown, value.array_value.values)) if kind == "array_value" else getattr(value, str(kind))


def _seen(process: str, span: Span) -> Seen:
    return Seen(
        process,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        [link.span_id.hex() for link in span.links],
        {attribute.key: _shown(attribute.value) for attribute in span.attributes},
        span.status.code == Status.STATUS_CODE_ERROR,
    )


def _read(body: bytes) -> Iterator[Seen]:
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {attribute.key: _shown(attribute.value) for attribute in of_process.resource.attributes}
        for scope in of_process.scope_spans:
            yield from (_seen(resource["service.name"], span) for span in scope.spans)


def main(spans: Path, address: Path) -> None:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if (self.path, self.headers["Content-Type"]) != ("/v1/traces", _PROTOBUF):
                self.send_error(404)
                return
            lines = "".join(f"{json.dumps(seen._asdict())}\n" for seen in _read(body))
            with spans.open("a") as written:
                written.write(lines)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", _PROTOBUF)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """What is of interest stands in the file."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        unfinished = address.with_suffix(".new")
        unfinished.write_text(f"http://127.0.0.1:{server.server_port}")
        unfinished.rename(address)
        server.serve_forever()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
