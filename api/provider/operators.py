"""The paths that operators call, in one dialect: credential, login, hash, fields, call, answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from apiflask import APIBlueprint
from flask import Response, g, request
from werkzeug.exceptions import ClientDisconnected

from api.credentials import Partner, admitted, pair
from api.fields import SECRET_NAMES
from api.hidden import masking
from api.http import add_call, denial_of, json_response
from api.provider.calls import Answer, Call, Desk
from api.provider.digest import is_signed
from ledger.refusals import Breakdown, LoginWrong, Refusal

CHECKED = SECRET_NAMES | {"securelogin"}
"""What says who calls; no other field may hold a credential."""


class Relation(NamedTuple):
    """One operator that may call; its bodies are signed by this algorithm with this secret.

    `wallet_token`: what we show its wallet, so that it knows that one too.
    """

    partner: Partner
    algorithm: str
    secret: str | None
    wallet_token: str

    def secrets(self) -> list[str]:
        """Returns what none of its ids may hold."""
        tokens = [token.decode() for token in self.partner.tokens]
        return [*tokens, self.wallet_token, self.secret or ""]


def operators(
    dialect: str, prefix: str, calls: Sequence[Call], relations: Sequence[Relation], desk: Desk
) -> APIBlueprint:
    """Returns the provider's paths in one dialect, for the operators that speak it."""
    blueprint = APIBlueprint(
        f"{dialect} provider", __name__, tag=f"{dialect}: calls of operators", url_prefix=prefix
    )
    for call in calls:
        view = _view(call, relations, desk)
        security: Any = [{"MEMB_ID": [], "HASH": []}, {}] if call.older else None
        add_call(
            blueprint,
            f"/{call.path}",
            view,
            call,
            other=call.older,
            pair=call.pair,
            text=call.text_error,
            security=security,
        )
    return blueprint


def _view(path: Call, relations: Sequence[Relation], desk: Desk) -> Callable[[], Response]:
    hide = masking(secret for relation in relations for secret in relation.secrets())

    def view() -> Response:
        call = path
        try:
            body = request.get_json()
            call = path.told_by(body)
            operator = _caller(call, body, relations)
            asked = [
                key for key in body if call.schema.name_of(key) and key.casefold() not in CHECKED
            ]
            fields, _ = call.schema.take({**body, **{key: hide(body[key]) for key in asked}})
            _note(call, operator, fields)
            return json_response(call.answer(desk, operator, fields))
        except ClientDisconnected:  # whoever called has gone
            raise
        except Exception as error:  # noqa: BLE001  (an operator is owed an answer, whatever we did)
            return _denied(call, error)

    return view


def _caller(call: Call, body: dict[str, Any], relations: Sequence[Relation]) -> str:
    """Returns the secure login of who calls. Raises CredentialWrong, LoginWrong."""
    login = _said(body, "securelogin")
    member, token = pair(request.query_string) if call.signed else (login, _said(body, "token"))
    partners = [each.partner for each in relations]
    (found,) = admitted(partners, member, token, called=call.pair)
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


def _denied(call: Call, error: Exception) -> Response:
    denial, status = denial_of(error, advice="ask again")
    g.code = denial.code
    code = str(denial.code) if call.text_error else denial.code
    answer: Answer = {"error": code, "description": _told(call, denial)}
    return json_response(answer, status)


def _told(call: Call, denial: Refusal | Breakdown) -> str:
    """Returns why, with the field as whoever called spelt it."""
    if isinstance(denial, Refusal) and (spelt := call.spelt.get(denial.field or "")):
        return f"{spelt}: {denial.detail}"
    return str(denial)
