"""The catalogue of events, for people and for programs; it needs no token."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec
from flask import Blueprint, Response

from eventlog.catalogue import list_fields, make_catalogue
from shared.events import make_codec
from shared.operations import Answer, described, shows
from shared.pages.routes import PAGE_SHOWN, show_page
from shared.preconditions import with_tag

_DOCUMENT: Final = shows(Answer(200, "AsyncAPI 3.0.", dict[str, Any], {"asyncapi": "3.0.0"}))


def make_catalogue_pages(stream: str) -> Blueprint:
    """`/catalogue` and `/asyncapi.json`, of the events on this stream."""
    pages = Blueprint("catalogue", __name__)

    @cache
    def catalogue() -> dict[str, Any]:
        return make_catalogue([make_codec()], stream)

    @pages.get("/asyncapi.json")
    @described(_DOCUMENT)
    def describe_events() -> Response:
        """Describe the events of the stream, each with its JSON Schema."""
        return with_tag(Response(msgspec.json.encode(catalogue()), mimetype="application/json"))

    @pages.get("/catalogue")
    @described(PAGE_SHOWN)
    def list_events() -> Response:
        """Show the events of the stream with their fields."""
        return show_page("catalogue.html", stream=stream, events=list_fields(catalogue()))

    return pages
