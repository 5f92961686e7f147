"""Many commands in one request, a JSON line each, for back offices: each line has its own outcome.

A line is the body of a wallet's call, or of what the back office does to a wallet, and says which in
`command`. Sent again, whole or in part, it changes nothing: references tell.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from apiflask import APIBlueprint
from flask import Response, request

from api.fields import Fields
from api.hidden import Read
from api.http import encoded
from api.operator import answers, calls, schemas
from api.operator.answers import Answer
from api.operator.calls import Received
from api.problems import told
from ledger.operator import commands
from ledger.operator.book import MOST_LISTED, Book, Outcome
from ledger.reader import MOST_BYTES, NotJson
from ledger.refusals import Breakdown, CredentialWrong, Malformed, Refusal

JSON_LINES = "application/jsonl"


class Kind(NamedTuple):
    """What a line may be: its fields, and the command they make."""

    schema: Fields
    command: Callable[[Received], commands.Command]
    bare: "Kind | None" = None
    """What it is instead where the line names neither a session nor a round, as on the call's path."""


def _of_wallet(kind: Callable[..., commands.WalletCommand]) -> Callable[[Received], Any]:
    def made(call: Received) -> commands.WalletCommand:
        fields = dict(call.fields)
        return kind(user=fields.pop("userId"), **fields)

    return made


KINDS = {
    "OpenWallet": Kind(schemas.OfWallet(), _of_wallet(commands.OpenWallet)),
    "Deposit": Kind(schemas.OfCash(), _of_wallet(commands.Deposit)),
    "Withdraw": Kind(schemas.OfCash(), _of_wallet(commands.Withdraw)),
    "Freeze": Kind(schemas.OfWallet(), _of_wallet(commands.Freeze)),
    "Unfreeze": Kind(schemas.OfWallet(), _of_wallet(commands.Unfreeze)),
    "Bet": Kind(schemas.Bet(), calls.place_bet),
    "Result": Kind(schemas.Result(), calls.record_result),
    "BonusWin": Kind(schemas.Result(), calls.record_bonus),
    "JackPotWin": Kind(schemas.Result(), calls.record_jackpot),
    "PromoWin": Kind(schemas.Promo(), calls.pay_promo),
    "EndRound": Kind(schemas.EndRound(), calls.close_round),
    "Cancel": Kind(schemas.Cancel(), calls.cancel_bet, Kind(schemas.Refund(), calls.refund_bet)),
    "CancelRound": Kind(schemas.Cancel(), calls.cancel_whole_round),
    "Refund": Kind(schemas.RoundRefund(), calls.refund_bet),
    "SessionExpired": Kind(schemas.SessionExpired(), calls.expire_session),
}

EXAMPLE = (
    '{"command":"OpenWallet","userId":"42","currency":"EUR"}\n'
    '{"command":"Deposit","userId":"42","currency":"EUR","reference":"d-1","amount":"25.00"}\n'
)

_Line = tuple[int, commands.Command | Refusal]
"""Its number, from 1, and what it asks for, or why it cannot be read."""


def listed(
    blueprint: APIBlueprint,
    book: Book,
    may_write: Callable[..., Any],
    providers: Mapping[str, str],
    read: Read,
) -> None:
    """Adds the path. `providers`: ids by their casefolded spelling."""

    @blueprint.post("/commands")
    @may_write
    @blueprint.doc(
        summary="Many commands, a JSON line each; each line has its own outcome",
        description=f"At most {MOST_LISTED} lines, of {MOST_BYTES // 1024} KiB in all.",
        responses=told(200, 403, 413, 422, mimetype=JSON_LINES),
    )
    def many() -> Response:
        text: bytes = request.whole()  # type: ignore[attr-defined]
        asked = [
            (number, _read(line, providers, read))
            for number, line in enumerate(text.split(b"\n"), 1)
            if line.strip()
        ]
        if len(asked) > MOST_LISTED:
            raise Malformed(f"has more than {MOST_LISTED} lines", field="body")
        said = b"".join(
            encoded({"line": number, **_answer(outcome)}) for number, outcome in _told(book, asked)
        )
        return Response(said, mimetype=JSON_LINES)

    vars(many)["_spec"] |= {
        "body": {"anyOf": [_shape(name, kind) for name, kind in _forms()]},
        "body_example": EXAMPLE,
        "content_type": JSON_LINES,
    }


def _forms() -> Iterator[tuple[str, Kind]]:
    """Yields what a line may be, by its command: of some there are two."""
    for name, kind in KINDS.items():
        yield name, kind
        if kind.bare:
            yield name, kind.bare


def _shape(name: str, kind: Kind) -> dict[str, Any]:
    """Returns what /docs say of a line."""
    named = {"properties": {"command": {"type": "string", "enum": [name]}}, "required": ["command"]}
    return {"allOf": [kind.schema, {"type": "object", **named}]}


def _told(book: Book, asked: list[_Line]) -> list[tuple[int, Outcome | Exception]]:
    told = iter(book.submit_many([each for _, each in asked if not isinstance(each, Refusal)]))
    return [(number, each if isinstance(each, Refusal) else next(told)) for number, each in asked]


def _read(line: bytes, providers: Mapping[str, str], read: Read) -> commands.Command | Refusal:
    try:
        return _command(read(line), providers)
    except NotJson as error:
        return Malformed(str(error), field="line")
    except Refusal as refusal:
        return refusal


def _command(said: dict[str, Any], providers: Mapping[str, str]) -> commands.Command:
    """Returns what a line asks for. Raises the Refusal of its first fault."""
    named = said.pop("command", None)
    kind = KINDS.get(named) if isinstance(named, str) else None
    if kind is None:
        raise Malformed(f"must be one of {', '.join(KINDS)}", field="command")
    if kind.bare and calls.is_bare(said):
        kind = kind.bare
    fields, extra = kind.schema.take(said)
    provider = fields.get("providerId")
    if provider is None:
        if extra:
            raise Malformed("is not known", field=next(iter(extra)))
        return kind.command(Received("", fields, extra))
    if provider.casefold() not in providers:
        raise CredentialWrong("is no provider of this operator", field="providerId")
    return kind.command(Received(providers[provider.casefold()], fields, extra))


def _answer(outcome: Outcome | Exception) -> Answer:
    if isinstance(outcome, Refusal | Breakdown):
        return answers.denied(outcome)
    if isinstance(outcome, Exception):
        raise outcome
    return {**answers.with_transaction(outcome), "recorded": outcome.recorded}
