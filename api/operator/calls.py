"""Every call of the wallet, from its fields to its answer. They translate; the book decides."""

from collections.abc import Callable
from typing import Any, NamedTuple

from api.fields import Fields
from api.operator import answers, schemas
from api.operator.answers import Answer
from ledger.operator import commands
from ledger.operator.book import Book, Outcome
from ledger.operator.events import ResultKind, ReversedBy, Said
from ledger.refusals import FieldMissing, PlayerNotFound


class Received(NamedTuple):
    """A call that was read: the provider whose credential it carries, its fields, and the rest."""

    provider: str
    fields: dict[str, Any]
    extra: dict[str, Any]

    def said(self) -> Said:
        """Returns what is kept with the event and never compared."""
        found = self.fields.get
        return Said(
            uuid=self.fields["uuid"],
            session=found("sessionId"),
            game_name=found("gameName"),
            provider_time=found("timestamp"),
            details=found("roundDetails"),
            extra=self.extra,
        )


class Call(NamedTuple):
    """One path of a dialect. `text_error`: the error code is written as text (seed 003)."""

    path: str
    schema: Fields
    answer: Callable[[Book, Received], Answer]
    example: Answer
    text_error: bool = False
    bare: "Call | None" = None
    """What it is instead where the body names neither a session nor a round."""

    def told_by(self, body: dict[str, Any]) -> "Call":
        """Returns which of the calls that share this path a body is."""
        return self.bare if self.bare and is_bare(body) else self


_ORIGIN = frozenset({"sessionid", "roundid"})


def is_bare(body: dict[str, Any]) -> bool:
    """Returns whether a body names neither a session nor a round: by that a Refund is told (seed 003)."""
    return _ORIGIN.isdisjoint(key.casefold() for key in body)


def check(book: Book, call: Received) -> Answer:
    """Would a bet of this player be taken in this session?"""
    fields = call.fields
    book.check(call.provider, fields["userId"], fields["currency"], fields["sessionId"])
    return answers.SUCCESS


def balance(book: Book, call: Received) -> Answer:
    """The cash of a wallet, as it is now."""
    wallets = book.wallets(call.fields["userId"])
    if not wallets:
        raise PlayerNotFound("no such player", field="userId")
    currency = call.fields.get("currency")
    if currency is None and len(wallets) > 1:
        names = ", ".join(wallet.currency for wallet in wallets)
        raise FieldMissing(f"is mandatory for a player with {names}", field="currency")
    return answers.with_cash(book.wallet(call.fields["userId"], currency or wallets[0].currency))


def _submitted(
    command: Callable[[Received], commands.Command],
    told: Callable[[Outcome], Answer] = answers.with_transaction,
) -> Callable[[Book, Received], Answer]:
    """Returns what submits the command that a call is, and says what the command does."""

    def answer(book: Book, call: Received) -> Answer:
        return told(book.submit(command(call)))

    answer.__doc__ = command.__doc__
    return answer


def cancel(book: Book, call: Received) -> Answer:
    """Give a stake back (seed 002); without session and round it is a Refund (seed 003)."""
    book.submit(cancel_bet(call))
    return answers.with_reference(call.fields["reference"])


def cancel_with_cash(book: Book, call: Received) -> Answer:
    """Give a stake back (seed 004)."""
    return answers.with_transaction(book.submit(cancel_bet(call)))


def cancel_round(book: Book, call: Received) -> Answer:
    """Give every open stake of the round that owns the reference back (seed 001)."""
    book.submit(cancel_whole_round(call))
    return answers.with_reference(call.fields["reference"])


def session_expired(book: Book, call: Received) -> Answer:
    """Take no more bets in a session; settles and cancels nothing."""
    book.submit(expire_session(call))
    return answers.SUCCESS


# the commands that they are


def place_bet(call: Received) -> commands.PlaceBet:
    """Take a stake for a round."""
    fields = call.fields
    return commands.PlaceBet(
        provider=call.provider,
        user=fields["userId"],
        currency=fields["currency"],
        round=fields["roundId"],
        game=fields["gameId"],
        session=fields["sessionId"],
        reference=fields["reference"],
        amount=fields["amount"],
        said=call.said(),
    )


def record_result(call: Received, kind: ResultKind = "result") -> commands.RecordResult:
    """Pay what a round won, zero included."""
    fields = call.fields
    return commands.RecordResult(
        provider=call.provider,
        user=fields["userId"],
        kind=kind,
        currency=fields["currency"],
        round=fields["roundId"],
        game=fields["gameId"],
        reference=fields["reference"],
        amount=fields["amount"],
        said=call.said(),
    )


def record_bonus(call: Received) -> commands.RecordResult:
    """Pay a bonus to a round's player."""
    return record_result(call, "bonus")


def record_jackpot(call: Received) -> commands.RecordResult:
    """Pay a jackpot to a round's player."""
    return record_result(call, "jackpot")


def pay_promo(call: Received) -> commands.PayPromo:
    """Pay a campaign's win, outside any round."""
    fields = call.fields
    return commands.PayPromo(
        provider=call.provider,
        user=fields["userId"],
        currency=fields["currency"],
        campaign=fields["campaignId"],
        campaign_type=fields["campaignType"],
        reference=fields["reference"],
        amount=fields["amount"],
        said=call.said(),
    )


def close_round(call: Received) -> commands.EndRound:
    """Close a round; no money moves."""
    fields = call.fields
    return commands.EndRound(
        provider=call.provider,
        user=fields["userId"],
        currency=fields["currency"],
        round=fields["roundId"],
        game=fields["gameId"],
        said=call.said(),
    )


def cancel_bet(call: Received) -> commands.ReverseBet:
    return _reversal(call, "cancel")


def refund_bet(call: Received) -> commands.ReverseBet:
    """Give a stake back; for an unknown reference every open stake of the round."""
    return _reversal(call, "refund")


def _reversal(call: Received, by: ReversedBy) -> commands.ReverseBet:
    whole_round = by == "refund" and "roundId" in call.fields
    return commands.ReverseBet(**_of_reference(call), by=by, whole_round=whole_round)


def cancel_whole_round(call: Received) -> commands.CancelRound:
    return commands.CancelRound(**_of_reference(call))


def _of_reference(call: Received) -> dict[str, Any]:
    """Returns what every reversal says: whose money, in which game, by which reference."""
    fields = call.fields
    return {
        "provider": call.provider,
        "user": fields["userId"],
        "currency": fields["currency"],
        "round": fields.get("roundId"),
        "game": fields["gameId"],
        "reference": fields["reference"],
        "said": call.said(),
    }


def expire_session(call: Received) -> commands.ExpireSession:
    fields = call.fields
    return commands.ExpireSession(
        provider=call.provider,
        user=fields["userId"],
        session=fields["sessionId"],
        said=call.said(),
    )


REFUNDS = _submitted(refund_bet, answers.refunded)
REFUND = Call("Cancel", schemas.Refund(), REFUNDS, answers.REFUNDED, text_error=True)

FAMILY = (
    Call("Check", schemas.Check(), check, answers.SUCCESS),
    Call("Balance", schemas.Balance(), balance, answers.CASH),
    Call("Bet", schemas.Bet(), _submitted(place_bet), answers.TRANSACTION),
    Call("Result", schemas.Result(), _submitted(record_result), answers.TRANSACTION),
    Call("EndRound", schemas.EndRound(), _submitted(close_round), answers.TRANSACTION),
    Call("Refund", schemas.RoundRefund(), REFUNDS, answers.REFUNDED, text_error=True),
    Call("SessionExpired", schemas.SessionExpired(), session_expired, answers.SUCCESS),
)
"""What both dialects call alike."""

LUCKY_MONACO_V4 = (
    *FAMILY,
    Call("Cancel", schemas.Cancel(), cancel, answers.REFERENCE, bare=REFUND),
    Call("CancelRound", schemas.Cancel(), cancel_round, answers.REFERENCE),
    Call("BonusWin", schemas.Result(), _submitted(record_bonus), answers.TRANSACTION),
    Call("JackPotWin", schemas.Result(), _submitted(record_jackpot), answers.TRANSACTION),
    Call("PromoWin", schemas.Promo(), _submitted(pay_promo), answers.TRANSACTION),
)

KYREN_V1 = (
    *FAMILY,
    Call("Cancel", schemas.RoundCancel(), cancel_with_cash, answers.TRANSACTION),
)
