"""What must hold of a provider's book: checked event by event, with every round replayed as the book does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ledger.event import Event
from ledger.money import MOST_MINOR_UNITS, MOST_SCALE
from ledger.names import name
from ledger.projection import Key, Projection, Recorded, Row, kept_of
from ledger.provider import events
from ledger.provider.round import Bet, Result, Round, Standing, evolve
from ledger.verify_rules import Check, Digest, Missing, Shelf, Total, Violation, follow, hold


class _Delivery(msgspec.Struct, array_like=True):
    """A call a wallet is owed; `version` is that of its own stream."""

    version: int = 0
    attempts: int = 0
    sending: bool = False
    closed: bool = False


class _Saved(msgspec.Struct, array_like=True):
    rounds: dict[int, bytes] = {}
    deliveries: dict[int, bytes] = {}
    tables: dict[str, dict[int, bytes]] = {}
    sweep_version: int = 0
    sweep_stopped: bool = False


class ProviderRules:
    """Everything that must hold of a provider's book."""

    def __init__(
        self,
        digest: Digest,
        saved: bytes = b"",
        watched: frozenset[int] = frozenset(),  # noqa: ARG002  (a delivery is known by its reference)
        *,
        projections: Sequence[Projection] = (),
    ) -> None:
        """`projections`: of the tables that are to come to the same."""
        self._digest, self._kept = digest, kept_of(projections)
        was = msgspec.msgpack.decode(saved, type=_Saved) if saved else _Saved()
        self._rounds = Shelf(Round, digest.text, was.rounds)
        self._deliveries = Shelf(_Delivery, digest.key, was.deliveries)
        self._tables: dict[str, Shelf[Key, list[Any]]] = {
            p.TABLE: Shelf(list, digest.key, was.tables.get(p.TABLE)) for p in projections
        }
        self._sweep_version, self._sweep_stopped = was.sweep_version, was.sweep_stopped
        self.checks: Mapping[str, Check] = {
            **{cls.__name__: self._in_round for cls in _ALLOWED},
            "SendStarted": self._send_started,
            "SendEnded": self._send_ended,
            **{cls.__name__: self._in_sweep for cls in _IN_SWEEP},
        }

    # streams

    def _in_round(self, stream: str, version: int, event: Any) -> None:
        state = self._rounds.get(stream) or Round()
        follow(version, state.version, stream)
        hold(stream == name("round", event.operator, event.round), "is of another round")
        hold(
            bool(state.version) != isinstance(event, events.RoundOpened), "opens no round, or again"
        )
        hold(
            0 <= getattr(event, "amount", 0) <= MOST_MINOR_UNITS, "is about an amount there is not"
        )
        hold(0 <= getattr(event, "scale", 0) <= MOST_SCALE, "counts in decimals there are not")
        _ALLOWED[type(event)](state, event)
        self._deliver(event)
        self._rounds.put(stream, evolve(state, event))
        self._project(stream, version, event)

    def _send_started(self, stream: str, version: int, event: events.SendStarted) -> None:
        delivery = self._sent(stream, version, event)
        if event.attempt != delivery.attempts + 1:
            follow(event.attempt, delivery.attempts, f"the sends of {stream}")
        delivery.attempts, delivery.sending = event.attempt, True
        self._project(stream, version, event)

    def _send_ended(self, stream: str, version: int, event: events.SendEnded) -> None:
        delivery = self._sent(stream, version, event)
        hold(1 <= event.attempt <= delivery.attempts, "ends a send that never started")
        last = delivery.sending and event.attempt == delivery.attempts
        confirms = event.outcome == "answered" and event.code == 0
        hold(last or confirms, "ends a send that is not the last")
        delivery.sending = False
        self._project(stream, version, event)

    def _sent(self, stream: str, version: int, event: events.SendEvent) -> _Delivery:
        named = name("delivery", event.operator, event.kind, event.reference)
        hold(stream == named, "is of another delivery")
        delivery = self._open(event.operator, event.kind, event.reference)
        follow(version, delivery.version, stream)
        delivery.version = version
        return delivery

    def _in_sweep(self, stream: str, version: int, event: Any) -> None:
        hold(stream == "sweep", "is of the sweep")
        follow(version, self._sweep_version, stream)
        self._sweep_version = version
        match event:
            case events.SweepStopped():
                hold(not self._sweep_stopped, "stops the sweep that is stopped")
                self._sweep_stopped = True
            case events.SweepConfirmed():
                self._sweep_stopped = False
        self._project(stream, version, event)

    # deliveries

    def _deliver(self, event: Any) -> None:
        """Opens the delivery that an event asks for, or closes the one that it settles."""
        match event:
            case events.Requested():
                kind = _ASKED[type(event)]
                key = (event.operator, kind, event.reference)
                hold(
                    self._deliveries.get(key) is None,
                    f"asks for the {kind} {event.reference} again",
                )
                self._deliveries.put(key, _Delivery())
            case events.Confirmed() | events.BetDeclined() | events.BetGivenUp():
                kind = _SETTLED[type(event)]
                delivery = self._open(event.operator, kind, event.reference)
                hold(
                    delivery.attempts, f"settles the {kind} {event.reference}, which was never sent"
                )
                delivery.closed = True
            case events.DeliveryEvent():
                self._open(event.operator, event.kind, event.reference)

    def _open(self, operator: str, kind: str, reference: str) -> _Delivery:
        delivery = self._deliveries.get((operator, kind, reference))
        if delivery is None:
            raise Missing(f"nobody asked for the {kind} {reference}")
        hold(not delivery.closed, f"is about the {kind} {reference}, which is settled")
        return delivery

    # tables

    def _project(self, stream: str, version: int, event: Event) -> None:
        recorded = Recorded(stream, version, event)
        for table, key_of, derive in self._kept.get(type(event), ()):
            rows, key = self._tables[table], key_of(event)
            row = rows.get(key)
            rows.put(key, [*key, *derive(tuple(row[len(key) :]) if row else None, recorded)])

    # at the end, and between

    def rest(self) -> None:
        self._rounds.rest()
        self._deliveries.rest()
        for rows in self._tables.values():
            rows.rest()

    def finish(self) -> Mapping[str, Total]:
        return {
            table: self.total(table, map(tuple, rows.states()))
            for table, rows in self._tables.items()
        }

    def total(self, table: str, rows: Iterable[Row]) -> Total:  # noqa: ARG002
        return Total().over(self._digest.rows(rows))

    def taken_twice(self) -> frozenset[int]:
        return frozenset()

    def saved(self) -> bytes:
        return msgspec.msgpack.encode(
            _Saved(
                self._rounds.packed(),
                self._deliveries.packed(),
                {table: shelf.packed() for table, shelf in self._tables.items()},
                self._sweep_version,
                self._sweep_stopped,
            )
        )


# what may happen to a round


def _always(_: Round, __: Any) -> None:
    """Nothing of the round forbids it."""


def _bet_requested(state: Round, event: events.BetRequested) -> None:
    hold(state.status == "InProgress", f"places a bet in a round that is {state.status}")
    hold(event.reference not in state.bets, "places a bet again")


def _bet(state: Round, event: Any, standing: Standing) -> Bet:
    bet = state.bets.get(event.reference)
    if bet is None:
        raise Violation(f"is about a bet that was never placed: {event.reference}")
    hold(bet.standing == standing, f"is about a bet that is {bet.standing}, not {standing}")
    return bet


def _amount(event: Any, of: Bet | Result) -> None:
    hold(event.amount == of.amount, f"is about {event.amount}; it was {of.amount}")


def _bet_accepted(state: Round, event: events.BetAccepted) -> None:
    _amount(event, _bet(state, event, "requested"))


def _bet_settled(state: Round, event: events.BetDeclined | events.BetGivenUp) -> None:
    _bet(state, event, "requested")


def _cancel_requested(state: Round, event: events.CancelRequested) -> None:
    _bet(state, event, "given-up")


def _cancel_confirmed(state: Round, event: events.CancelConfirmed) -> None:
    _amount(event, _bet(state, event, "given-up"))


def _refund_requested(state: Round, event: events.RefundRequested) -> None:
    _amount(event, _bet(state, event, "accepted"))


def _refund_confirmed(state: Round, event: events.RefundConfirmed) -> None:
    _amount(event, _bet(state, event, "refunding"))


def _result_requested(state: Round, event: events.ResultRequested) -> None:
    hold(
        not (state.end or state.cancelled or state.cancelling),
        "gives a round that is over a result",
    )
    hold(not state.standing("requested"), "gives a result while a bet waits for its answer")
    hold(state.standing("accepted"), "gives a round without an open bet a result")
    hold(event.reference not in state.results, "gives a result again")
    hold(event.amount >= 0, f"wins {event.amount}")


def _result_confirmed(state: Round, event: events.ResultConfirmed) -> None:
    result = state.results.get(event.reference)
    if result is None:
        raise Violation(f"confirms a result that was never given: {event.reference}")
    hold(not result.confirmed, "confirms a result again")
    _amount(event, result)


def _round_ended(state: Round, _: events.RoundEnded) -> None:
    hold(not (state.end or state.cancelled or state.cancelling), "ends a round that is over")
    hold(not state.standing("requested"), "ends a round while a bet waits for its answer")


def _end_requested(state: Round, event: events.EndRequested) -> None:
    hold(state.end == "ended", "asks for the end of a round that has not ended, or again")
    hold(not state.unconfirmed, "asks for the end before every result is confirmed")
    hold(event.reference == state.id, "asks for the end of another round")


def _end_confirmed(state: Round, _: events.EndConfirmed) -> None:
    hold(state.end == "requested", "confirms an end that nobody asked for")


def _cancellation_requested(state: Round, _: events.CancellationRequested) -> None:
    over = state.decided or state.cancelled or state.cancelling
    hold(not over, "cancels a round that has an outcome, or again")


def _round_completed(state: Round, _: events.RoundCompleted) -> None:
    hold(state.decided, "completes a round without an outcome")
    hold(not (state.completed or state.cancelled), "completes a round that is over")
    waits = state.unconfirmed or state.end == "requested" or (state.end == "ended" and state.staked)
    hold(not waits, "completes a round of which the wallet has not confirmed everything")


def _round_cancelled(state: Round, _: events.RoundCancelled) -> None:
    hold(not (state.decided or state.cancelled), "cancels a round that has an outcome, or again")
    left = state.standing("requested", "accepted", "given-up", "refunding")
    hold(not left, "cancels a round of which not every bet is given back")
    back = state.cancelling or state.standing("cancelled", "refunded")
    hold(back, "cancels a round though nothing was given back")


_ALLOWED: Mapping[type[Event], Callable[[Round, Any], None]] = {
    events.RoundOpened: _always,
    events.BetRequested: _bet_requested,
    events.BetAccepted: _bet_accepted,
    events.BetDeclined: _bet_settled,
    events.BetGivenUp: _bet_settled,
    events.CancelRequested: _cancel_requested,
    events.CancelConfirmed: _cancel_confirmed,
    events.RefundRequested: _refund_requested,
    events.RefundConfirmed: _refund_confirmed,
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

_IN_SWEEP = (events.SweepMade, events.SweepStopped, events.SweepConfirmed)

_ASKED: Mapping[type[Event], events.Kind] = {
    events.BetRequested: "bet",
    events.ResultRequested: "result",
    events.EndRequested: "end",
    events.CancelRequested: "cancel",
    events.RefundRequested: "refund",
}

_SETTLED: Mapping[type[Event], events.Kind] = {
    events.BetAccepted: "bet",
    events.BetDeclined: "bet",
    events.BetGivenUp: "bet",
    events.ResultConfirmed: "result",
    events.EndConfirmed: "end",
    events.CancelConfirmed: "cancel",
    events.RefundConfirmed: "refund",
}
