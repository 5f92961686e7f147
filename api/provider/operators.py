"""The paths that operators call, in one dialect: credential, login, hash, fields, call, answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from apiflask import APIBlueprint
from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.credentials import Partner, admitted, pair
from api.http import json_response, log_defect
from api.provider.calls import Answer, Call, Desk
from api.provider.digest import is_signed
from ledger.reader import NotJson
from ledger.refusals import (
    Breakdown,
    CredentialWrong,
    LoginWrong,
    Malformed,
    OutcomeUnknown,
    Refusal,
)

JSON = "application/json"


class Relation(NamedTuple):
    """One operator that may call; its bodies are signed by this algorithm with this secret."""

    partner: Partner
    algorithm: str
    secret: str | None


def operators(
    dialect: str, prefix: str, calls: Sequence[Call], relations: Sequence[Relation], desk: Desk
) -> APIBlueprint:
    """Returns the provider's paths in one dialect, for the operators that speak it."""
    blueprint = APIBlueprint(
        f"{dialect} provider", __name__, tag=f"{dialect}: calls of operators", url_prefix=prefix
    )
    for call in calls:
        view = blueprint.input(call.schema, validation=False)(_view(call, relations, desk))
        shown: Any = {"description": "Answered", "content": {JSON: {"example": call.example}}}
        view = blueprint.doc(
            summary=(call.answer.__doc__ or "").rstrip("."), responses={200: shown}
        )(view)
        blueprint.add_url_rule(f"/{call.path}", call.path, view, methods=["POST"])

    texts = {f"{blueprint.name}.{call.path}" for call in calls if call.text_error}

    def unread(denial: Refusal, status: int) -> Response:
        return _denied(denial, text_error=request.endpoint in texts, status=status)

    blueprint.register_error_handler(
        NotJson, lambda error: unread(Malformed(str(error), field="body"), 400)
    )
    blueprint.register_error_handler(
        RequestEntityTooLarge,
        lambda _: unread(Malformed("the body is larger than 64 KiB", field="body"), 413),
    )
    blueprint.register_error_handler(Refusal, lambda denial: unread(denial, 200))
    return blueprint


def _view(path: Call, relations: Sequence[Relation], desk: Desk) -> Callable[..., Response]:
    def view(json_data: dict[str, Any]) -> Response:
        call = path.told_by(json_data)
        try:
            operator = _caller(call, json_data, relations)
            fields, _ = call.schema.take(json_data)
            _note(call, operator, fields)
            return json_response(call.answer(desk, operator, fields))
        except CredentialWrong as wrong:
            return _denied(wrong, text_error=call.text_error, status=401)
        except (Refusal, Breakdown) as denial:
            return _denied(denial, text_error=call.text_error)
        except Exception as defect:  # noqa: BLE001  (an operator is owed an answer, whatever we did)
            log_defect(defect)
            return _denied(OutcomeUnknown("ask again"), text_error=call.text_error)

    view.__name__ = path.path
    return view


def _caller(call: Call, body: dict[str, Any], relations: Sequence[Relation]) -> str:
    """Returns the secure login of who calls. Raises CredentialWrong, LoginWrong."""
    login = _said(body, "securelogin")
    member, token = pair(request.query_string) if call.signed else (login, _said(body, "token"))
    (found,) = admitted([each.partner for each in relations], member, token)
    relation = next(each for each in relations if each.partner is found)
    if login != found.id:
        raise LoginWrong("is not the login of MEMB_ID", field="secureLogin")
    if call.signed and not is_signed(body, relation.algorithm, relation.secret):
        raise LoginWrong("is not the body's", field="hash")
    return found.id


def _said(body: dict[str, Any], field: str) -> str:
    found = next((value for key, value in body.items() if key.casefold() == field), "")
    return found if type(found) is str else ""


def _note(call: Call, operator: str, fields: dict[str, Any]) -> None:
    g.about = {
        "call": call.path,
        "operator": operator,
        "user": fields.get("userId") or fields.get("externalPlayerId"),
        "round": fields.get("roundId"),
    }


def _denied(
    denial: Refusal | Breakdown, *, text_error: bool = False, status: int = 200
) -> Response:
    g.code = denial.code
    code = str(denial.code) if text_error else denial.code
    answer: Answer = {"error": code, "description": str(denial)}
    return json_response(answer, status)
