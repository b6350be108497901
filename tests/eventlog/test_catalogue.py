"""The catalogue describes what the codec reads and writes, and is AsyncAPI."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema_rs import Draft7Validator, Draft202012Validator

from eventlog import Codec, Event, RecordedEvent
from eventlog.catalogue import list_fields, make_catalogue
from eventlog.cli import main
from eventlog.codec import EVENT_TYPE, METADATA, PAYLOAD, SEQUENCE, Entry
from eventlog.commands import catalogue as command
from tests.eventlog import parcels
from tests.make_run import ROOT

SPECIFICATION = ROOT / "tests" / "asyncapi" / "3.0.0-without-$id.json"


def catalogue() -> dict[str, Any]:
    return make_catalogue([parcels.make_codec()], "event-stream")


def test_it_is_asyncapi() -> None:
    Draft7Validator(json.loads(SPECIFICATION.read_text())).validate(catalogue())


def test_every_event_and_version_is_a_message() -> None:
    messages = catalogue()["components"]["messages"]
    assert set(messages) == {"ParcelSent.v1", "ParcelLost.v1", "AddressChanged.v1", "AddressChanged.v2"}
    assert set(catalogue()["channels"]["stream"]["messages"]) == set(messages)
    assert "lifted" in messages["AddressChanged.v1"]["summary"]


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        ({"id": 1, "customer_id": 2, "weight_g": 3}, True),
        ({"id": 1, "customer_id": 2, "weight_g": -3}, False),
        ({"id": 1, "customer_id": 2}, False),
        ({"id": 1, "customer_id": 2, "weight_g": 3, "more": 4}, False),
    ],
)
def test_the_schema_of_an_event_takes_what_the_codec_takes(payload: dict[str, int], fits: bool) -> None:
    assert fits_schema("ParcelSent.v1", payload) == fits


@pytest.mark.parametrize(
    "payload",
    [
        {"customer_id": 7, "address": "Main Road, Bath"},
        {"customer_id": 7, "address": "Main Road"},
        {"customer_id": 7, "address": "Main Road,West, Bath"},
        {"customer_id": 7, "address": "Main Road, Bath", "more": 1},
        {"customer_id": 7, "town": "Bath", "street": "Main Road"},
        {"address": "Main Road, Bath"},
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_the_schema_of_each_version_takes_what_the_codec_takes_of_it(
    version: int, payload: dict[str, Any]
) -> None:
    metadata = {"event_id": "e", "occurred_at": "2026-11-19T08:30:15Z", "correlation_id": "c"}
    raw = [msgspec.json.encode(part) for part in (payload, {**metadata, "schema_version": version})]
    fields = [EVENT_TYPE, b"AddressChanged", PAYLOAD, raw[0], SEQUENCE, b"1", METADATA, raw[1]]
    decoded = parcels.make_codec().decode(Entry(b"1-0", fields), 1, foreign=False)
    assert fits_schema(f"AddressChanged.v{version}", payload) == isinstance(decoded, RecordedEvent)


def test_fields_are_listed_as_each_version_has_them() -> None:
    fields = {title: set(named) for title, named in list_fields(catalogue())}
    assert fields["AddressChanged, version 1"] == {"customer_id", "address"}
    assert fields["AddressChanged, version 2"] == {"customer_id", "town", "street"}


def fits_schema(message: str, payload: dict[str, Any]) -> bool:
    components = catalogue()["components"]
    schema = {**components["messages"][message]["payload"], "components": components}
    return Draft202012Validator(schema).is_valid(payload)


def test_a_pattern_is_one_of_json_schema() -> None:
    class Named(Event, frozen=True):
        name: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+\Z")]

    schemas = make_catalogue([Codec([Named])], "names")["components"]["schemas"]
    assert schemas["Named"]["properties"]["name"]["pattern"] == "^[a-z]+$"


def test_the_command_lists_events_with_their_fields() -> None:
    listed = CliRunner().invoke(main, ["catalogue"])
    assert listed.exit_code == 0, listed.output
    assert "InvoiceCreated, version 1\n  id " in listed.output
    found = json.loads(CliRunner().invoke(main, ["catalogue", "--json"]).output)
    assert "InvoiceCreated.v1" in found["components"]["messages"]


def test_without_a_package_that_tells_of_its_events_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none() -> dict[str, Codec]:
        return {}

    monkeypatch.setattr(command, "find_codecs", find_none)
    refused = CliRunner().invoke(main, ["catalogue"])
    assert refused.exit_code == 1
    assert "eventlog.codecs" in refused.output
