"""Errors as the back office reads them: problem+json (RFC 9457), with the code and the field."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from apiflask.exceptions import HTTPError
from flask import Response, g
from marshmallow.fields import Field

from api.http import JSON, json_response, log_defect
from ledger.reader import NotJson
from ledger.refusals import Breakdown, FieldMissing, Malformed, OutcomeUnknown, Refusal

STATUS = {
    "not-enough-cash": 409,
    "not-together": 409,
    "reference-reused": 409,
    "no-such-round": 404,
    "player-not-found": 404,
    "credential-wrong": 401,
}
"""By word; every other refusal is a 422."""

NOWHERE = "nothing is at this path; the calls stand at /docs/, the audit pages at /audit/"
SAID = {
    401: "a token that is known is needed: Authorization: Bearer ...",
    403: "this token may not do so; /docs/ says whose may",
    404: NOWHERE,
}
"""Of what the framework refuses, where its own word is not enough."""

_REQUIRED = Field.default_error_messages["required"]
_MIMETYPE = "application/problem+json"

_SHAPE = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "integer"},
        "field": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}


def told(*statuses: int, mimetype: str = JSON) -> dict[int, Any]:
    """Returns what /docs say of an operation's answers; no credential and no store are any's."""
    own: dict[str, Any] = {"content": {mimetype: {"schema": {}}}}
    wrong = {"content": {_MIMETYPE: {"schema": _SHAPE}}}
    return {
        status: {"description": HTTPStatus(status).phrase, **(own if status < 400 else wrong)}
        for status in (*statuses, 401, 503)
    }


def problem(
    status: int, word: str, detail: str, *, code: int | None = None, field: str | None = None
) -> Response:
    """Returns an error as problem+json; its type is stable, its detail is for people. The log has its code."""
    body = {
        "type": f"urn:roundbook:{word}",
        "title": word.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
    }
    if code is not None:
        g.code = body["code"] = code
    if field is not None:
        body["field"] = field
    return json_response(body, status, mimetype=_MIMETYPE)


def later(response: Response) -> Response:
    """Says that the same may be asked again in a second."""
    response.headers["Retry-After"] = "1"
    return response


def refused(refusal: Refusal) -> Response:
    status = STATUS.get(refusal.word, 422)
    return problem(status, refusal.word, str(refusal), code=refusal.code, field=refusal.field)


def broken(breakdown: Breakdown) -> Response:
    return later(problem(503, breakdown.word, str(breakdown), code=breakdown.code))


def not_json(error: NotJson) -> Response:
    return problem(400, "not-json", str(error), code=Malformed.code, field="body")


def answered(status: int, word: str) -> Callable[[Exception], Response]:
    """Returns how an error whose text is for people is answered."""
    placed = later if status == HTTPStatus.SERVICE_UNAVAILABLE else lambda response: response
    return lambda error: placed(problem(status, word, str(error)))


def http_error(error: HTTPError) -> Response:
    """Returns what Flask or APIFlask refused before a view saw it."""
    word = (error.message or "error").casefold().replace(" ", "-")
    field, rule = _fault(error)
    if field is None:
        response = problem(error.status_code, word, SAID.get(error.status_code, rule))
    else:
        code = FieldMissing.code if rule == _REQUIRED else Malformed.code
        response = problem(error.status_code, word, f"{field}: {rule}", code=code, field=field)
    for name, value in dict(error.headers or {}).items():
        response.headers[name] = value
    return response


def _fault(error: HTTPError) -> tuple[str | None, str]:
    """Returns the first field that is wrong and its rule, or None and what else is: `amount`, `Unknown field.`"""
    detail: Any = error.detail
    field = None
    while isinstance(detail, dict) and detail:
        key, detail = next(iter(detail.items()))
        field = str(key)[:64]
    return field, str(detail[0] if isinstance(detail, list) and detail else error.message)


def unasked(error: Malformed) -> Response:
    """Returns what a question to the audit files lacks."""
    return problem(400, error.word, str(error), code=error.code, field=error.field)


def unread(error: Exception) -> Response:
    return later(_failed(error, 503, "store-away", "the store cannot be read; the log says why"))


def defect(error: Exception) -> Response:
    return _failed(error, 500, "defect", "we failed; the log has it")


def _failed(error: Exception, status: int, word: str, detail: str) -> Response:
    log_defect(error)
    return problem(status, word, detail, code=OutcomeUnknown.code)
