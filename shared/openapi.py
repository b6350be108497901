"""The OpenAPI 3.1 document of a service: made from its routes, what is said beside them, and its schemas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import msgspec
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.common import resolve_schema_cls

from shared.field_error import FieldError
from shared.operations import Answer, Body, Header, Operation, Parameter, operation_of
from shared.problem_kinds import KINDS, Kind
from shared.problems import MEDIA_TYPE
from shared.request_ids import REQUEST_ID
from shared.shown import ID_PATTERN
from shared.strict_json import CheckedField
from shared.traceparent import TRACEPARENT

if TYPE_CHECKING:
    from flask import Flask
    from marshmallow import Schema
    from marshmallow.fields import Field

_COMPONENT: Final = "#/components/schemas/{name}"
_FURTHER: Final = ("log", "projection", "health", "catalogue", "pages", "console")  # for who looks after it
_VARIABLE = re.compile(r"<(?:[a-z_]+:)?([a-z_]+)>")
_PATH_VARIABLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "username": {"type": "string", "minLength": 1},
    "kind": {"type": "string", "enum": sorted(KINDS)},
}
_PATH_ID: Final[Mapping[str, Any]] = {"type": "string", "pattern": ID_PATTERN}

_REQUEST_ID_ASKED: Final = Parameter(
    REQUEST_ID,
    "header",
    "An id of this request, 1 to 128 visible characters of ASCII; instead of any other, one is made.",
    {"type": "string"},
)
_TRACEPARENT_ASKED: Final = Parameter(
    TRACEPARENT,
    "header",
    "The trace that this request is part of (W3C Trace Context); what cannot be read is passed over.",
    {"type": "string"},
)
_REQUEST_ID_ANSWERED: Final = Header(
    REQUEST_ID,
    "Yours, or one made here: lines of the service's log have it as `request_id`, the metadata of events as"
    " `correlation_id`.",
    {"type": "string", "pattern": "^[!-~]{1,128}$"},
)


class _Route(NamedTuple):
    """A method of a path; `tag` groups it with others on the page."""

    path: str
    method: str
    view: Callable[..., Any]
    operation: Operation
    tag: str


class ProblemDetails(msgspec.Struct, omit_defaults=True):
    """What went wrong (RFC 9457): `type` never changes its meaning, and is a page that says what to do."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


def make_document(app: Flask, title: str, description: str) -> dict[str, Any]:
    """Of every route of the app, but the files of pages."""
    plugin = MarshmallowPlugin(schema_name_resolver=_name_of)
    spec = APISpec(
        title,
        version("revenue-stream"),
        "3.1.0",
        [plugin],
        info={"description": description, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/"}],
        security=[{"token": []}],
    )
    cast("Any", plugin.converter).add_attribute_function(_describe_field)
    spec.components.security_scheme(
        "token",
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "From `POST /auth/login`.",
        },
    )
    spec.components.parameter(REQUEST_ID, "header", _describe_parameter(_REQUEST_ID_ASKED))
    spec.components.parameter(TRACEPARENT, "header", _describe_parameter(_TRACEPARENT_ASKED))
    spec.components.header(REQUEST_ID, _describe_header(_REQUEST_ID_ANSWERED))
    routes = list(_list_routes(app))
    operations = [route.operation for route in routes]
    shapes, headers = _describe_shapes(spec, operations), _describe_headers(spec, operations)
    for route in routes:
        spec.path(route.path, operations={route.method.lower(): _describe_route(route, shapes, headers)})
    for tag in sorted({route.tag: None for route in routes}, key=lambda tag: _rank(tag, title)):
        spec.tag({"name": tag})
    written = spec.to_dict()
    document = {
        name: written[name]
        for name in ("openapi", "info", "servers", "security", "tags", "paths", "components")
    }
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Body"):
            _close(schema)
    return document


def _rank(tag: str, title: str) -> tuple[bool, int]:
    """What the service is there for comes first."""
    return tag != title, _FURTHER.index(tag) if tag in _FURTHER else -1


def _close(schema: dict[str, Any]) -> None:
    """Say of a body that it may have no other keys; a default that cannot be sent is none."""
    schema["additionalProperties"] = False
    for field in schema["properties"].values():
        if field.get("default", "") is None:
            del field["default"]


def _name_of(schema: type[Schema]) -> str:
    return cast("type[Schema]", resolve_schema_cls(schema)).__name__  # it is given instances, too


def _list_routes(app: Flask) -> Iterable[_Route]:
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        operation = operation_of(view)
        if operation is None:  # the files of pages
            continue
        path, tag = _VARIABLE.sub(r"{\1}", rule.rule), rule.endpoint.partition(".")[0].replace("_", " ")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield _Route(path, method, view, operation, tag)


def _describe_shapes(spec: APISpec, operations: Sequence[Operation]) -> dict[int, Any]:
    """The JSON Schema of each answer by its identity; what several share goes to the components."""
    answers = [answer for operation in operations for answer in operation.answers if answer.shape is not None]
    types = [ProblemDetails, *(answer.shape for answer in answers)]
    described, components = msgspec.json.schema_components(types, ref_template=_COMPONENT)
    for name, schema in components.items():
        spec.components.schema(name, component=schema)
    return {id(answer): schema for answer, schema in zip(answers, described[1:], strict=True)}


def _describe_headers(spec: APISpec, operations: Sequence[Operation]) -> Callable[[Header], Any]:
    """How to write a header: where all of a name are alike, by that name, which is then among the components."""
    of_name: dict[str, list[Header]] = {}
    for operation in operations:
        for header in chain.from_iterable(operation.headers_by_status().values()):
            same_name = of_name.setdefault(header.name, [])
            if header not in same_name:
                same_name.append(header)
    shared = [name for name, same_name in of_name.items() if len(same_name) == 1]
    for name in sorted(shared):
        spec.components.header(name, _describe_header(of_name[name][0]))
    return lambda header: header.name if header.name in shared else _describe_header(header)


def _describe_route(
    route: _Route, shapes: Mapping[int, Any], write: Callable[[Header], Any]
) -> dict[str, Any]:
    operation = route.operation
    summary, _, description = (route.view.__doc__ or "").strip().partition("\n")
    described: dict[str, Any] = {"operationId": route.view.__name__, "summary": summary, "tags": [route.tag]}
    described["description"] = " ".join([*description.split(), operation.allowed.value])
    parameters = [*_path_parameters(route.path), *operation.parameters]
    described["parameters"] = [*map(_describe_parameter, parameters), REQUEST_ID, TRACEPARENT]
    if operation.body is not None:
        described["requestBody"] = _describe_body(operation.body)
    if not operation.allowed.needs_token:
        described["security"] = []
    responses: dict[str, Any] = {}
    for answer in operation.answers:
        _add_answer(responses, answer, shapes.get(id(answer)))
    for kind in operation.problems:
        _add_problem(responses, kind)
    for status, headers in operation.headers_by_status().items():
        written = {header.name: write(header) for header in headers}
        responses[str(status)]["headers"] = {**written, REQUEST_ID: REQUEST_ID}
    described["responses"] = dict(sorted(responses.items()))
    return described


def _path_parameters(path: str) -> list[Parameter]:
    return [
        Parameter(name, "path", "", _PATH_VARIABLES.get(name, _PATH_ID))
        for name in re.findall(r"{([a-z_]+)}", path)
    ]


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "schema": dict(parameter.schema),
    }
    if parameter.meaning:
        described["description"] = parameter.meaning
    return described


def _describe_body(body: Body) -> dict[str, Any]:
    schema: Any = body.schema
    if body.most is not None:
        schema = {"type": "array", "items": body.schema, "minItems": 1, "maxItems": body.most}
    return {"required": True, "content": {body.media_type: {"schema": schema, "example": body.example}}}


def _add_answer(responses: dict[str, Any], answer: Answer, shape: Any) -> None:
    described = responses.setdefault(str(answer.status), {"description": answer.meaning})
    if shape is not None:
        content = described.setdefault("content", {})
        content[answer.media_type] = {"schema": shape, "example": answer.example}
    if answer.links:
        described["links"] = {name: dict(link) for name, link in answer.links.items()}


def _add_problem(responses: dict[str, Any], kind: Kind) -> None:
    described = responses.setdefault(str(kind.status), {"description": ""})
    described["description"] = f"{described['description']}\n\n`{kind.name}`: {kind.meaning}".strip()
    reference = {"$ref": _COMPONENT.format(name=ProblemDetails.__name__)}
    content = described.setdefault("content", {}).setdefault(
        MEDIA_TYPE, {"schema": reference, "examples": {}}
    )
    shown = ProblemDetails(f"/problems/{kind.name}", kind.title, kind.status, kind.detail)
    content["examples"][kind.name] = {"value": msgspec.to_builtins(shown)}


def _describe_header(header: Header) -> dict[str, Any]:
    return {"description": header.meaning, "required": header.always, "schema": dict(header.schema)}


def _describe_field(_: Any, field: Field[Any], **__: Any) -> dict[str, Any]:
    """The JSON Schema of a field, as its own class says it."""
    return field.json_schema() if isinstance(field, CheckedField) else {}
