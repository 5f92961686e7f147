"""The calls an operator makes of the provider: fields become a command, a round becomes an answer."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from api.credentials import IN_BODY, IN_QUERY
from api.fields import Fields
from api.provider import schemas
from api.provider.dates import span
from api.provider.waiting import Waiting
from ledger.money import to_text
from ledger.names import transaction_id
from ledger.provider.book import Book, GameRound
from ledger.provider.commands import CancelRound, CancelRounds
from ledger.provider.round import Round

Answer = dict[str, Any]

SUCCESS: Answer = {"error": 0, "description": "Success"}
CANCELLED_WITHIN_S = 5.0
"""What the wallet gets to confirm the refunds, before the operator is answered anyway."""


class Desk(NamedTuple):
    """Where operators are served: the book, who waits, and whom to wake when a wallet is owed a call."""

    book: Book
    waiting: Waiting
    wake: Callable[[str], None]

    def settled(
        self,
        operator: str,
        round_id: str,
        holds: Callable[[Round], bool],
        *,
        timeout_s: float,
    ) -> Round:
        """Returns the round once this holds of it, or as it is when the time is over."""
        self.wake(operator)
        return self.waiting.until(
            (operator, round_id),
            lambda: self.book.round(operator, round_id),
            holds,
            timeout_s=timeout_s,
        )


class Call(NamedTuple):
    """One path. `signed`: the body has a hash and the query the pair; else the token is in the body."""

    path: str
    schema: Fields
    answer: Callable[[Desk, str, dict[str, Any]], Answer]
    example: Answer
    signed: bool = False
    text_error: bool = False
    older: "Call | None" = None
    """What it is instead where the body has no token (seed 000)."""
    spelt: Mapping[str, str] = {}
    """Its own names of fields, by the book's."""

    @property
    def pair(self) -> str:
        """What its credential is called."""
        return IN_QUERY if self.signed else IN_BODY

    def told_by(self, body: dict[str, Any]) -> "Call":
        """Returns which of the calls that share this path a body is."""
        if self.older and "token" not in {key.casefold() for key in body}:
            return self.older
        return self


def cancel_round(desk: Desk, operator: str, fields: dict[str, Any]) -> Answer:
    """Cancel a player's round, or all of the player's open rounds of a game (seed 000)."""
    round_id = fields.get("roundId")
    if round_id is None:
        cancel = CancelRounds(
            operator=operator,
            user=fields["externalPlayerId"],
            game=fields["gameId"],
            by="operator",
        )
        rounds: list[str] = []
        while found := desk.book.submit(cancel).rounds:  # so many at a time
            rounds += found
    else:
        one = CancelRound(
            operator=operator,
            round=round_id,
            user=fields["externalPlayerId"],
            game=fields["gameId"],
            by="operator",
        )
        rounds = [desk.book.submit(one).round.id]
    deadline = time.monotonic() + CANCELLED_WITHIN_S
    for each in rounds:
        _cancelled(desk, operator, each, timeout_s=deadline - time.monotonic())
    return SUCCESS


def later_cancel_round(desk: Desk, operator: str, fields: dict[str, Any]) -> Answer:
    """Cancel a player's round."""
    cancel = CancelRound(
        operator=operator,
        round=fields["roundId"],
        user=fields["userId"],
        game=fields.get("gameId"),
        by="operator",
        uuid=fields["uuid"],
    )
    desk.book.submit(cancel)
    found = _cancelled(desk, operator, fields["roundId"], timeout_s=CANCELLED_WITHIN_S)
    back = sum(bet.amount for bet in found.standing("refunding", "refunded"))
    return {
        **SUCCESS,
        "currency": found.currency,
        "amount": to_text(back, found.scale),
        "transactionId": transaction_id(operator, "cancelround", found.id),
    }


def _cancelled(desk: Desk, operator: str, round_id: str, *, timeout_s: float) -> Round:
    return desk.settled(
        operator,
        round_id,
        lambda found: found.status != "CancelInProcess",
        timeout_s=timeout_s,
    )


def round_status(desk: Desk, operator: str, fields: dict[str, Any]) -> Answer:
    """Where a round stands."""
    found = desk.book.round(operator, fields["roundId"])
    return {"error": "0", "description": "Success", "roundId": found.id, **_stands(found)}


def game_rounds(desk: Desk, operator: str, fields: dict[str, Any]) -> Answer:
    """The rounds that were opened in a span of time, the oldest first."""
    page, limit = fields["page"], fields["limit"]
    asked = span(fields["dateStart"], fields["dateEnd"], fields["timeZone"])
    total, found = desk.book.game_rounds(
        operator,
        user=fields.get("userId"),
        game=fields.get("gameId"),
        after=asked.after,
        upto=asked.upto,
        limit=limit,
        skip=(page - 1) * limit,
    )
    return {**SUCCESS, "totalRounds": total, "rounds": [_listed(each) for each in found]}


def health(desk: Desk, operator: str, fields: dict[str, Any]) -> Answer:  # noqa: ARG001
    """Is the provider's book there?"""
    desk.book.store.head()
    return SUCCESS


def _listed(found: GameRound) -> Answer:
    return {
        "roundId": found.round,
        "userId": found.user,
        "gameId": found.game,
        **_stands(found),
        "dateStart": found.opened_at,
    }


def _stands(found: Round | GameRound) -> Answer:
    return {
        "currency": found.currency,
        "betAmount": to_text(found.staked, found.scale),
        "winAmount": to_text(found.won, found.scale),
        "roundStatus": found.status,
    }


_STOOD: Answer = {
    "currency": "USD",
    "betAmount": "100.00",
    "winAmount": "0.00",
    "roundStatus": "Cancelled",
}
_LISTED: Answer = {
    "roundId": "5103188801",
    "userId": "421",
    "gameId": "vs20demo",
    **_STOOD,
    "dateStart": "2026-11-21T10:00:00.000000Z",
}
_STATUS: Answer = {"error": "0", "description": "Success", "roundId": "5103188801", **_STOOD}
_AMOUNT: Answer = {
    **SUCCESS,
    "currency": "USD",
    "amount": "100.00",
    "transactionId": "9d1f5bb6-6b2c-5c5b-8f0e-3f6a0d7f3c11",
}

SEED_000 = Call(
    "cancelround",
    schemas.CancelRound(),
    cancel_round,
    SUCCESS,
    signed=True,
    spelt={"userId": "externalPlayerId"},
)

FAMILY = (
    Call("cancelround", schemas.LaterCancelRound(), later_cancel_round, _AMOUNT, older=SEED_000),
    Call("GetRoundStatus", schemas.RoundStatus(), round_status, _STATUS, text_error=True),
    Call("HealthCheck", schemas.TokenCall(), health, SUCCESS),
)
"""What both dialects call alike."""

LUCKY_MONACO_V4 = (
    *FAMILY,
    Call(
        "history/GetGameRounds",
        schemas.GameRounds(),
        game_rounds,
        {**SUCCESS, "totalRounds": 1, "rounds": [_LISTED]},
    ),
)
KYREN_V1 = FAMILY
