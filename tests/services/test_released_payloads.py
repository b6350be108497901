"""Every payload ever released can be read: one of each type and version is kept, and none is ever changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from eventlog import RecordedEvent
from eventlog.codec import EVENT_TYPE, METADATA, PAYLOAD, SEQUENCE, Entry
from shared.events import make_codec
from tests.make_run import ROOT

RELEASED = Path(__file__).with_name("released_payloads")
METADATA_OF = (
    b'{"event_id":"e","occurred_at":"2026-11-19T08:30:15Z","correlation_id":"c","schema_version":%d}'
)


def versions() -> list[tuple[str, int]]:
    codec = make_codec()
    current = [(found.__name__, found.schema_version) for found in codec.event_classes]
    return sorted([*current, *codec.earlier_versions()])


def test_one_of_each_type_and_version_is_kept() -> None:
    assert sorted(path.name for path in RELEASED.iterdir()) == [
        f"{name}-{version}.json" for name, version in versions()
    ]


@pytest.mark.parametrize(("name", "version"), versions())
def test_a_released_payload_is_read_as_it_was_meant(name: str, version: int) -> None:
    payload = (RELEASED / f"{name}-{version}.json").read_bytes().strip()
    fields = [EVENT_TYPE, name.encode(), PAYLOAD, payload, SEQUENCE, b"1", METADATA, METADATA_OF % version]
    recorded = make_codec().decode(Entry(b"1-0", fields), 1, foreign=False)
    assert isinstance(recorded, RecordedEvent)
    assert recorded.event.type_name == name
    if version == recorded.event.schema_version:
        assert make_codec().encode(recorded.event, recorded.metadata).payload == payload


@pytest.mark.parametrize(("name", "version"), versions())
def test_a_released_payload_fits_its_schema_in_the_catalogue(name: str, version: int) -> None:
    catalogue = json.loads((ROOT / "docs" / "api" / "events.json").read_text())
    reference = catalogue["components"]["messages"][f"{name}.v{version}"]["payload"]
    schema = {**reference, "components": catalogue["components"]}
    Draft202012Validator(schema).validate(json.loads((RELEASED / f"{name}-{version}.json").read_text()))
