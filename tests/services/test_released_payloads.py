"""Every payload ever released can be read: one of each type and version is kept, and none is ever changed.

`SHA256SUMS` beside them shows that. A new one is added there with `sha256sum NAME-VERSION.json >> SHA256SUMS`.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

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
    return sorted([*current, *(earlier[:2] for earlier in codec.earlier_versions())])


def test_one_of_each_type_and_version_is_kept_as_it_was() -> None:
    kept = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(RELEASED.glob("*.json"))
    }
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (RELEASED / "SHA256SUMS").read_text(), re.MULTILINE)
    assert len(listed) == len(kept), "each once"
    assert {name: digest for digest, name in listed} == kept
    assert list(kept) == [f"{name}-{version}.json" for name, version in versions()]


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
