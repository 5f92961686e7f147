"""What game servers call, and who runs the provider: bets, outcomes, rounds, deliveries, events."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

from apiflask import APIBlueprint, HTTPTokenAuth
from flask import Response

from api.admin import check_path, feed, paged, private, read_by
from api.audit import travel
from api.audit.shelf import Shelf
from api.fields import check_id
from api.http import json_response
from api.problems import told
from api.provider import schemas
from api.provider.calls import Desk
from ledger.money import to_text
from ledger.provider.commands import (
    CancelRound,
    EndRound,
    PlaceBet,
    ReportResult,
    RetryDelivery,
    RoundCommand,
)
from ledger.provider.delivery import Delivery
from ledger.provider.round import Bet, Result, Round
from ledger.refusals import FieldMissing
from ledger.store import Store

ANSWERED_WITHIN_S = 8.0
"""What the wallet gets to answer, before the game is told 202: ask again with the same reference."""


def games(desk: Desk, auth: HTTPTokenAuth, shelf: Shelf, copy: Store | None = None) -> APIBlueprint:
    """Returns the paths of the games, and of the back office of the provider's book.

    The events come from `copy`, where one is given.
    """
    read = copy or desk.book.store
    blueprint = APIBlueprint("games", __name__, tag="games", url_prefix="/api/provider")
    blueprint.before_request(check_path)
    blueprint.after_request(private)
    may_play = blueprint.auth_required(auth, roles=["game"])
    may_read = blueprint.auth_required(auth, roles=["auditor"])
    may_act = blueprint.auth_required(auth, roles=["admin"])
    path = "/rounds/<id:round_id>"
    unplayed = (400, 403, 404, 409, 413, 422)

    def settled(command: RoundCommand, holds: Callable[[Round], bool]) -> Round:
        """Returns the round once what a game asks for holds of it, or as it is when the time is over."""
        desk.book.submit(command)
        return desk.settled(command.operator, command.round, holds, timeout_s=ANSWERED_WITHIN_S)

    @blueprint.post(f"{path}/bets")
    @may_play
    @blueprint.input(schemas.Bet)
    @blueprint.doc(
        summary="Place a bet at the operator's wallet", responses=told(200, 202, *unplayed)
    )
    def bet(round_id: str, json_data: dict[str, Any]) -> Response:
        fields, reference = json_data, json_data["reference"]
        command = PlaceBet(
            operator=fields["operator"],
            round=round_id,
            user=fields["userId"],
            currency=fields["currency"],
            session=fields["sessionId"],
            game=fields["gameId"],
            game_name=fields["gameName"],
            reference=reference,
            amount=fields["amount"],
            details=fields.get("roundDetails"),
        )
        found = settled(command, lambda state: state.bets[reference].standing != "requested")
        placed = found.bets[reference]
        unanswered = placed.standing == "requested"
        return json_response({**_head(found), **_bet(found, placed)}, 202 if unanswered else 200)

    @blueprint.post(f"{path}/result")
    @may_play
    @blueprint.input(schemas.Outcome)
    @blueprint.doc(summary="Pay what a round won", responses=told(200, 202, *unplayed))
    def result(round_id: str, json_data: dict[str, Any]) -> Response:
        fields, reference = json_data, json_data["reference"]
        command = ReportResult(
            operator=fields["operator"],
            round=round_id,
            reference=reference,
            amount=fields["amount"],
            user=fields.get("userId"),
            details=fields.get("roundDetails"),
        )
        found = settled(command, lambda state: state.results[reference].confirmed)
        paid = found.results[reference]
        status = 200 if paid.confirmed else 202
        return json_response({**_head(found), **_result(found, paid)}, status)

    @blueprint.post(f"{path}/end")
    @may_play
    @blueprint.input(schemas.End)
    @blueprint.doc(summary="End a round", responses=told(200, 202, *unplayed))
    def end(round_id: str, json_data: dict[str, Any]) -> Response:
        operator, user = json_data["operator"], json_data.get("userId")
        return over(EndRound(operator=operator, round=round_id, user=user), "Completed")

    @blueprint.post(f"{path}/cancel")
    @may_play
    @blueprint.input(schemas.End)
    @blueprint.doc(
        summary="Cancel a round: every open bet goes back", responses=told(200, 202, *unplayed)
    )
    def cancel(round_id: str, json_data: dict[str, Any]) -> Response:
        operator, user = json_data["operator"], json_data.get("userId")
        command = CancelRound(operator=operator, round=round_id, user=user, by="game")
        return over(command, "Cancelled")

    def over(command: RoundCommand, status: str) -> Response:
        found = settled(command, lambda state: state.status == status)
        return json_response(_head(found), 200 if found.status == status else 202)

    @blueprint.get(path)
    @may_read
    @blueprint.input(schemas.OfRound, location="query")
    @blueprint.doc(
        summary="A round: its status, bets, results, deliveries and history",
        responses=told(200, 404, 422),
    )
    def round_(round_id: str, query_data: dict[str, Any]) -> Response:
        operator = _operator(desk, query_data.get("operator"))
        found = desk.book.round(operator, round_id, at=query_data.get("at"))
        return json_response(_round(desk, found))

    @blueprint.get("/deliveries")
    @may_read
    @blueprint.input(schemas.Owed, location="query")
    @blueprint.doc(
        summary="What the wallets still owe an answer to, the oldest first",
        responses=told(200, 422),
    )
    def deliveries(query_data: dict[str, Any]) -> Response:
        found = desk.book.undelivered(after=query_data["after"], limit=query_data["limit"] + 1)
        return paged("deliveries", found, query_data, delivery_json, attrgetter("place"))

    @blueprint.post("/deliveries/<operator>/<kind>/<id:reference>/retry")
    @may_act
    @blueprint.doc(summary="Send a delivery again, now", responses=told(200, 403, 404, 409, 422))
    def retry(operator: str, kind: Any, reference: str) -> Response:
        outcome = desk.book.submit(RetryDelivery(operator=operator, kind=kind, reference=reference))
        desk.wake(operator)
        return json_response(_round(desk, outcome.round))

    fed = read_by(blueprint, auth, read)
    feed(blueprint, read, fed, partial(travel.history, shelf, "provider"))
    return blueprint


def _operator(desk: Desk, said: str | None) -> str:
    """Returns the operator the query names; it may be left out where there is only one."""
    if said is not None:
        return check_id(said, "operator")
    if len(desk.book.house.operators) != 1:
        raise FieldMissing("is mandatory where there are several operators", field="operator")
    return next(iter(desk.book.house.operators))


def _head(found: Round) -> dict[str, Any]:
    return {"operator": found.operator, "roundId": found.id, "roundStatus": found.status}


def _bet(found: Round, bet: Bet) -> dict[str, Any]:
    return {
        "reference": bet.reference,
        "stake": to_text(bet.amount, found.scale),
        "outcome": bet.standing,
        "code": bet.code,
        "transactionId": bet.transaction_id or None,
    }


def _result(found: Round, result: Result) -> dict[str, Any]:
    return {
        "reference": result.reference,
        "win": to_text(result.amount, found.scale),
        "confirmed": result.confirmed,
        "transactionId": result.transaction_id or None,
    }


def _round(desk: Desk, found: Round) -> dict[str, Any]:
    return {
        **_head(found),
        "userId": found.user,
        "currency": found.currency,
        "gameId": found.game,
        "openedAt": found.opened_at,
        "version": found.version,
        "staked": to_text(found.staked, found.scale),
        "won": to_text(found.won, found.scale),
        "bets": [_bet(found, bet) for bet in found.bets.values()],
        "results": [_result(found, result) for result in found.results.values()],
        "deliveries": [delivery_json(each) for each in desk.book.deliveries_of(found)],
        "history": [
            {"version": version, "event": topic, **body}
            for version, topic, body in desk.book.history(found.operator, found.id)
            if version <= found.version
        ],
    }


def delivery_json(found: Delivery) -> dict[str, Any]:
    """Returns a delivery as people and back offices read it."""
    return {
        "id": found.id,
        "roundId": found.round,
        "state": "sending" if found.sending else found.state,
        "attempts": found.attempts,
        "undeliveredSince": found.undelivered_since,
        "nextSendAt": found.due_at,
        "lastError": found.last_error,
        "code": found.code,
    }
