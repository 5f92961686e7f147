"""What each call of an operator, and each of a game, must and may carry."""

from typing import Any

from apiflask import Schema, fields
from marshmallow import INCLUDE, validate

from api.admin import MOST_ON_PAGE, At, Whole
from api.fields import Anything, Field, Fields, Id, Money
from ledger.refusals import Malformed


class OperatorCall(Fields):
    """Unknown fields are allowed: they may be part of the hash."""

    class Meta:
        unknown = INCLUDE

    secureLogin = Id(required=True)


class CancelRound(OperatorCall):
    """Seed 000."""

    externalPlayerId = Id(required=True)
    gameId = Id(required=True)
    roundId = Id()
    hash = Id()


class TokenCall(OperatorCall):
    """The later calls: the token comes in the body."""

    token = Id(required=True)
    uuid = Id(required=True)


class LaterCancelRound(TokenCall):
    userId = Id(required=True)
    roundId = Id(required=True)
    gameId = Id()


class RoundStatus(TokenCall):
    roundId = Id(required=True)


MOST_ROUNDS = 1000
DATE = "ISO 8601: a day, or a time"


class Count(Field):
    """A whole number from 1 to `most`, as a number or as text."""

    def __init__(self, *, most: int) -> None:
        number = {"type": "integer", "minimum": 1, "maximum": most}
        text = {"type": "string", "pattern": "^[0-9]{1,10}$"}
        about = {"description": f"1 to {most}", "oneOf": [number, text]}
        super().__init__(required=True, metadata=about)
        self.most = most

    def accept(self, value: Any) -> int:
        text = str(value) if type(value) in (int, str) else ""
        plain = text.isascii() and text.isdigit() and len(text) <= 10
        if not (plain and 1 <= int(text) <= self.most):
            raise Malformed(f"must be a whole number from 1 to {self.most}", field=self.name)
        return int(text)


class GameRounds(TokenCall):
    dateStart = Id(required=True, description=DATE)
    dateEnd = Id(required=True, description=DATE)
    timeZone = Id(required=True, description="UTC, +09:00 or Europe/Malta")
    page = Count(most=10**9)
    limit = Count(most=MOST_ROUNDS)
    userId = Id()
    gameId = Id()


class Game(Fields):
    """What every call of a game says."""

    operator = Id(required=True)
    userId = Id()


class End(Game):
    """The round is over."""


class Outcome(Game):
    """The win, zero included; the reference makes a retry harmless."""

    reference = Id(required=True)
    amount = Money(required=True)
    roundDetails = Anything()


class Bet(Outcome):
    """A stake; the reference makes a retry harmless."""

    userId = Id(required=True)
    currency = Id(required=True)
    sessionId = Id(required=True)
    gameId = Id(required=True)
    gameName = Id(required=True)


class OfRound(At):
    operator = fields.String(
        metadata={"description": "secure login; mandatory where there are several operators"}
    )


class Owed(Schema):
    after = fields.String(load_default="", metadata={"description": "`next` of the page before"})
    limit = Whole(load_default=MOST_ON_PAGE, validate=validate.Range(min=1, max=MOST_ON_PAGE))
