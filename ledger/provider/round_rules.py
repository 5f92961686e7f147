"""What may happen to a round that a provider runs, and what has to follow: the book's rules, written once more."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, get_args

from ledger.event import Event
from ledger.money import MOST_MINOR_UNITS, MOST_SCALE
from ledger.provider import events
from ledger.provider.house import Dialect
from ledger.provider.round import Bet, Result, Round, Standing, about
from ledger.verify_rules import Violation, hold


def _always(_: Round, __: Any) -> None:
    """Nothing of the round forbids it."""


def _round_opened(_: Round, event: events.RoundOpened) -> None:
    hold(0 <= event.scale <= MOST_SCALE, "counts in decimals there are not")


def _new_amount(event: events.BetRequested | events.ResultRequested) -> None:
    hold(0 <= event.amount <= MOST_MINOR_UNITS, "is about an amount there is not")


def _bet_requested(state: Round, event: events.BetRequested) -> None:
    _new_amount(event)
    hold(state.status == "InProgress", f"places a bet in a round that is {state.status}")
    hold(event.reference not in state.bets, "places a bet again")


def _bet(state: Round, event: Any, standing: Standing) -> Bet:
    bet = state.bets.get(event.reference)
    if bet is None:
        raise Violation(f"is about a bet that was never placed: {event.reference}")
    if bet.standing != standing:
        raise Violation(f"is about a bet that is {bet.standing}, not {standing}")
    return bet


def _amount(event: Any, of: Bet | Result) -> None:
    if event.amount != of.amount:
        raise Violation(f"is about {event.amount}; it was {of.amount}")


def _of_bet(standing: Standing, state: Round, event: Any) -> None:
    bet = _bet(state, event, standing)
    if isinstance(event, events.Confirmed):
        _amount(event, bet)


def _refund_requested(state: Round, event: events.RefundRequested) -> None:
    _amount(event, _bet(state, event, "accepted"))
    hold(not (state.decided or state.cancelled), "gives a bet back of a round that has an outcome")
    by = state.cancelling or "retention"
    hold(event.by == by, f"is by {event.by}; only {by} may give it back")
    going = _going(state, event)
    first = going and going[0].reference == event.reference
    hold(first, "gives a bet back before one that goes back with it")
    left = [bet.accepted_at for bet in state.standing("accepted") if bet not in going]
    since = min(left, default="")
    hold(event.open_since == since, f"leaves a bet open since {event.open_since}; it is {since}")


def _going(state: Round, event: events.RefundRequested) -> list[Bet]:
    """Returns the bets that one command gives back, as far as they stand: all that are older than those it leaves."""
    accepted = state.standing("accepted")
    return [bet for bet in accepted if not event.open_since or bet.accepted_at < event.open_since]


def _result_requested(state: Round, event: events.ResultRequested) -> None:
    hold(
        not (state.end or state.cancelled or state.cancelling),
        "gives a round that is over a result",
    )
    hold(not state.standing("requested"), "gives a result while a bet waits for its answer")
    hold(not _reversing(state), "gives a result while a reversal waits for its answer")
    hold(state.standing("accepted"), "gives a round without an open bet a result")
    hold(event.reference not in state.results, "gives a result again")
    _new_amount(event)


def _reversing(state: Round) -> set[tuple[events.Kind, str]]:
    """Returns the reversals the wallet still has to answer, but for those it refused for good."""
    asked: set[tuple[events.Kind, str]] = {
        ("cancel" if bet.standing == "given-up" else "refund", bet.reference)
        for bet in state.standing("given-up", "refunding")
    }
    return asked - state.refused


def _result_confirmed(state: Round, event: events.ResultConfirmed) -> None:
    result = state.results.get(event.reference)
    if result is None:
        raise Violation(f"confirms a result that was never given: {event.reference}")
    hold(not result.confirmed, "confirms a result again")
    _amount(event, result)


def _round_ended(state: Round, _: events.RoundEnded) -> None:
    hold(not (state.end or state.cancelled or state.cancelling), "ends a round that is over")
    hold(not state.standing("requested"), "ends a round while a bet waits for its answer")
    hold(not _reversing(state), "ends a round while a reversal waits for its answer")


def _end_requested(state: Round, event: events.EndRequested) -> None:
    hold(state.end == "ended", "asks for the end of a round that has not ended, or again")
    hold(not state.unconfirmed, "asks for the end before every result is confirmed")
    hold(event.reference == state.id, "asks for the end of another round")


def _end_confirmed(state: Round, event: events.EndConfirmed) -> None:
    hold(state.end == "requested", "confirms an end that nobody asked for")
    hold(event.reference == state.id, "confirms the end of another round")
    hold(not event.amount, f"is about {event.amount}; no money moves")


def _cancellation_requested(state: Round, _: events.CancellationRequested) -> None:
    over = state.decided or state.cancelled or state.cancelling
    hold(not over, "cancels a round that has an outcome, or again")


def _round_completed(state: Round, _: events.RoundCompleted) -> None:
    hold(state.decided, "completes a round without an outcome")
    hold(not (state.completed or state.cancelled), "completes a round that is over")
    waits = state.unconfirmed or state.end == "requested" or (state.end == "ended" and state.taken)
    hold(not waits, "completes a round of which the wallet has not confirmed everything")


def _round_cancelled(state: Round, _: events.RoundCancelled) -> None:
    hold(not (state.decided or state.cancelled), "cancels a round that has an outcome, or again")
    left = state.standing("requested", "accepted", "given-up", "refunding")
    hold(not left, "cancels a round of which not every bet is given back")
    back = state.cancelling or state.standing("cancelled", "refunded")
    hold(back, "cancels a round though nothing was given back")


# what a wallet is sent


def calls_of(state: Round, event: events.Requested) -> list[events.Call]:
    """Returns what may be sent for an event: in each dialect, for an operator's is not recorded."""
    return [_call(state, event, dialect) for dialect in get_args(Dialect)]


def _call(state: Round, event: events.Requested, dialect: Dialect) -> events.Call:
    of, kind = about(state, dialect, session=_session(state, event)), events.REQUESTED[type(event)]
    match event:
        case events.BetRequested() | events.ResultRequested():
            amount, at, details = event.amount, event.recorded_at, event.details
            return of.money(kind, event.reference, amount=amount, at=at, details=details)
        case events.EndRequested():
            return of.end()
    return of.reversal(kind, event.reference)


def _session(state: Round, event: events.Requested) -> str:
    """Returns the session of the bet that an event is about, else of the round's last."""
    if isinstance(event, events.BetRequested):
        return event.session
    back = isinstance(event, events.CancelRequested | events.RefundRequested)
    return state.bets[event.reference].session if back else state.session


# what follows from it


Follows = tuple[str, dict[str, Any]] | None
"""The topic of what comes next, and what it says."""


def follows(state: Round, event: Event) -> Follows:
    """Returns what comes behind an event, by what it left its round in."""
    brings = _BRINGS.get(type(event))
    return brings(state, event) if brings else None


def _refund(bet: Bet, **said: str) -> Follows:
    return "RefundRequested", {"reference": bet.reference, **said}


def _more_refunds(state: Round, event: events.RefundRequested) -> Follows:
    going = _going(state, event)
    return _refund(going[0], by=event.by, open_since=event.open_since) if going else None


def _goes_on(state: Round, _: Event) -> Follows:
    if state.cancelled or state.completed:
        return None
    accepted = state.standing("accepted")
    if state.cancelling and accepted:
        return _refund(accepted[0], by=state.cancelling, open_since="")
    if state.decided:
        if state.unconfirmed or state.end == "requested":
            return None
        ends = state.end == "ended" and state.taken
        return ("EndRequested" if ends else "RoundCompleted"), {}
    left = accepted or state.standing("requested", "given-up", "refunding")
    back = state.cancelling or state.standing("cancelled", "refunded")
    return ("RoundCancelled", {}) if back and not left else None


_BRINGS: Mapping[type[Event], Callable[[Round, Any], Follows]] = {
    events.RoundOpened: lambda *_: ("BetRequested", {}),
    events.BetGivenUp: lambda _, event: ("CancelRequested", {"reference": event.reference}),
    events.RefundRequested: _more_refunds,
    events.BetAccepted: _goes_on,
    events.BetDeclined: _goes_on,
    events.CancelConfirmed: _goes_on,
    events.RefundConfirmed: _goes_on,
    events.ResultConfirmed: _goes_on,
    events.EndConfirmed: _goes_on,
    events.RoundEnded: _goes_on,
    events.CancellationRequested: _goes_on,
}

ALLOWED: Mapping[type[Event], Callable[[Round, Any], None]] = {
    events.RoundOpened: _round_opened,
    events.BetRequested: _bet_requested,
    events.BetAccepted: partial(_of_bet, "requested"),
    events.BetDeclined: partial(_of_bet, "requested"),
    events.BetGivenUp: partial(_of_bet, "requested"),
    events.CancelRequested: partial(_of_bet, "given-up"),
    events.CancelConfirmed: partial(_of_bet, "given-up"),
    events.RefundRequested: _refund_requested,
    events.RefundConfirmed: partial(_of_bet, "refunding"),
    events.ResultRequested: _result_requested,
    events.ResultConfirmed: _result_confirmed,
    events.RoundEnded: _round_ended,
    events.EndRequested: _end_requested,
    events.EndConfirmed: _end_confirmed,
    events.CancellationRequested: _cancellation_requested,
    events.RoundCompleted: _round_completed,
    events.RoundCancelled: _round_cancelled,
    events.DeliveryParked: _always,
    events.DeliveryRefused: _always,
    events.DeliveryRetried: _always,
}

FOLLOWING = ALLOWED.keys() - {
    events.RoundOpened,
    events.BetRequested,
    events.ResultRequested,
    events.RoundEnded,
    events.CancellationRequested,
    events.RefundRequested,
    events.DeliveryRetried,
}
"""What is decided behind something else; BetGivenUp and DeliveryParked also first, where a sender died.

Nor does a command refund first in a round that is being cancelled: it holds no bet to give back.
"""
