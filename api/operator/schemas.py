"""What each call must and may carry. Source: contract.md, "Calls the operator's wallet answers"."""

from marshmallow import INCLUDE

from api.fields import Anything, Fields, Id, Moment, Money


class Player(Fields):
    """What every call says: whose money, for which provider. Unknown fields are kept."""

    class Meta:
        unknown = INCLUDE

    providerId = Id(required=True)
    userId = Id(required=True)
    uuid = Id(required=True)


class Check(Player):
    currency = Id(required=True)
    sessionId = Id(required=True)


class Balance(Player):
    sessionId = Id(required=True)
    currency = Id()


class Transaction(Player):
    currency = Id(required=True)
    reference = Id(required=True)


class Result(Transaction):
    """Without a session it is an AutoClosing: the round is closed for the player."""

    roundId = Id(required=True)
    gameId = Id(required=True)
    gameName = Id(required=True)
    amount = Money(required=True)
    timestamp = Moment(required=True)
    roundDetails = Anything(required=True)
    sessionId = Id()


class Bet(Result):
    sessionId = Id(required=True)


class Promo(Transaction):
    campaignId = Id(required=True)
    campaignType = Id(required=True)
    amount = Money(required=True)
    timestamp = Moment(required=True)
    gameName = Id()
    sessionId = Id()
    roundDetails = Anything()


class EndRound(Player):
    gameId = Id(required=True)
    roundId = Id(required=True)
    sessionId = Id(required=True)
    currency = Id(required=True)


class Refund(Transaction):
    """Seed 003: told from a Cancel by its body, which names no session and no round."""

    gameId = Id(required=True)
    gameName = Id(required=True)


class RoundRefund(Refund):
    """The later form, with a path of its own."""

    roundId = Id(required=True)
    sessionId = Id()


class Cancel(Refund):
    """Seed 002."""

    sessionId = Id(required=True)
    roundId = Id()


class RoundCancel(Cancel):
    """Seed 004: the round is named."""

    roundId = Id(required=True)


class SessionExpired(Player):
    sessionId = Id(required=True)


class OfWallet(Fields):
    """What the back office does to a wallet, as a line of its list."""

    class Meta:
        unknown = INCLUDE

    userId = Id(required=True)
    currency = Id(required=True)


class Cash(Fields):
    """Cash in or out; the reference makes a retry harmless."""

    reference = Id(required=True)
    amount = Money(required=True)


class OfCash(OfWallet, Cash):
    """The same, as a line."""
