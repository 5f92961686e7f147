"""A round as the provider runs it: its state, what may be decided of it, and how it evolves.

Pure: no clock, no store. Every decision is its own events and what follows from them: a round that
is being cancelled refunds what it holds, a round whose outcome is confirmed is completed.
"""

from collections.abc import Sequence
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from ledger.event import Event
from ledger.money import check_sum, to_minor, to_text
from ledger.provider import commands, events
from ledger.provider.calls import About
from ledger.provider.house import Dialect, Operator
from ledger.provider.status import RoundStatus, status
from ledger.refusals import (
    Final,
    Malformed,
    NoSuchRound,
    NotTogether,
    ReferenceReused,
    Unsettled,
    WrongCurrency,
)

Standing = Literal[
    "requested", "accepted", "declined", "given-up", "cancelled", "refunding", "refunded"
]
"""Where a bet stands. `given-up`: unanswered, its cancel is under way; `refunding`: its refund is."""


class Bet(msgspec.Struct, frozen=True, gc=False):
    """A bet; `amount` in minor units. `code` is why the wallet declined it."""

    reference: str
    amount: int
    session: str
    standing: Standing = "requested"
    accepted_at: str = ""
    transaction_id: str = ""
    code: int | None = None


class Result(msgspec.Struct, frozen=True, gc=False):
    """An outcome; `amount` is the win in minor units."""

    reference: str
    amount: int
    confirmed: bool = False
    transaction_id: str = ""


class Round(msgspec.Struct, frozen=True, gc=False):
    """A round as of its `version`-th event; version 0 is a round nobody has spoken of."""

    version: int = 0
    operator: str = ""
    id: str = ""
    provider: str = ""
    user: str = ""
    currency: str = ""
    scale: int = 0
    game: str = ""
    game_name: str = ""
    session: str = ""
    opened_at: str = ""
    bets: dict[str, Bet] = {}
    results: dict[str, Result] = {}
    end: Literal["", "ended", "requested", "confirmed"] = ""
    completed: bool = False
    cancelling: events.CancelledBy | None = None
    cancelled: bool = False
    refused: frozenset[tuple[events.Kind, str]] = frozenset()
    """Deliveries the wallet refused for good: they wait for a person."""

    def standing(self, *standings: Standing) -> list[Bet]:
        """Returns the bets that stand so, in the order they were placed."""
        return [bet for bet in self.bets.values() if bet.standing in standings]

    @property
    def decided(self) -> bool:
        """Whether there is an outcome."""
        return bool(self.end or self.results)

    @property
    def owing(self) -> int:
        """How much of the outcome the wallet has not confirmed."""
        if self.completed:
            return 0
        return self.unconfirmed + bool(self.end)

    @property
    def unconfirmed(self) -> int:
        """How many results the wallet has not confirmed."""
        return sum(not result.confirmed for result in self.results.values())

    @property
    def staked(self) -> int:
        """What the wallet took, in minor units, reversed or not."""
        return sum(bet.amount for bet in self.taken)

    @property
    def taken(self) -> list[Bet]:
        """The bets the wallet took, reversed or not, in the order they were placed."""
        return self.standing("accepted", "refunding", "refunded")

    @property
    def won(self) -> int:
        """What the results came to, in minor units."""
        return sum(result.amount for result in self.results.values())

    @property
    def status(self) -> RoundStatus:
        """Where the round stands."""
        return status(
            cancelled=self.cancelled,
            cancelling=bool(self.cancelling),
            decided=self.decided,
            owing=self.owing,
            unanswered=len(self.standing("requested")),
            open_bets=len(self.standing("accepted")),
            reversing=len(self.standing("given-up", "refunding")),
        )


# evolve


def evolve(state: Round, event: events.InRound) -> Round:
    """Returns the round once the event has happened. Never refuses: the past is as it is."""
    return replace(_evolve(state, event), version=state.version + 1)


def _evolve(state: Round, event: events.InRound) -> Round:
    match event:
        case events.RoundOpened():
            return replace(
                state,
                operator=event.operator,
                id=event.round,
                provider=event.provider,
                user=event.user,
                currency=event.currency,
                scale=event.scale,
                game=event.game,
                game_name=event.game_name,
                opened_at=event.recorded_at,
            )
        case events.BetRequested():
            bet = Bet(event.reference, event.amount, event.session)
            return replace(_with_bet(state, bet), session=event.session)
        case events.BetAccepted():
            return _with_bet(
                state,
                replace(
                    state.bets[event.reference],
                    standing="accepted",
                    accepted_at=event.recorded_at,
                    transaction_id=event.transaction_id,
                ),
            )
        case events.BetDeclined():
            return _with_bet(
                state, replace(state.bets[event.reference], standing="declined", code=event.code)
            )
        case events.BetGivenUp():
            return _stands(state, event.reference, "given-up")
        case events.CancelConfirmed():
            return _closed(_stands(state, event.reference, "cancelled"), "cancel", event)
        case events.RefundRequested():
            return _stands(state, event.reference, "refunding")
        case events.RefundConfirmed():
            return _closed(_stands(state, event.reference, "refunded"), "refund", event)
        case events.ResultRequested():
            result = Result(event.reference, event.amount)
            return replace(_with_result(state, result), completed=False)
        case events.ResultConfirmed():
            result = replace(
                state.results[event.reference],
                confirmed=True,
                transaction_id=event.transaction_id,
            )
            return _closed(_with_result(state, result), "result", event)
        case events.RoundEnded():
            return replace(state, end="ended", completed=False)
        case events.EndRequested():
            return replace(state, end="requested")
        case events.EndConfirmed():
            return _closed(replace(state, end="confirmed"), "end", event)
        case events.CancellationRequested():
            return replace(state, cancelling=event.by)
        case events.RoundCompleted():
            return replace(state, completed=True)
        case events.RoundCancelled():
            return replace(state, cancelled=True)
        case events.DeliveryRefused():
            return replace(state, refused=state.refused | {(event.kind, event.reference)})
        case events.DeliveryRetried():
            return replace(state, refused=state.refused - {(event.kind, event.reference)})
        case events.CancelRequested() | events.DeliveryParked():
            return state
        case _:
            assert_never(event)


def _with_bet(state: Round, bet: Bet) -> Round:
    return replace(state, bets={**state.bets, bet.reference: bet})


def _stands(state: Round, reference: str, standing: Standing) -> Round:
    return _with_bet(state, replace(state.bets[reference], standing=standing))


def _with_result(state: Round, result: Result) -> Round:
    return replace(state, results={**state.results, result.reference: result})


def _closed(state: Round, kind: events.Kind, event: events.Confirmed) -> Round:
    return replace(state, refused=state.refused - {(kind, event.reference)})


# decide: what the game asks


def place_bet(
    state: Round, bet: commands.PlaceBet, operator: Operator, *, scale: int, at: str
) -> list[Event]:
    """Decides a bet whose reference is new.

    Raises NotTogether, WrongCurrency, Malformed, AmountInvalid, Final once the round takes no more.
    """
    _same_round(state, bet)
    if state.version and state.status != "InProgress":
        raise Final(f"the round takes no more bets: it is {state.status}", field="roundId")
    amount = to_minor(bet.amount, scale)
    check_sum(amount + state.staked + sum(each.amount for each in state.standing("requested")))
    opened = [] if state.version else [_opened(bet, operator, scale=scale, at=at)]
    for event in opened:
        state = evolve(state, event)
    call = about(state, operator.dialect, session=bet.session).money(
        "bet", bet.reference, amount=amount, at=at, details=bet.details
    )
    requested = events.BetRequested(
        **_named(state, at),
        session=bet.session,
        reference=bet.reference,
        amount=amount,
        details=bet.details,
        call=call,
    )
    return [*opened, requested]


def repeat_bet(state: Round, bet: commands.PlaceBet) -> None:
    """Checks a bet whose reference this round knows. Raises NotTogether, ReferenceReused, AmountInvalid."""
    first = state.bets[bet.reference]
    if bet.user != state.user:
        raise NotTogether("the reference belongs to another player", field="userId")
    for field, said, known in (
        ("roundId", bet.round, state.id),
        ("currency", bet.currency, state.currency),
        ("gameId", bet.game, state.game),
    ):
        _same_value(field, said, known)
    _same_amount(to_minor(bet.amount, state.scale), first.amount, state.scale)


def report_result(
    state: Round, result: commands.ReportResult, operator: Operator, *, at: str
) -> list[Event]:
    """Decides a result whose reference is new.

    Raises NoSuchRound without an accepted bet, NotTogether, Final once the round is over or goes back,
    Unsettled while a bet or a reversal waits for the wallet, AmountInvalid.
    """
    _known(state, result.user)
    if state.end or state.cancelled or state.cancelling:
        raise Final(f"the round takes no result: it is {state.status}", field="roundId")
    _settled(state)
    if not state.standing("accepted"):
        raise NoSuchRound("no bet of the round is accepted and open", field="roundId")
    amount = to_minor(result.amount, state.scale)
    check_sum(amount + state.won)
    call = about(state, operator.dialect, session=state.session).money(
        "result", result.reference, amount=amount, at=at, details=result.details
    )
    requested = events.ResultRequested(
        **_named(state, at),
        reference=result.reference,
        amount=amount,
        details=result.details,
        call=call,
    )
    return [requested]


def repeat_result(state: Round, result: commands.ReportResult) -> None:
    """Checks a result whose reference this round knows. Raises NotTogether, ReferenceReused, AmountInvalid."""
    _known(state, result.user)
    _same_value("roundId", result.round, state.id)
    first = state.results[result.reference]
    _same_amount(to_minor(result.amount, state.scale), first.amount, state.scale)


def end_round(state: Round, end: commands.EndRound, operator: Operator, *, at: str) -> list[Event]:
    """Decides the end of a round, once.

    Raises NoSuchRound, NotTogether, Final for a cancelled round, Unsettled while a bet or a reversal
    waits for the wallet.
    """
    _known(state, end.user)
    if state.end:
        return []
    if state.cancelled or state.cancelling:
        raise Final(f"the round cannot end: it is {state.status}", field="roundId")
    _settled(state)
    return _and_then(state, [events.RoundEnded(**_named(state, at))], operator, at=at)


# decide: going back


def cancel_round(
    state: Round, cancel: commands.CancelRound, operator: Operator, *, at: str
) -> list[Event]:
    """Decides the cancellation of a round, once: every open bet is refunded, and what is accepted later.

    Raises NoSuchRound, NotTogether, Malformed for another game, Final once there is an outcome.
    """
    _known(state, cancel.user)
    if cancel.game is not None and cancel.game != state.game:
        raise Malformed("is not the round's game", field="gameId")
    if state.decided:
        raise Final(f"the round has an outcome: it is {state.status}", field="roundId")
    if state.cancelled or state.cancelling:
        return []
    requested = events.CancellationRequested(
        **_named(state, at),
        by=cancel.by,
        uuid=cancel.uuid,
    )
    return _and_then(state, [requested], operator, at=at)


def refund_overdue(
    state: Round, refund: commands.RefundOverdue, operator: Operator, *, at: str
) -> list[Event]:
    """Decides the refund of the bets that were accepted at `upto` or before; none where there is an outcome."""
    if state.decided or state.cancelled:
        return []
    overdue = [bet for bet in state.standing("accepted") if bet.accepted_at <= refund.upto]
    return _refunds(state, overdue, operator, by="retention", at=at)


def _refunds(
    state: Round, bets: Sequence[Bet], operator: Operator, *, by: events.CancelledBy, at: str
) -> list[Event]:
    references = {bet.reference for bet in bets}
    left = [b.accepted_at for b in state.standing("accepted") if b.reference not in references]
    return [
        events.RefundRequested(
            **_named(state, at),
            reference=bet.reference,
            amount=bet.amount,
            by=by,
            open_since=min(left, default=""),
            call=about(state, operator.dialect, session=bet.session).reversal(
                "refund", bet.reference
            ),
        )
        for bet in bets
    ]


# decide: what the wallet answered


def confirm(
    state: Round,
    kind: events.Kind,
    reference: str,
    operator: Operator,
    *,
    transaction_id: str,
    at: str,
) -> list[Event]:
    """Decides what follows once the wallet has answered 0."""
    confirmed = events.CONFIRMED[kind](
        **_named(state, at),
        reference=reference,
        amount=_amount(state, kind, reference),
        transaction_id=transaction_id,
    )
    return _and_then(state, [confirmed], operator, at=at)


def decline_bet(
    state: Round, reference: str, operator: Operator, *, code: int, detail: str, at: str
) -> list[Event]:
    """Decides what follows once the wallet has refused a bet."""
    declined = events.BetDeclined(
        **_named(state, at),
        reference=reference,
        code=code,
        detail=detail,
    )
    return _and_then(state, [declined], operator, at=at)


def give_bet_up(state: Round, reference: str, operator: Operator, *, at: str) -> list[Event]:
    """Decides what follows once a bet stayed without a valid answer: it is cancelled."""
    given_up = events.BetGivenUp(**_named(state, at), reference=reference)
    session = state.bets[reference].session
    requested = events.CancelRequested(
        **_named(state, at),
        reference=reference,
        call=about(state, operator.dialect, session=session).reversal("cancel", reference),
    )
    return [given_up, requested]


def _amount(state: Round, kind: events.Kind, reference: str) -> int:
    if kind == "end":
        return 0
    return (state.results if kind == "result" else state.bets)[reference].amount


# what follows


def _and_then(state: Round, made: list[Event], operator: Operator, *, at: str) -> list[Event]:
    """Returns the events and what follows from them."""
    for event in made:
        state = evolve(state, event)  # type: ignore[arg-type]  # made here, of a round's own events
    return [*made, *_follows(state, operator, at=at)]


def _follows(state: Round, operator: Operator, *, at: str) -> list[Event]:
    if state.cancelled or state.completed:
        return []
    if state.cancelling and state.standing("accepted"):
        accepted = state.standing("accepted")
        return _refunds(state, accepted, operator, by=state.cancelling, at=at)
    if state.decided:
        return _towards_the_end(state, operator, at=at)
    return [events.RoundCancelled(**_named(state, at))] if _all_went_back(state) else []


def _towards_the_end(state: Round, operator: Operator, *, at: str) -> list[Event]:
    """The wallet hears of the end once it has confirmed every result, and only if it took a bet."""
    if state.unconfirmed or state.end == "requested":
        return []
    if state.end == "ended" and state.taken:
        call = about(state, operator.dialect, session=state.session).end()
        return [events.EndRequested(**_named(state, at), reference=state.id, call=call)]
    return [events.RoundCompleted(**_named(state, at))]


def _all_went_back(state: Round) -> bool:
    if state.standing("requested", "accepted", "given-up", "refunding"):
        return False
    return bool(state.cancelling or state.standing("cancelled", "refunded"))


# what belongs together


def _opened(
    bet: commands.PlaceBet, operator: Operator, *, scale: int, at: str
) -> events.RoundOpened:
    return events.RoundOpened(
        recorded_at=at,
        operator=bet.operator,
        round=bet.round,
        provider=operator.provider,
        user=bet.user,
        currency=bet.currency,
        scale=scale,
        game=bet.game,
        game_name=bet.game_name,
    )


def _named(state: Round, at: str) -> dict[str, str]:
    """Returns what every event of a round says: when, and which round's."""
    return {"recorded_at": at, "operator": state.operator, "round": state.id}


def about(state: Round, dialect: Dialect, *, session: str) -> About:
    """Returns what every call of a round says of it."""
    return About(
        operator=state.operator,
        dialect=dialect,
        provider=state.provider,
        round=state.id,
        user=state.user,
        currency=state.currency,
        scale=state.scale,
        game=state.game,
        game_name=state.game_name,
        session=session,
    )


def _known(state: Round, user: str | None) -> None:
    if not state.version:
        raise NoSuchRound("no such round", field="roundId")
    if user is not None and user != state.user:
        raise NotTogether("the round belongs to another player", field="userId")


def _settled(state: Round) -> None:
    """A result may not overtake what the wallet still has to answer: it would refuse the reversal."""
    if state.standing("requested"):
        raise Unsettled("a bet of the round waits for the wallet's answer")
    reversing: list[tuple[events.Kind, str]] = [
        ("cancel" if bet.standing == "given-up" else "refund", bet.reference)
        for bet in state.standing("given-up", "refunding")
    ]
    if not state.refused.issuperset(reversing):
        raise Unsettled("a reversal of the round waits for the wallet's answer")


def _same_round(state: Round, bet: commands.PlaceBet) -> None:
    if not state.version:
        return
    if bet.user != state.user:
        raise NotTogether("the round belongs to another player", field="userId")
    if bet.currency != state.currency:
        raise WrongCurrency(f"the round is played in {state.currency}", field="currency")
    if bet.game != state.game:
        raise Malformed("is not the round's game", field="gameId")


def _same_value(field: str, said: str, known: str) -> None:
    if said != known:
        raise ReferenceReused(f"the reference is known with {known}", field=field)


def _same_amount(said: int, known: int, scale: int) -> None:
    if said != known:
        raise ReferenceReused(
            f"the reference is known with {to_text(known, scale)}", field="amount"
        )
