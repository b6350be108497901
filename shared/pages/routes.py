"""The paths of these pages; none needs a token."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import msgspec
from flask import Blueprint, Response, current_app, render_template
from markupsafe import Markup, escape

from shared.operations import HTML_PAGE, Answer, described, shows
from shared.preconditions import with_tag
from shared.problem_kinds import KINDS, NOT_FOUND
from shared.problems import Problem, not_found

# Swagger UI gives its elements styles, and shows pictures that it brings as data.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_SHOWN: Final = shows(HTML_PAGE)
_DOCUMENT: Final = shows(Answer(200, "OpenAPI 3.1.", dict[str, Any], {"openapi": "3.1.0"}))
_CODE = re.compile("`([^`]+)`")


def make_pages(title: str, description: str) -> Blueprint:
    """`/docs`, `/openapi.json`, `/problems` and `/problems/<kind>` of a service."""
    pages = Blueprint(
        "pages", __name__, static_folder="static", template_folder="templates", static_url_path="/static"
    )
    pages.add_app_template_filter(_with_code, "with_code")

    @cache
    def document() -> bytes:
        from shared.openapi import make_document  # noqa: PLC0415  # half a worker's start, and asked for seldom

        # As it is committed, too; in ASCII, because its patterns name characters that nobody sees.
        return json.dumps(make_document(current_app, title, description), indent=2).encode() + b"\n"

    @pages.get("/openapi.json")
    @described(_DOCUMENT)
    def describe_api() -> Response:
        """Describe this API."""
        return with_tag(Response(document(), mimetype="application/json"))

    @pages.get("/docs")
    @described(PAGE_SHOWN)
    def show_api() -> Response:
        """Show this description as a page, on which to try it."""
        return show_page("api.html", title=title)

    @pages.get("/problems")
    @described(PAGE_SHOWN)
    def list_problems() -> Response:
        """Show what each `type` of problem means."""
        return show_page(
            "problems.html", kinds=sorted(KINDS.values(), key=lambda kind: (kind.status, kind.name))
        )

    @pages.get("/problems/<kind>")
    @described(shows(HTML_PAGE, problems=[NOT_FOUND]))
    def find_problem(kind: str) -> Response:
        """Show what one means, and what to do."""
        found = KINDS.get(kind)
        if found is None:
            raise not_found(f"There is no problem {kind[:100]!r}.")
        example = msgspec.json.format(Problem(found).response().get_data(), indent=2).decode()
        return show_page("problem.html", kind=found, example=example)

    return pages


def show_page(template: str, **values: Any) -> Response:
    """A page made of a template of this package."""
    headers: Mapping[str, str] = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return with_tag(Response(render_template(template, **values), headers=headers, mimetype="text/html"))


def _with_code(text: str) -> Markup:
    """What stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # it is escaped before
