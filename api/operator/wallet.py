"""The paths of one dialect: credential, body, call, answer."""

from collections.abc import Callable, Sequence
from typing import Any

from apiflask import APIBlueprint
from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.credentials import Gate, Partner, named
from api.http import json_response, log_defect, note
from api.operator import answers
from api.operator.calls import Asked, Call
from ledger.operator.book import Book
from ledger.reader import NotJson
from ledger.refusals import Breakdown, CredentialWrong, Malformed, OutcomeUnknown, Refusal

JSON = "application/json"


def wallet(
    dialect: str, prefix: str, calls: Sequence[Call], partners: Sequence[Partner], book: Book
) -> APIBlueprint:
    """Returns the wallet's paths in one dialect, for the partners that speak it."""
    blueprint = APIBlueprint(dialect, __name__, tag=dialect, url_prefix=prefix)
    gate = Gate(partners)
    for call in calls:
        view = _view(call, book)
        shown: Any = {"description": "Answered", "content": {JSON: {"example": call.example}}}
        described = blueprint.doc(
            summary=(call.answer.__doc__ or "").rstrip("."),
            security=[{"MEMB_ID": [], "HASH": []}],
            responses={200: shown},
        )(blueprint.input(call.schema, validation=False)(view))
        # for /docs alone: the view reads its body itself, without the wrappers
        vars(view)["_spec"] = vars(described)["_spec"]
        blueprint.add_url_rule(f"/{call.path}", call.path, view, methods=["POST"])

    @blueprint.before_request
    def check_credential() -> None:
        g.partners = gate.admitted(request)

    blueprint.register_error_handler(CredentialWrong, lambda wrong: _answer(wrong, status=401))
    blueprint.register_error_handler(NotJson, lambda error: _unread(str(error), 400))
    blueprint.register_error_handler(
        RequestEntityTooLarge, lambda _: _unread("the body is larger than 64 KiB", 413)
    )
    blueprint.register_error_handler(Refusal, _answer)
    return blueprint


def _view(path: Call, book: Book) -> Callable[..., Response]:
    def view() -> Response:
        body = request.get_json()
        call = path.told_by(body)
        try:
            fields, extra = call.schema.take(body)
            note(call.path, fields)
            partner = named(g.partners, fields["providerId"])
            answer = call.answer(book, Asked(partner.id, fields, extra))
        except CredentialWrong:
            raise
        except (Refusal, Breakdown) as denial:
            return _answer(denial, text_error=call.text_error)
        except Exception as defect:  # noqa: BLE001  (a provider is owed an answer, whatever we did)
            log_defect(defect)
            return _answer(
                OutcomeUnknown("ask again with the same reference"), text_error=call.text_error
            )
        return json_response(answer)

    view.__name__ = path.path
    return view


def _answer(
    denial: Refusal | Breakdown, *, text_error: bool = False, status: int = 200
) -> Response:
    answer = answers.denied(denial)
    g.code = denial.code
    if text_error:
        answer["error"] = str(denial.code)
    return json_response(answer, status)


def _unread(rule: str, status: int) -> Response:
    return _answer(Malformed(rule, field="body"), status=status)
