"""`If-Match` and `If-None-Match` (RFC 9110, section 13): an answer that has an `ETag` becomes 412 or 304."""

from __future__ import annotations

from flask import Response, request

from shared.problems import precondition_failed


def with_tag(response: Response) -> Response:
    """The response with an `ETag` of its body, or 304 or 412 instead of it."""
    response.add_etag()
    apply_preconditions(response)
    return response


def apply_preconditions(response: Response) -> None:
    """Weighed in the order of section 13.2.2; weak tags count for `If-None-Match` only.

    werkzeug's own `make_conditional` answers 412 to `If-Match: *`.
    """
    tag, _ = response.get_etag()
    if tag is None:
        return
    if request.if_match and not (request.if_match.star_tag or request.if_match.is_strong(tag)):
        failed = precondition_failed(f'This is "{tag}" now.').response()
        response.status_code = failed.status_code
        response.set_data(failed.get_data())
        response.content_type = failed.content_type
        response.headers.pop("Link", None)  # to what goes on from the body that is not sent
    elif request.if_none_match.contains_weak(tag):
        response.status_code = 304
