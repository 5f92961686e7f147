"""The provider's book: rounds, what the operators' wallets are owed, and what they answered."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ledger.batch import Batch
from ledger.committer import Committer
from ledger.event import Event
from ledger.mapper import Mapper
from ledger.moments import checked, later, text, utc_now
from ledger.names import name, parts
from ledger.projection import Key
from ledger.provider import commands, events, round
from ledger.provider.delivery import LONGEST_WAIT_S, PLAYED, Delivery, State, Verdict, judge
from ledger.provider.house import House
from ledger.provider.round import Round
from ledger.refusals import Malformed, NoSuchRound, Refusal, Unsettled, WrongCurrency
from ledger.store import Asked, Store, Where
from ledger.writer import Latch, Writer

MAPPER = Mapper(events.TYPES)

EVER = "9999"
"""Sorts behind every time."""

MOST_ROUNDS_AT_ONCE = 1000
"""That one cancellation of a player's rounds takes; asked again, it takes the next."""


class Send(msgspec.Struct, frozen=True):
    """A send that was taken: the bytes, and how many sends its burst has now."""

    call: events.Call
    attempt: int
    sends: int
    currency: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to. `round` is as of its commit; `send` is None where another has taken it."""

    round: Round = Round()
    rounds: Sequence[str] = ()
    """The rounds that a player's cancellation was about."""
    send: Send | None = None
    state: State | None = None
    """Where a delivery stands after the end of its last send, its sender's too; None for any other send."""
    recorded: bool = False
    """False where it was known, or had nothing to do."""


class Sweep(NamedTuple):
    """Whether bets are refunded by their age. Source: the table `sweep`."""

    stopped_at: str | None = None
    reason: str = ""
    confirmed_upto: str = ""
    made_at: str = ""
    """When it last trusted the clock, or a person did; empty for never."""


class OpenRound(NamedTuple):
    """A round with a bet that is open since a time, without an outcome."""

    operator: str
    round: str
    user: str
    open_since: str


class GameRound(NamedTuple):
    """A round in a list; money in minor units. Source: the table `rounds`."""

    operator: str
    round: str
    user: str
    game: str
    currency: str
    scale: int
    status: str
    staked: int
    won: int
    opened_at: str


class Book:
    """One provider's book on one store; safe to call from many threads."""

    def __init__(
        self,
        store: Store,
        house: House,
        *,
        now: Callable[[], datetime] = utc_now,
        latch: Callable[[], Latch] | None = None,
        on_defect: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.house = house
        self.now = now
        self._commit: Committer[Round, commands.Command, Outcome] = Committer(
            store,
            MAPPER,
            empty=Round(),
            evolve=round.evolve,
            foresee=_foreseen,
            expect=_expected,
            decide=self._decide,
            now=now,
        )
        self._writer = Writer(
            self._commit, deadline_s=store.deadline_s, latch=latch, on_defect=on_defect
        )
        self._decisions: dict[type, Callable[..., Outcome]] = {
            commands.PlaceBet: self._place_bet,
            commands.ReportResult: self._report_result,
            commands.EndRound: partial(self._in_round, round.end_round),
            commands.CancelRound: partial(self._in_round, round.cancel_round),
            commands.CancelRounds: self._cancel_rounds,
            commands.RefundOverdue: partial(self._in_round, round.refund_overdue),
            commands.StartSend: self._start_send,
            commands.EndSend: self._end_send,
            commands.RetryDelivery: self._retry_delivery,
            commands.NoteSweep: self._note_sweep,
            commands.StopSweep: self._stop_sweep,
            commands.ConfirmSweep: self._confirm_sweep,
        }

    def submit(self, command: commands.Command) -> Outcome:
        """Decides a command and returns what it came to, once that is durable.

        Raises a Refusal when the rules deny it, a Breakdown when it has to be asked again.
        """
        return self._writer.submit(command)

    @property
    def writes(self) -> bool:
        """Whether commands are being taken."""
        return self._writer.alive

    def check_writing(self) -> None:
        """Raises PersistenceError where what is decided next could not be written."""
        self._writer.prove(self.store.try_write)

    def close(self) -> None:
        """Answers what waits, then closes the store."""
        self._writer.close()
        self.store.close()

    # questions

    def round(self, operator: str, round_id: str, *, at: int | None = None) -> Round:
        """Returns a round as it is now, or as of its `at`-th event. Raises NoSuchRound."""
        state = Round()
        for topic, body in self.store.stream(name("round", operator, round_id), upto=at):
            state = round.evolve(state, MAPPER.decode(topic, body))
        if not state.version:
            raise NoSuchRound("no such round", field="roundId")
        return state

    def history(self, operator: str, round_id: str) -> list[tuple[int, str, dict[str, Any]]]:
        """Returns version, topic and body of a round's events, in order."""
        stored = self.store.stream(name("round", operator, round_id))
        return [(n, topic, msgspec.json.decode(body)) for n, (topic, body) in enumerate(stored, 1)]

    def game_rounds(
        self,
        operator: str,
        *,
        user: str | None,
        game: str | None,
        after: str,
        upto: str,
        limit: int,
        skip: int,
    ) -> tuple[int, list[GameRound]]:
        """Returns how many rounds were opened in a span, and some of them, the oldest first."""
        named = {"operator": operator, "user": user, "game": game}
        where = Where(
            equals={column: value for column, value in named.items() if value is not None},
            column="opened_at",
            after=after,
            upto=upto,
            limit=limit,
            skip=skip,
        )
        rows = self.store.where("rounds", where)
        width = len(GameRound._fields)
        return self.store.count("rounds", where), [GameRound(*row[:width]) for row in rows]

    def deliveries_of(self, state: Round) -> list[Delivery]:
        """Returns a round's deliveries: its bets, results, end, cancels, refunds."""
        kinds: list[tuple[events.Kind, Iterable[str]]] = [
            ("bet", state.bets),
            ("result", state.results),
            ("end", [state.id]),
            ("cancel", state.bets),
            ("refund", state.bets),
        ]
        keys = [(state.operator, kind, named) for kind, names in kinds for named in names]
        found = self.store.find("deliveries", keys)
        return [Delivery(*key, *found[key]) for key in keys if key in found]

    def due(self, operator: str, *, limit: int) -> list[Delivery]:
        """Returns what is to be sent to an operator now, the longest due first."""
        return self._deliveries({"operator": operator}, "due_at", text(self.now()), limit)

    def pressing(self, operator: str, *, after: str, limit: int) -> list[Delivery]:
        """Returns what games wait for, of each kind so much that became due behind a time, the longest due first."""
        found = [
            delivery
            for kind in PLAYED
            for delivery in self._deliveries(
                {"operator": operator, "kind": kind, "state": "waiting"},
                "due_at",
                text(self.now()),
                limit,
                after=after,
            )
        ]
        return sorted(found, key=lambda delivery: delivery.due_at or "")

    def due_for_long(self, operator: str, *, limit: int) -> list[Delivery]:
        """Returns what is due though its time lies far ahead: see `Delivery.due`; none as a rule."""
        after = later(text(self.now()), seconds=LONGEST_WAIT_S)
        return self._deliveries({"operator": operator}, "due_at", EVER, limit, after=after)

    def undelivered(self, *, after: str = "", limit: int) -> list[Delivery]:
        """Returns what the wallets still owe an answer to, behind a delivery's place, the oldest first.

        Raises Malformed for a place that is none.
        """
        since, behind = _place(after) if after else ("", ())
        return self._deliveries({}, "undelivered_since", EVER, limit, after=since, behind=behind)

    def open_rounds(self, operator: str, *, upto: str = EVER, limit: int) -> list[OpenRound]:
        """Returns rounds without an outcome whose oldest bet was accepted by then, the oldest first."""
        where = Where(equals={"operator": operator}, column="open_since", upto=upto, limit=limit)
        return [
            OpenRound(row[0], row[1], row[2], row[10]) for row in self.store.where("rounds", where)
        ]

    def forsaken(self) -> list[str]:
        """Returns the operators that are not configured, though calls are owed to them or rounds are open; sorted."""
        gone = [
            login for login in self.store.first_parts("rounds") if login not in self.house.operators
        ]
        return [login for login in gone if self._is_owed(login) or self.open_rounds(login, limit=1)]

    def _is_owed(self, operator: str) -> bool:
        return bool(self._deliveries({"operator": operator}, "undelivered_since", EVER, 1))

    def sweep(self) -> Sweep:
        """Returns whether bets are refunded by their age."""
        return Sweep(*(self.store.row("sweep", ("retention",)) or ()))

    def _deliveries(
        self,
        equals: dict[str, str],
        column: str,
        upto: str,
        limit: int,
        *,
        after: str = "",
        behind: Key = (),
    ) -> list[Delivery]:
        where = Where(
            equals=equals, column=column, after=after, behind=behind, upto=upto, limit=limit
        )
        return [Delivery(*row) for row in self.store.where("deliveries", where)]

    # the writer's side

    def _decide(
        self, batch: Batch[Round], command: commands.Command
    ) -> Outcome | Refusal | Unsettled:
        try:
            return self._decisions[type(command)](batch, command)
        except (Refusal, Unsettled) as denial:
            return denial

    def _place_bet(self, batch: Batch[Round], bet: commands.PlaceBet) -> Outcome:
        operator = self.house.operator(bet.operator)
        known = _owner(batch, bet.operator, "bet", bet.reference)
        if known:
            round.repeat_bet(batch.state(known), bet)
            return _unchanged(batch, known)
        stream = name("round", bet.operator, bet.round)
        state = batch.state(stream)
        scale = state.scale if state.version else self.house.scale(bet.currency)
        if scale is None:
            raise WrongCurrency("is neither in ISO 4217 nor in [currencies]", field="currency")
        return _recorded(
            batch, stream, round.place_bet(state, bet, operator, scale=scale, at=batch.at)
        )

    def _report_result(self, batch: Batch[Round], result: commands.ReportResult) -> Outcome:
        operator = self.house.operator(result.operator)
        known = _owner(batch, result.operator, "result", result.reference)
        if known:
            round.repeat_result(batch.state(known), result)
            return _unchanged(batch, known)
        stream = name("round", result.operator, result.round)
        made = round.report_result(batch.state(stream), result, operator, at=batch.at)
        return _recorded(batch, stream, made)

    def _in_round(
        self,
        decide: Callable[..., list[Event]],
        batch: Batch[Round],
        command: commands.RoundCommand,
    ) -> Outcome:
        """Returns what a command came to of which its round alone decides."""
        operator = self.house.operator(command.operator)
        stream = name("round", command.operator, command.round)
        made = decide(batch.state(stream), command, operator, at=batch.at)
        return _recorded(batch, stream, made)

    def _cancel_rounds(self, batch: Batch[Round], cancel: commands.CancelRounds) -> Outcome:
        self.house.operator(cancel.operator)
        named = {
            "operator": cancel.operator,
            "user": cancel.user,
            "game": cancel.game,
            "status": "InProgress",
        }
        # an end, though far away, would have SQLite look through every player's rounds
        where = Where(equals=named, column="opened_at", upto=None, limit=MOST_ROUNDS_AT_ONCE)
        rounds = [
            round_id
            for _, round_id, *_ in batch.where("rounds", where)
            if batch.state(name("round", cancel.operator, round_id)).status == "InProgress"
        ]
        for round_id in rounds:
            one = commands.CancelRound(operator=cancel.operator, round=round_id, by=cancel.by)
            self._in_round(round.cancel_round, batch, one)
        return Outcome(rounds=rounds, recorded=bool(rounds))

    # sends

    def _start_send(self, batch: Batch[Round], start: commands.StartSend) -> Outcome:
        operator = self.house.operator(start.operator)
        found = _delivery(batch, start)
        if not found.due(batch.at):
            return Outcome()
        stream = name("round", found.operator, found.round)
        if found.exhausted(operator.most_sends(found.kind)):  # its last sender died
            done = _recorded(batch, stream, self._exhausted(batch, found, stream))
            return replace(done, state=_delivery(batch, start).state)
        attempt = found.attempts + 1
        started = events.SendStarted(
            recorded_at=batch.at,
            **found.named,
            attempt=attempt,
            worker=start.worker,
            until=later(batch.at, seconds=start.lease_s),
        )
        batch.record(_stream_of(found), started)
        call = batch.event(stream, found.intent).call
        currency = batch.state(stream).currency
        return Outcome(send=Send(call, attempt, found.sends + 1, currency), recorded=True)

    def _end_send(self, batch: Batch[Round], end: commands.EndSend) -> Outcome:
        operator = self.house.operator(end.operator)
        found = _delivery(batch, end)
        stream = name("round", found.operator, found.round)
        verdict = judge(found, end, most_sends=operator.most_sends(found.kind))
        if verdict == "old":
            is_last = end.attempt == found.attempts
            return Outcome(round=batch.state(stream), state=found.state if is_last else None)
        batch.record(_stream_of(found), _ended(found, end, verdict, at=batch.at))
        state = batch.state(stream)
        answer: dict[str, Any] = {"code": end.code or 0, "detail": end.detail}
        made: Sequence[Event] = ()
        match verdict:
            case "confirmed":
                made = round.confirm(
                    state,
                    found.kind,
                    found.reference,
                    operator,
                    transaction_id=end.transaction_id,
                    at=batch.at,
                )
            case "declined":
                made = round.decline_bet(state, found.reference, operator, **answer, at=batch.at)
            case "refused":
                made = [events.DeliveryRefused(**_named(found, batch.at), **answer)]
            case "exhausted":
                made = self._exhausted(batch, found, stream)
        _recorded(batch, stream, made)
        return Outcome(round=batch.state(stream), recorded=True, state=_delivery(batch, end).state)

    def _exhausted(self, batch: Batch[Round], found: Delivery, stream: str) -> list[Event]:
        """A bet is given up and cancelled; anything else is parked, and tried for ever."""
        if found.kind != "bet":
            return [events.DeliveryParked(**_named(found, batch.at))]
        operator = self.house.operator(found.operator)
        return round.give_bet_up(batch.state(stream), found.reference, operator, at=batch.at)

    def _retry_delivery(self, batch: Batch[Round], retry: commands.RetryDelivery) -> Outcome:
        found = _delivery(batch, retry)
        self.house.operator(retry.operator)  # what nobody sends is not to seem due
        stream = name("round", found.operator, found.round)
        if found.closed or found.under_way(batch.at):
            return _unchanged(batch, stream)
        return _recorded(batch, stream, [events.DeliveryRetried(**_named(found, batch.at))])

    # the sweep

    def _note_sweep(self, batch: Batch[Round], _: commands.NoteSweep) -> Outcome:
        batch.record("sweep", events.SweepMade(recorded_at=batch.at))
        return Outcome(recorded=True)

    def _stop_sweep(self, batch: Batch[Round], stop: commands.StopSweep) -> Outcome:
        row = batch.row("sweep", ("retention",))
        if row and row[0]:
            return Outcome()
        stopped = events.SweepStopped(recorded_at=batch.at, reason=stop.reason)
        batch.record("sweep", stopped)
        return Outcome(recorded=True)

    def _confirm_sweep(self, batch: Batch[Round], confirm: commands.ConfirmSweep) -> Outcome:
        confirmed = events.SweepConfirmed(recorded_at=batch.at, upto=confirm.upto)
        batch.record("sweep", confirmed)
        return Outcome(recorded=True)


def _foreseen(batch_of: Sequence[commands.Command]) -> Asked:
    """Returns what the frequent commands will ask for; the rest is read as met."""
    streams: set[str] = set()
    deliveries: set[Key] = set()
    for command in batch_of:
        match command:
            case commands.PlaceBet():
                deliveries.add((command.operator, "bet", command.reference))
            case commands.ReportResult():
                deliveries.add((command.operator, "result", command.reference))
            case commands.StartSend() | commands.EndSend():
                deliveries.add((command.operator, command.kind, command.reference))
        if isinstance(command, commands.RoundCommand):
            streams.add(name("round", command.operator, command.round))
    return streams, {"deliveries": deliveries}


def _expected(batch_of: Sequence[commands.Command]) -> Asked:
    """Returns what of that is there as a rule: all but what new bets and results bring."""
    known = [c for c in batch_of if not isinstance(c, commands.PlaceBet)]
    rounds = [c for c in known if isinstance(c, commands.RoundCommand)]
    sends = [c for c in known if isinstance(c, commands.StartSend | commands.EndSend)]
    deliveries = [(c.operator, c.kind, c.reference) for c in sends]
    return [name("round", c.operator, c.round) for c in rounds], {"deliveries": deliveries}


def _owner(batch: Batch[Round], operator: str, kind: events.Kind, reference: str) -> str | None:
    """Returns the stream of the round that has this reference."""
    row = batch.row("deliveries", (operator, kind, reference))
    return name("round", operator, row[0]) if row else None


def _delivery(batch: Batch[Round], command: commands.DeliveryCommand) -> Delivery:
    key = (command.operator, command.kind, command.reference)
    row = batch.row("deliveries", key)
    if row is None:
        raise Malformed("no such delivery", field="reference")
    return Delivery(*key, *row)


def _place(said: str) -> tuple[str, Key]:
    """Returns what a delivery's place is made of. Raises Malformed."""
    since, *key = parts(said)
    with suppress(ValueError):
        if len(key) == 3 and said.isprintable():
            return checked(since), tuple(key)
    raise Malformed("must be the place that an earlier page told", field="after")


def _stream_of(delivery: Delivery) -> str:
    return name("delivery", delivery.operator, delivery.kind, delivery.reference)


def _named(found: Delivery, at: str) -> dict[str, Any]:
    """Returns what every event of a delivery says: when, and which delivery's."""
    return {"recorded_at": at, "round": found.round, **found.named}


def _recorded(batch: Batch[Round], stream: str, made: Sequence[Event]) -> Outcome:
    for event in made:
        batch.record(stream, event)
    return Outcome(round=batch.state(stream), recorded=bool(made))


def _unchanged(batch: Batch[Round], stream: str) -> Outcome:
    return Outcome(round=batch.state(stream))


def _ended(
    found: Delivery, end: commands.EndSend, verdict: Verdict, *, at: str
) -> events.SendEnded:
    wait_s = {
        "again": end.wait_s if found.state == "waiting" else end.parked_wait_s,
        "exhausted": end.parked_wait_s,
    }.get(verdict)
    return events.SendEnded(
        recorded_at=at,
        **found.named,
        attempt=end.attempt,
        outcome=end.outcome,
        code=end.code,
        detail=end.detail,
        took_ms=end.took_ms,
        again_at=None if wait_s is None else later(at, seconds=wait_s),
    )
