"""The events of a log for whoever reads or writes it elsewhere: an AsyncAPI 3 document with the JSON Schema of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

import msgspec

from eventlog.codec import EVENT_TYPE, METADATA, PAYLOAD, SEQUENCE, Codec
from eventlog.events import Event, Metadata

# There a package names the maker of its codec, for `eventlog catalogue`.
ENTRY_POINTS: Final = "eventlog.codecs"

_COMPONENT: Final = "#/components/schemas/{name}"
_NO_LONGER_WRITTEN: Final = (
    "No longer written. What the log holds of it is lifted to the current version as it is read."
)
_DESCRIPTION: Final = (
    f"Every entry has four fields: {EVENT_TYPE.decode()}, {PAYLOAD.decode()}, {SEQUENCE.decode()} and "
    f"{METADATA.decode()}. Here the payload of a message is what stands in {PAYLOAD.decode()}, and its headers are the "
    "other fields. Read it with XREAD; publish with eventlog, which gives the sequence. Where keys are configured, "
    f"{METADATA.decode()} ends with a signature (key id, colon, HMAC-SHA256 in base64url), and entries without one are "
    "not applied."
)


def find_codecs() -> dict[str, Codec]:
    """Those of the installed packages, by the name that each gave itself."""
    return {found.name: found.load()() for found in entry_points(group=ENTRY_POINTS)}


def make_catalogue(codecs: Iterable[Codec], stream: str) -> dict[str, Any]:
    """The AsyncAPI document of a stream that holds the events of these codecs."""
    codecs = list(codecs)
    classes = sorted(
        {found for codec in codecs for found in codec.event_classes}, key=lambda found: found.__name__
    )
    earlier = sorted(
        {found for codec in codecs for found in codec.earlier_versions()}, key=lambda found: found[:2]
    )
    described = [*classes, *(found.written_as for found in earlier), Metadata]
    references, schemas = msgspec.json.schema_components(described, ref_template=_COMPONENT)
    *payloads, metadata = references
    messages = {}
    for found, payload in zip(classes, payloads, strict=False):
        message = _describe_message(found.__name__, found.schema_version, payload, metadata)
        summary = schemas[_name_in(payload)].get("description")
        messages[f"{found.__name__}.v{found.schema_version}"] = message | (
            {"summary": summary} if summary else {}
        )
    for (name, version, _), payload in zip(earlier, payloads[len(classes) :], strict=True):
        message = _describe_message(name, version, payload, metadata)
        messages[f"{name}.v{version}"] = message | {"summary": _NO_LONGER_WRITTEN}
    on_channel = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    channel = {"$ref": "#/channels/stream"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Events of {stream}",
            "version": _version_of(classes),
            "description": _DESCRIPTION,
        },
        "defaultContentType": "application/json",
        "channels": {"stream": {"address": stream, "title": "A Redis stream", "messages": on_channel}},
        "operations": {
            "publish": {"action": "send", "channel": channel},
            "follow": {"action": "receive", "channel": channel},
        },
        "components": {"messages": messages, "schemas": _in_json_schema(schemas)},
    }


def list_fields(catalogue: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Of each message its title, and its fields with what each holds."""
    schemas = catalogue["components"]["schemas"]
    for message in catalogue["components"]["messages"].values():
        fields = schemas[_name_in(message["payload"])]["properties"]
        yield message["title"], {name: _describe_field(schema) for name, schema in fields.items()}


def _describe_field(schema: Mapping[str, Any]) -> str:
    """`string, date-time`: of a field's JSON Schema what goes into a line."""
    kept = [schema.get("type"), schema.get("format"), schema.get("pattern")]
    bounds = ("minimum", "maximum", "minLength", "maxLength")
    said = [*kept, *(f"{name} {schema[name]}" for name in bounds if name in schema)]
    return ", ".join(str(part) for part in said if part is not None)


def _in_json_schema(described: Any) -> Any:
    r"""With patterns as JSON Schema writes them: it knows no `\Z`, and its `$` is nothing but the end."""
    if isinstance(described, list):
        return [_in_json_schema(item) for item in described]
    if not isinstance(described, dict):
        return described
    return {
        name: re.sub(r"\\Z$", "$", value)
        if name == "pattern" and isinstance(value, str)
        else _in_json_schema(value)
        for name, value in described.items()
    }


def _version_of(classes: Iterable[type[Event]]) -> str:
    """It grows with each new version of an event, and with nothing else."""
    return f"1.{sum(event_class.schema_version for event_class in classes)}.0"


def _name_in(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _describe_message(
    name: str, version: int, payload: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, Any]:
    fields = {
        EVENT_TYPE.decode(): {"const": name},
        SEQUENCE.decode(): {"type": "string", "pattern": "^[1-9][0-9]*$"},
        METADATA.decode(): {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": metadata,
        },
    }
    return {
        "name": name,
        "title": f"{name}, version {version}",
        "headers": {"type": "object", "required": list(fields), "properties": fields},
        "payload": payload,
    }
