"""The back office's JSON: wallets, cash in and out, rounds, and the events as they are stored."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
from apiflask import APIBlueprint, HTTPTokenAuth, Schema, fields
from flask import Response, request
from marshmallow import validate
from msgspec import Raw

from api.audit import travel
from api.audit.door import Door
from api.audit.shelf import Shelf
from api.fields import check_id
from api.fresh import fresh, placed
from api.hidden import Read
from api.http import json_response
from api.listed import listed
from api.operator.schemas import Cash
from api.problems import told
from ledger.event import time_of
from ledger.money import to_text
from ledger.operator import commands
from ledger.operator.book import Book, Outcome, Reading
from ledger.operator.round import Round
from ledger.operator.wallet import Wallet
from ledger.reader import whole
from ledger.refusals import Malformed, NoSuchRound
from ledger.store import Record, Store

MOST_ON_PAGE = 1000

Found = TypeVar("Found")


class Whole(fields.Integer):
    """A whole number in plain digits, as the query writes it."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        if whole(value) is None:
            raise self.make_error("invalid")
        return super()._deserialize(value, *args, **kwargs)


FROM_NOTHING = validate.Range(min=0)
"""What plain digits are in any case, said for the document."""


class At(Schema):
    at = Whole(validate=validate.Range(min=1), metadata={"description": "version"})


class When(Schema):
    at = Whole(validate=FROM_NOTHING, metadata={"description": "position"})
    as_of = fields.String(
        validate=validate.Length(min=1),
        metadata={"description": "RFC 3339, or a date: its midnight in UTC"},
    )


class Named(Schema):
    q = fields.String(
        required=True, metadata={"description": "a player, round, reference or transaction"}
    )
    before = Whole(
        validate=FROM_NOTHING, metadata={"description": "`before` of the page of newer ones"}
    )


class Fresh(Schema):
    min_position = Whole(
        validate=FROM_NOTHING,
        metadata={"description": "Roundbook-Position of a write: what is read is to go so far"},
    )


class Page(Schema):
    after = Whole(load_default=0, validate=FROM_NOTHING)
    limit = Whole(load_default=100, validate=validate.Range(min=1, max=MOST_ON_PAGE))


def paged(
    kind: str,
    found: Sequence[Found],
    asked: Mapping[str, Any],
    shown: Callable[[Found], Any],
    place: Callable[[Found], Any],
) -> Response:
    """Returns a page of a list, whether more is behind it, and the `after` of the next.

    `found`: one more than the limit, where there is more.
    """
    page = found[: asked["limit"]]
    return json_response(
        {
            kind: [shown(each) for each in page],
            "has_more": len(found) > len(page),
            "next": place(page[-1]) if page else asked["after"],
        }
    )


def bearer(tokens: Mapping[str, str]) -> HTTPTokenAuth:
    """Returns who a bearer token is, by role: each may read, and do what its role may."""
    auth = HTTPTokenAuth(
        scheme="Bearer",
        description=f"The token of {' or '.join(tokens)}",
        security_scheme_name=f"Bearer-of-{'-or-'.join(tokens)}",  # no blank: OpenAPI's rule
    )
    auth.verify_token(Door(tokens).role)

    @auth.get_user_roles  # type: ignore[untyped-decorator]
    def roles(user: str) -> list[str]:
        return [user, "auditor"]

    return auth


def admin(
    book: Book,
    auth: HTTPTokenAuth,
    providers: Mapping[str, str],
    shelf: Shelf,
    read: Read,
    reading: Reading,
) -> APIBlueprint:
    """Returns the back office's paths.

    `providers`: ids by their casefolded spelling; `read`: how a line of a list is read;
    `reading`: what questions are asked of, the book itself or a copy.
    """
    blueprint = APIBlueprint("admin", __name__, tag="back office", url_prefix="/api")
    blueprint.before_request(check_path)
    blueprint.after_request(private)
    blueprint.after_request(placed(book))

    may_write = blueprint.auth_required(auth, roles=["admin"])
    may_read = read_by(blueprint, auth, reading.store)
    path = "/wallets/<user>/<currency>"
    unpaid = (400, 403, 404, 409, 413, 422)

    @blueprint.put(path)
    @may_write
    @blueprint.doc(summary="Open a wallet, if it is not open", responses=told(200, 201, 403, 422))
    def open_wallet(user: str, currency: str) -> Response:
        outcome = book.submit(commands.OpenWallet(user=user, currency=currency))
        return _wallet(book.wallet(user, currency), status=201 if outcome.recorded else 200)

    @blueprint.get(path)
    @may_read
    @blueprint.input(When, location="query")
    @blueprint.doc(
        summary="A wallet as it is now, or as of a position or a time",
        responses=told(200, 400, 404, 409, 422),
    )
    def wallet(user: str, currency: str, query_data: dict[str, Any]) -> Response:
        if query_data:
            return json_response(travel.balance(shelf, user, currency, request.args))
        return _wallet(reading.wallet(user, currency))

    def moved(outcome: Outcome, reference: str) -> Response:
        return json_response(
            {
                "transactionId": outcome.transaction_id,
                "reference": reference,
                "currency": outcome.currency,
                "cash": to_text(outcome.cash, outcome.scale),
            }
        )

    @blueprint.post(f"{path}/deposits")
    @may_write
    @blueprint.input(Cash)
    @blueprint.doc(summary="Pay cash in", responses=told(200, *unpaid))
    def deposit(user: str, currency: str, json_data: dict[str, Any]) -> Response:
        command = commands.Deposit(user=user, currency=currency, **json_data)
        return moved(book.submit(command), command.reference)

    @blueprint.post(f"{path}/withdrawals")
    @may_write
    @blueprint.input(Cash)
    @blueprint.doc(summary="Pay cash out", responses=told(200, *unpaid))
    def withdraw(user: str, currency: str, json_data: dict[str, Any]) -> Response:
        command = commands.Withdraw(user=user, currency=currency, **json_data)
        return moved(book.submit(command), command.reference)

    @blueprint.post(f"{path}/freeze")
    @may_write
    @blueprint.doc(summary="Refuse new bets of this wallet", responses=told(200, 403, 404, 422))
    def freeze(user: str, currency: str) -> Response:
        book.submit(commands.Freeze(user=user, currency=currency))
        return _wallet(book.wallet(user, currency))

    @blueprint.post(f"{path}/unfreeze")
    @may_write
    @blueprint.doc(summary="Take bets of this wallet again", responses=told(200, 403, 404, 422))
    def unfreeze(user: str, currency: str) -> Response:
        book.submit(commands.Unfreeze(user=user, currency=currency))
        return _wallet(book.wallet(user, currency))

    @blueprint.get("/rounds/<provider>/<id:round_id>")
    @may_read
    @blueprint.input(At, location="query")
    @blueprint.doc(
        summary="A round as it is now, or as of one of its versions", responses=told(200, 404, 422)
    )
    def round_(provider: str, round_id: str, query_data: dict[str, Any]) -> Response:
        known = providers.get(provider.casefold(), provider)
        found = reading.round(known, round_id, at=query_data.get("at"))
        if found is None:
            raise NoSuchRound("no such round, or not so many versions", field="roundId")
        scale = book.house.scale(found.currency) if found.scale is None else found.scale
        return json_response(_round(found, scale or 0))

    listed(blueprint, book, may_write, providers, read)
    feed(blueprint, reading.store, may_read, partial(travel.history, shelf, "operator"))
    return blueprint


def read_by(
    blueprint: APIBlueprint, auth: HTTPTokenAuth, store: Store
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns what lets whoever may read through, and waits until the store goes as far as they ask."""
    lets, waits = blueprint.auth_required(auth, roles=["auditor"]), fresh(store)

    def guarded(view: Callable[..., Any]) -> Callable[..., Any]:
        vars(view)["_spec"].setdefault("args", []).append((Fresh(), "query"))
        found: Callable[..., Any] = lets(waits(view))
        return found

    return guarded


History = Callable[[Mapping[str, Any]], dict[str, Any]]


def feed(
    blueprint: APIBlueprint, store: Store, may_read: Callable[..., Any], past: History
) -> None:
    """Adds a book's events, as they are stored, its head, its seals, and the history of what has a name."""

    @blueprint.get("/history")
    @may_read
    @blueprint.input(Named, location="query")
    @blueprint.doc(
        summary="The newest events of a player, round, reference or transaction",
        responses=told(200, 400, 409, 422),
    )
    def history(query_data: dict[str, Any]) -> Response:
        return json_response(past(query_data))

    @blueprint.get("/events")
    @may_read
    @blueprint.input(Page, location="query")
    @blueprint.doc(
        summary="The events as they are stored, in their order", responses=told(200, 422)
    )
    def events(query_data: dict[str, int]) -> Response:
        found = store.records(after=query_data["after"], limit=query_data["limit"] + 1)
        return paged("events", found, query_data, _event, attrgetter("id"))

    @blueprint.get("/seals")
    @may_read
    @blueprint.doc(
        summary="The signed heads, in the order they were made", responses=told(200, 422)
    )
    def seals() -> Response:
        return json_response({"seals": [Raw(seal) for seal in store.seals()]})

    @blueprint.get("/head")
    @may_read
    @blueprint.doc(summary="The last event's position and hash", responses=told(200, 422))
    def head() -> Response:
        position, hashed = store.head()
        return json_response({"position": position, "hash": hashed.hex()})


_FIELDS = {"user": "userId", "provider": "providerId", "round_id": "roundId"}


def check_path() -> None:
    """Refuses an id in the path that is none. Raises Malformed."""
    for variable, value in (request.view_args or {}).items():
        field = _FIELDS.get(variable, variable)
        # so a server writes bytes that are no UTF-8: two ids would be one
        if "\ufffd" in check_id(value, field):
            raise Malformed("must be UTF-8, percent-encoded", field=field)


def private(response: Response) -> Response:
    """Keeps an answer out of caches."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _wallet(found: Wallet, status: int = 200) -> Response:
    body = {
        "userId": found.user,
        "currency": found.currency,
        "cash": to_text(found.cash, found.scale),
        "scale": found.scale,
        "frozen": bool(found.frozen),
        "version": found.version,
    }
    return json_response(body, status)


def _round(found: Round, scale: int) -> dict[str, Any]:
    return {
        "providerId": found.provider,
        "roundId": found.id,
        "userId": found.user,
        "currency": found.currency,
        "gameId": found.game,
        "status": found.status,
        "version": found.version,
        "openedAt": found.opened_at,
        "staked": to_text(found.staked, scale),
        "won": to_text(found.won, scale),
        "reversed": to_text(found.reversed, scale),
        "bets": [
            {
                "reference": bet.reference,
                "stake": to_text(bet.stake, scale),
                "status": "reversed" if bet.reversal else "settled" if found.results else "open",
                "transactionId": bet.transaction_id,
                "reversalTransactionId": bet.reversal,
            }
            for bet in found.bets.values()
        ],
        "results": [
            {
                "reference": result.reference,
                "kind": result.kind,
                "win": to_text(result.amount, scale),
                "transactionId": result.transaction_id,
            }
            for result in found.results.values()
        ],
        "tombstones": list(found.tombstones),
        "refused": list(found.refused),
    }


def _event(record: Record) -> dict[str, Any]:
    """Returns an event as it is stored; of a damaged one, which is no JSON, the raw bytes in base64."""
    said: dict[str, Any] = {"body": None, "raw": record.state}
    recorded_at = None
    with suppress(msgspec.MsgspecError):
        recorded_at, said = time_of(record.state), {"body": Raw(record.state)}
    return {
        "position": record.id,
        "stream": record.originator_id,
        "version": record.originator_version,
        "topic": record.topic,
        "recorded_at": recorded_at,
        "hash": record.hash.hex(),
        **said,
    }
