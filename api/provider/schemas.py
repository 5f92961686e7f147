"""What each call of an operator, and each of a game, must and may carry."""

from apiflask import Schema, fields
from marshmallow import INCLUDE, validate

from api.admin import MOST_ON_PAGE, At, Whole
from api.fields import Anything, Fields, Id, Money


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


DATE = {"description": "ISO 8601: a day, or a time"}
COUNT = {
    "description": "from 1 on",
    "oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]+$"}],
}


class GameRounds(TokenCall):
    dateStart = Id(required=True, metadata=DATE)
    dateEnd = Id(required=True, metadata=DATE)
    timeZone = Id(required=True, metadata={"description": "UTC, +09:00 or Europe/Malta"})
    page = Anything(required=True, metadata=COUNT)
    limit = Anything(required=True, metadata=COUNT)
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
