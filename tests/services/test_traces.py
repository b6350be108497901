"""The trace that a request is part of is that of its events, too; spans are made only where they are asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from eventlog import EventLog, Metadata, RecordedEvent
from eventlog.subscription import AppliedBatch
from shared.tracing import start_tracing
from tests.clock import FIXED_NOW
from tests.pair import Pair, running_pair
from tests.services.facts import an_invoice_created
from tests.trace_collector import Seen, running_collector

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def pair(fake_log: EventLog, tmp_path: Path) -> Iterator[Pair]:
    with running_pair(fake_log, tmp_path) as pair:
        pair.make_demo()
        yield pair


def metadata_of_a_customer_created(pair: Pair, traceparent: str | None) -> dict[str, str]:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    answer = pair.customers().post("/customers", json={"name": "Ada", "account_id": "1"}, headers=headers)
    assert answer.status_code == 201
    metadata: dict[str, str] = json.loads(pair.log.read_back(count=1)[0].fields[7])
    return metadata


@pytest.mark.parametrize("flags", ["01", "00"])
def test_the_callers_trace_is_passed_on_without_a_collector(pair: Pair, flags: str) -> None:
    asked = f"{TRACEPARENT[:-2]}{flags}"
    assert metadata_of_a_customer_created(pair, asked)["traceparent"] == asked


@pytest.mark.parametrize(
    "asked",
    [
        None,
        "",
        "garbage",
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        f"{TRACEPARENT},{TRACEPARENT}",
        f"ff{TRACEPARENT[2:]}",
        f"ff{TRACEPARENT[2:]}-more",
        f"cc{TRACEPARENT[2:]}more",
        f"cc-{'0' * 32}-00f067aa0ba902b7-01-more",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    ],
)
def test_what_names_no_trace_is_passed_over(pair: Pair, asked: str | None) -> None:
    assert "traceparent" not in metadata_of_a_customer_created(pair, asked)


@pytest.mark.parametrize(
    ("later", "passed_on"), [("01", "01"), ("00", "00"), ("01-more", "01"), ("03-", "01"), ("fe-more", "00")]
)
def test_a_later_version_is_read_as_far_as_this_one_goes(pair: Pair, later: str, passed_on: str) -> None:
    """Of its flags only that for sampled is known to mean the same."""
    found = metadata_of_a_customer_created(pair, f"cc{TRACEPARENT[2:-2]}{later}")
    assert found["traceparent"] == f"{TRACEPARENT[:-2]}{passed_on}"


def spans_of_a_batch(
    asked: Sequence[str | None], folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str
) -> tuple[list[Seen], list[Seen]]:
    """That of the batch, if there is one, and those of its entries, which carry what is asked."""
    recorded = [
        RecordedEvent(
            an_invoice_created(number),
            f"{number}-0",
            number,
            Metadata(
                event_id=str(number), occurred_at=FIXED_NOW, correlation_id="order", traceparent=traceparent
            ),
        )
        for number, traceparent in enumerate(asked, 1)
    ]
    with running_collector(folder) as collector:
        for name, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **environment}.items():
            monkeypatch.setenv(name, value)
        spans = start_tracing("accounts-tail", os.environ)
        assert spans is not None
        first, last = recorded[0].position, recorded[-1].position
        spans.of_batch(AppliedBatch("revenue", 1, 2, len(recorded), recorded, [], first, last))
        spans.end()
        seen = collector.spans()
    return [span for span in seen if not span.parent_id], [span for span in seen if span.parent_id]


@pytest.mark.processes
def test_a_batch_of_many_traces_is_shown_in_the_first_hundred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what cannot be read nor what is not sampled counts, nor how many entries a trace has."""
    traceparents = [f"00-{number:032x}-00f067aa0ba902b7-01" for number in range(1, 151)]
    asked = ["garbage", traceparents[0], traceparents[0][:-2] + "00", *traceparents, None]
    (batch,), applied = spans_of_a_batch(asked, tmp_path, monkeypatch)
    assert len(batch.links) == len(applied) == 100
    assert {span.trace_id for span in applied} == {found[3:35] for found in traceparents[:100]}
    assert {tuple(span.links) for span in applied} == {(batch.id,)}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("sampler", "sampled"),
    [
        ("parentbased_always_off", ["1" * 16, "f" * 16]),
        ("parentbased_traceidratio", ["1" * 16, "f" * 16]),
        ("traceidratio", ["1" * 16]),
        ("always_off", []),
    ],
)
def test_a_batch_is_sampled_where_one_of_its_entries_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str, sampled: list[str]
) -> None:
    """And not as a trace of its own would be; those that look at the trace's id take the lowest."""
    origins = ["1" * 16, "f" * 16]  # the id of each trace is that of its origin, twice
    batch, applied = spans_of_a_batch(
        [f"00-{'0' * 31}5-{'2' * 16}-00", *(f"00-{origin * 2}-{origin}-01" for origin in origins)],
        tmp_path,
        monkeypatch,
        OTEL_TRACES_SAMPLER=sampler,
        OTEL_TRACES_SAMPLER_ARG="0.07",
    )
    assert [span.parent_id for span in applied] == sampled
    assert [span.links for span in batch] == ([sampled] if sampled else [])
    assert [span.links for span in applied] == [[span.id for span in batch]] * len(sampled)


# In processes of their own: what was imported once stays.

_START = """
import sys
import accounts.app, accounts.cli, customers.app, customers.cli
from shared.tracing import start_tracing
for environment in {environments}:
    print(start_tracing("customers", environment) is not None, "opentelemetry.sdk.trace" in sys.modules)
"""


def start(*environments: dict[str, str], before: str = "") -> tuple[str, str]:
    """A line for each: whether spans are made, and whether what makes them is imported; and what was said."""
    program = before + _START.format(environments=environments)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.strip()


COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.processes
def test_without_a_collector_nothing_is_imported() -> None:
    environments: list[dict[str, str]] = [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**COLLECTOR, "OTEL_SDK_DISABLED": "true"},
        {**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"},
    ]
    assert start(*environments) == ("\n".join(["False False"] * 4), "")


@pytest.mark.processes
def test_without_the_extra_a_line_says_so_and_the_service_starts() -> None:
    answered, said = start(COLLECTOR, before="import sys\nsys.modules['opentelemetry.trace'] = None\n")
    assert answered.startswith("False")
    assert said.startswith("no traces: ")
    assert said.endswith("pip install 'revenue-stream[tracing]'")


@pytest.mark.processes
def test_another_protocol_is_refused_with_a_line_and_the_service_starts() -> None:
    answered, said = start({**COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert answered == "False False"
    assert said == "no traces: OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', and only http/protobuf is spoken"


SETTINGS_REFUSED = [
    (
        {"OTEL_BSP_MAX_QUEUE_SIZE": "256"},
        "max_export_batch_size must be less than or equal to max_queue_size.",
    ),
    ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4096"}, "max_export_batch_size must be less than"),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "max_queue_size must be a positive integer."),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "9" * 30}, "OverflowError: "),
    ({"OTEL_SPAN_LINK_COUNT_LIMIT": "abc"}, "OTEL_SPAN_LINK_COUNT_LIMIT must be a non-negative integer"),
    ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "-1"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative"),
    (
        {"OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "nobody"},
        "Requested component 'nobody' not found",
    ),
]


@pytest.mark.processes
@pytest.mark.parametrize(("settings", "reason"), SETTINGS_REFUSED)
def test_settings_that_opentelemetry_refuses_are_a_line_and_the_service_starts(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], reason: str
) -> None:
    """The line says which are set, and the values of none."""
    headers = "OTEL_EXPORTER_OTLP_HEADERS"
    environment = {**COLLECTOR, **settings, headers: "authorization=s3cret"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    answered, said = start(environment)
    assert answered.startswith("False")
    assert said.count("\n") == 0
    assert said.startswith("no traces: OpenTelemetry does not start: ")
    assert reason in said
    assert said.endswith(f"set right, or unset, what is wrong of {', '.join(sorted(environment))}")
    assert "s3cret" not in said


@pytest.mark.processes
@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("OTEL_TRACES_SAMPLER", "parentbased_alway_off", "Couldn't recognize sampler parentbased_alway_off."),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5s", "Invalid timeout value '5s', using default of 10 seconds"),
    ],
)
def test_settings_that_opentelemetry_passes_over_are_a_line(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, line: str
) -> None:
    environment = {**COLLECTOR, setting: value}
    for name, also in environment.items():
        monkeypatch.setenv(name, also)
    assert start(environment) == ("True True", line)
