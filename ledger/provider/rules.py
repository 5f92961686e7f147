"""What must hold of a provider's book: checked event by event, with every round replayed as the book does."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from ledger import moments
from ledger.event import Event
from ledger.moments import later
from ledger.names import name
from ledger.projection import Key, Projection, Recorded, Row, kept_of
from ledger.provider import events
from ledger.provider.delivery import DECLINED, FINAL, LONGEST_WAIT_S
from ledger.provider.round import Round, evolve
from ledger.provider.round_rules import ALLOWED, FOLLOWING, calls_of, follows
from ledger.verify_rules import (
    Check,
    Digest,
    Missing,
    States,
    Total,
    Violation,
    follow,
    hold,
    well_named,
)


class _Delivery(msgspec.Struct, array_like=True):
    """A call a wallet is owed, by a round; `version` is that of its own stream.

    `sends`: in this burst; `due_at`: when it may be sent, empty where a person has to say so.
    """

    round_stream: str
    due_at: str
    version: int = 0
    attempts: int = 0
    sends: int = 0
    sending: bool = False
    doubtful: bool = False
    parked: bool = False
    closed: bool = False
    code: int | None = None
    """Of the last send that ended."""

    def is_due(self, at: str) -> bool:
        if "" < self.due_at <= at:
            return True
        return self.due_at > later(at, seconds=LONGEST_WAIT_S)


class _Due(msgspec.Struct, array_like=True):
    """What the same command decided behind an event, and what it says; `stream` is empty where that may not be."""

    topic: str
    said: dict[str, Any]
    stream: str = ""

    def met_by(self, event: Event) -> bool:
        if type(event).__name__ != self.topic:
            return False
        return self.said == {field: getattr(event, field) for field in self.said}


class _Saved(msgspec.Struct, array_like=True):
    rounds: dict[int, bytes] = {}
    deliveries: dict[int, bytes] = {}
    tables: dict[str, dict[int, bytes]] = {}
    sweep_version: int = 0
    sweep_stopped: bool = False
    due: _Due | None = None


class ProviderRules:
    """Everything that must hold of a provider's book."""

    def __init__(
        self,
        digest: Digest,
        saved: bytes = b"",
        watched: frozenset[int] = frozenset(),  # noqa: ARG002  (a delivery is known by its reference)
        *,
        projections: Sequence[Projection] = (),
        bodies: bool = False,
    ) -> None:
        """`projections`: of the tables that are to come to the same.

        `bodies`: ids are looked at, and what wallets are sent is made again, which takes long.
        """
        self._digest, self._kept = digest, kept_of(projections)
        was = msgspec.msgpack.decode(saved, type=_Saved) if saved else _Saved()
        self._rounds = States(Round, digest.text, was.rounds)
        self._deliveries = States(_Delivery, digest.key, was.deliveries)
        self._tables: dict[str, States[Key, tuple[Key, Row]]] = {
            p.TABLE: States(tuple[Key, Row], digest.key, was.tables.get(p.TABLE))
            for p in projections
        }
        self._sweep_version, self._sweep_stopped = was.sweep_version, was.sweep_stopped
        self._due, self._bodies = was.due, bodies
        self.checks: Mapping[str, Check] = {
            **{cls.__name__: self._in_round for cls in ALLOWED},
            "SendStarted": self._send_started,
            "SendEnded": self._send_ended,
            **{cls.__name__: self._in_sweep for cls in _IN_SWEEP},
        }
        if bodies:
            self.checks = {
                topic: partial(well_named, check) for topic, check in self.checks.items()
            }

    # what one command decides

    def _in_turn(self, event: Event, due: _Due | None = None) -> str | None:
        """Checks that an event stands where it does by a command; returns the stream of what it is due to bring."""
        was, self._due = self._due, due
        if was is None or not was.met_by(event):
            if was and was.stream:
                raise Violation(f"comes where {was.topic} has to")
            if type(event) in FOLLOWING:
                hold(self._is_over(event), "follows from nothing")
        return due.stream if due else None

    def _is_over(self, event: Event) -> bool:
        """Returns whether who was to send it next found its burst over: the last sender died."""
        match event:
            case events.BetGivenUp() | events.DeliveryParked():
                kind = getattr(event, "kind", "bet")
                delivery = self._deliveries.get((event.operator, kind, event.reference))
                assert delivery
                return delivery.sends > 0 and delivery.is_due(event.recorded_at)
        return False

    # streams

    def _in_round(self, stream: str, version: int, event: Any) -> str | None:
        state = self._rounds.get(stream) or Round()
        if version != state.version + 1:
            follow(version, state.version, stream)
        if stream != f"round/{event.operator}/{event.round}" or _is_escaped(stream, 2):
            hold(stream == name("round", event.operator, event.round), "is of another round")
        hold((version == 1) == (type(event) is events.RoundOpened), "opens no round, or again")
        ALLOWED[type(event)](state, event)
        if self._bodies and isinstance(event, events.Requested):
            hold(event.call in calls_of(state, event), "calls the wallet with something else")
        if self._bodies and isinstance(event, events.Confirmed):
            told = event.transaction_id or isinstance(event, events.CancelConfirmed)
            hold(told, "is confirmed by an answer that names no transaction")
        self._deliver(stream, event)
        state = evolve(state, event)
        self._rounds.put(stream, state)
        self._project(stream, version, event)
        comes = follows(state, event)
        return self._in_turn(event, _Due(*comes, stream) if comes else None)

    def _send_started(self, stream: str, version: int, event: events.SendStarted) -> str | None:
        delivery = self._sent(stream, version, event)
        if event.attempt != delivery.attempts + 1:
            follow(event.attempt, delivery.attempts, f"the sends of {stream}")
        hold(delivery.is_due(event.recorded_at), "sends what is not due")
        if self._bodies:
            moments.checked(event.until)
        delivery.doubtful |= delivery.sending
        delivery.attempts, delivery.sending = event.attempt, True
        delivery.sends, delivery.due_at = delivery.sends + 1, event.until
        self._project(stream, version, event)
        return self._in_turn(event)

    def _send_ended(self, stream: str, version: int, event: events.SendEnded) -> str | None:
        delivery = self._sent(stream, version, event)
        hold(1 <= event.attempt <= delivery.attempts, "ends a send that never started")
        last = delivery.sending and event.attempt == delivery.attempts
        confirms = event.outcome == "answered" and event.code == 0
        hold(last or confirms, "ends a send that is not the last")
        hold(event.outcome != "answered" or event.code is not None, "is an answer without a code")
        if self._bodies and event.again_at:
            moments.checked(event.again_at)
        due = _settles(delivery, event)
        ends = due is not None and due.topic not in _IN_VAIN
        hold(ends or event.again_at, "does not say when it is sent again")
        hold(not ends or event.again_at is None, "is to be sent again, though it is settled")
        delivery.doubtful |= event.outcome != "answered"
        delivery.sending, delivery.due_at = False, event.again_at or ""
        delivery.code = event.code
        self._project(stream, version, event)
        return self._in_turn(event, due)

    def _sent(self, stream: str, version: int, event: events.SendEvent) -> _Delivery:
        operator, kind, reference = event.operator, event.kind, event.reference
        if stream != f"delivery/{operator}/{kind}/{reference}" or _is_escaped(stream, 3):
            named = name("delivery", operator, kind, reference)
            hold(stream == named, "is of another delivery")
        delivery = self._open(operator, kind, reference)
        if version != delivery.version + 1:
            follow(version, delivery.version, stream)
        delivery.version = version
        return delivery

    def _in_sweep(self, stream: str, version: int, event: Any) -> str | None:
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
        return self._in_turn(event)

    # deliveries

    def _deliver(self, stream: str, event: Any) -> None:
        """Opens the delivery that an event asks for, or closes the one that it settles."""
        match event:
            case events.Requested():
                kind = events.REQUESTED[type(event)]
                key = (event.operator, kind, event.reference)
                if self._deliveries.get(key) is not None:
                    raise Violation(f"asks for the {kind} {event.reference} again")
                self._deliveries.put(key, _Delivery(stream, event.recorded_at))
            case events.Confirmed() | events.BetDeclined() | events.BetGivenUp():
                kind = events.SETTLED[type(event)]
                delivery = self._owed(stream, event, kind)
                if not delivery.attempts:
                    raise Violation(f"settles the {kind} {event.reference}, which was never sent")
                delivery.closed = True
            case events.DeliveryParked():
                delivery = self._owed(stream, event, event.kind)
                hold(event.kind != "bet", "parks a bet")
                hold(not delivery.parked, "parks what is parked")
                delivery.parked, delivery.sending = True, False
            case events.DeliveryRefused():
                self._owed(stream, event, event.kind)
            case events.DeliveryRetried():
                delivery = self._owed(stream, event, event.kind)
                sent = delivery.sending and not delivery.is_due(event.recorded_at)
                hold(not sent, "asks for what is being sent")
                delivery.parked, delivery.sends, delivery.due_at = False, 0, event.recorded_at

    def _owed(self, stream: str, event: Any, kind: str) -> _Delivery:
        """Returns a delivery that is of the event's own round, and not settled."""
        delivery = self._open(event.operator, kind, event.reference)
        if delivery.round_stream != stream:
            raise Violation(f"is about the {kind} {event.reference}, which is of another round")
        return delivery

    def _open(self, operator: str, kind: str, reference: str) -> _Delivery:
        delivery = self._deliveries.get((operator, kind, reference))
        if delivery is None:
            raise Missing(f"nobody asked for the {kind} {reference}")
        if delivery.closed:
            raise Violation(f"is about the {kind} {reference}, which is settled")
        return delivery

    # tables

    def _project(self, stream: str, version: int, event: Event) -> None:
        recorded = Recorded(stream, version, event)
        for table, key_of, derive in self._kept.get(type(event), ()):
            rows, key = self._tables[table], key_of(event)
            found = rows.get(key)
            rows.put(key, (key, derive(found[1] if found else None, recorded)))

    # at the end, and between

    def rest(self) -> None:
        self._rounds.rest()
        self._deliveries.rest()
        for rows in self._tables.values():
            rows.rest()

    def finish(self) -> Mapping[str, Total]:
        return {
            table: self.total(table, ((*key, *row) for key, row in rows.states()))
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
                {table: rows.packed() for table, rows in self._tables.items()},
                self._sweep_version,
                self._sweep_stopped,
                self._due,
            )
        )


def _is_escaped(stream: str, slashes: int) -> bool:
    """Returns whether a stream's parts may not be what stands between its slashes."""
    return "%" in stream or stream.count("/") != slashes


# what a send comes to


def _settles(delivery: _Delivery, event: events.SendEnded) -> _Due | None:
    """Returns what has to come of a send; or may, where that was the last one of its burst."""
    reference = {"reference": event.reference}
    answer = {**reference, "code": event.code, "detail": event.detail}
    code = event.code if event.outcome == "answered" else None
    if code == 0:
        return _Due(events.CONFIRMED[event.kind].__name__, reference, delivery.round_stream)
    if event.kind == "bet" and code in DECLINED:
        asked_before = delivery.code is not None and code not in FINAL
        if delivery.doubtful or asked_before:
            return _Due("BetGivenUp", reference, delivery.round_stream)
        return _Due("BetDeclined", answer, delivery.round_stream)
    if code in FINAL:
        return _Due("DeliveryRefused", {**answer, "kind": event.kind}, delivery.round_stream)
    if delivery.parked or not delivery.sends:
        return None
    now = {**reference, "recorded_at": event.recorded_at}
    if event.kind == "bet":
        return _Due("BetGivenUp", now)
    return _Due("DeliveryParked", {**now, "kind": event.kind})


_IN_VAIN = ("BetGivenUp", "DeliveryParked")

_IN_SWEEP = (events.SweepMade, events.SweepStopped, events.SweepConfirmed)
