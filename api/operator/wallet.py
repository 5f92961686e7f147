"""The paths of one dialect: credential, body, call, answer. What answers a call needs nothing of Flask's.

So a service of ours may hand it the bytes at once, which spares half the way; under any other WSGI
server the same is a Flask view.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apiflask import APIBlueprint
from flask import Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.credentials import Gate, Partner, named
from api.hidden import Read
from api.http import JSON, Reply, add_call, denial_of, encoded
from api.operator import answers
from api.operator.answers import Answer
from api.operator.calls import Call, Received
from ledger.operator.book import Book
from ledger.reader import MOST_BYTES
from ledger.refusals import CredentialWrong

UNHEARD = (CredentialWrong, RequestEntityTooLarge)
"""Why a call is answered before its body is looked into."""


class Path:
    """One path of a dialect, for the partners that speak it."""

    def __init__(self, call: Call, gate: Gate, book: Book, read: Read) -> None:
        self.call, self.admitted = call, gate.admitted
        self._book, self._read = book, read

    def __call__(self, query: bytes, body: bytes) -> Reply:
        """Returns what a request is answered."""
        try:
            partners = self.admitted(query)
            if len(body) > MOST_BYTES:
                raise RequestEntityTooLarge
        except UNHEARD as error:
            return _denied(error)
        return self.answered(partners, body)

    def answered(self, partners: Sequence[Partner], body: bytes) -> Reply:
        """Returns what these partners' call is answered."""
        call, about = self.call, None
        try:
            said = self._read(body)
            call = call.told_by(said)
            fields, extra = call.schema.take(said)
            about = _about(call, fields)
            partner = named(partners, fields["providerId"])
            answer = call.answer(self._book, Received(partner.id, fields, extra))
        except Exception as error:  # noqa: BLE001  (a provider is owed an answer, whatever we did)
            return _denied(error, about, text=call.text_error)
        return Reply(200, encoded(answer), about=about)


def paths(
    prefix: str, calls: Sequence[Call], partners: Sequence[Partner], book: Book, read: Read
) -> dict[str, Path]:
    """Returns a dialect's paths, by their text."""
    gate = Gate(partners)
    return {f"{prefix}/{call.path}": Path(call, gate, book, read) for call in calls}


def wallet(dialect: str, served: Mapping[str, Path]) -> APIBlueprint:
    """Returns a dialect's paths as Flask serves them."""
    blueprint = APIBlueprint(dialect, __name__, tag=dialect)
    for text, path in served.items():
        security: Any = [{"MEMB_ID": [], "HASH": []}]
        add_call(blueprint, text, _view(path), path.call, other=path.call.bare, security=security)
    return blueprint


def _view(path: Path) -> Callable[..., Response]:
    def view() -> Response:
        reply = _replied(path)
        g.code, g.about = reply.code, reply.about
        return Response(reply.body, reply.status, mimetype=JSON)

    return view


def _replied(path: Path) -> Reply:
    """The credential comes first: nobody else's body is waited for."""
    try:
        return path.answered(path.admitted(request.query_string), request.whole())  # type: ignore[attr-defined]
    except UNHEARD as error:
        return _denied(error)


def _about(call: Call, fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what a request's log line says of it; never a credential."""
    return {
        "call": call.path,
        "provider": fields["providerId"],
        "user": fields["userId"],
        "round": fields.get("roundId"),
        "reference": fields.get("reference"),
    }


def _denied(error: Exception, about: dict[str, Any] | None = None, *, text: bool = False) -> Reply:
    denial, status = denial_of(error, advice="ask again with the same reference")
    answer: Answer = answers.denied(denial)
    if text and status == 200:  # what never became a call is answered as on any path
        answer["error"] = str(denial.code)
    return Reply(status, encoded(answer), denial.code, about)
