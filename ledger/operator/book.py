"""The operator's book: a command in, an outcome out, durable before it is answered."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar, get_args

import msgspec

from ledger.batch import Batch
from ledger.committer import Committer
from ledger.mapper import Mapper
from ledger.moments import utc_now
from ledger.money import MOST_SUM
from ledger.names import name
from ledger.operator import commands, events, round, wallet
from ledger.operator.house import House
from ledger.operator.round import Decided, Round, Terms
from ledger.operator.wallet import Wallet
from ledger.projection import Row
from ledger.refusals import (
    Final,
    NotTogether,
    PlayerFrozen,
    PlayerNotFound,
    Refusal,
    SessionInvalid,
    WrongCurrency,
)
from ledger.store import Asked, Store
from ledger.writer import Latch, Writer

MAPPER = Mapper(events.TYPES)

MOST_LISTED = 1000
"""What other callers wait for, some 50 ms."""

Place = tuple[str, Decided]
"""The stream to append to, and what was decided."""


class Outcome(msgspec.Struct, frozen=True):
    """What a command came to. `cash` is the wallet's as of its commit, in minor units."""

    transaction_id: str
    currency: str
    cash: int
    scale: int
    recorded: bool
    """False where the reference was known: nothing was recorded again."""


class Reading:
    """What may be asked of an operator's book; its store may be a copy, which is a moment behind."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def wallet(self, user: str, currency: str) -> Wallet:
        """Returns a wallet as it is now. Raises PlayerNotFound, WrongCurrency."""
        row = self.store.row("wallets", (user, currency))
        if row is None:
            raise _no_wallet(currency, known=bool(self.wallets(user)))
        return Wallet(user, currency, *row)

    def wallets(self, user: str) -> list[Wallet]:
        """Returns a player's wallets, sorted by currency."""
        return [Wallet(*row) for row in self.store.rows("wallets", (user,))]

    def round(self, provider: str, round_id: str, *, at: int | None = None) -> Round | None:
        """Returns a round as it is now, or as of its `at`-th event; None where it has none, or not so many."""
        state = Round()
        for topic, body in self.store.stream(name("round", provider, round_id), upto=at):
            state = round.evolve(state, MAPPER.decode(topic, body))
        return state if state.version >= (at or 1) else None


class Book(Reading):
    """One operator's book on one store; safe to call from many threads."""

    def __init__(
        self,
        store: Store,
        house: House | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
        latch: Callable[[], Latch] | None = None,
        on_defect: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        super().__init__(store)
        self.house = house or House()
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
        self._decisions: dict[type, Callable[..., Place]] = {
            commands.PlaceBet: self._place_bet,
            commands.RecordResult: self._record_result,
            commands.ReverseBet: self._reverse_bet,
            commands.CancelRound: self._cancel_round,
            commands.EndRound: self._end_round,
            commands.PayPromo: self._pay_promo,
            commands.ExpireSession: self._expire_session,
            commands.OpenWallet: self._open_wallet,
            commands.Deposit: self._deposit,
            commands.Withdraw: self._withdraw,
            commands.Freeze: self._freeze,
            commands.Unfreeze: self._unfreeze,
        }

    def submit(self, command: commands.Command) -> Outcome:
        """Decides a command and returns what it came to, once that is durable.

        Raises a Refusal when the rules deny it, a Breakdown when we failed.
        """
        return self._writer.submit(command)

    def submit_many(self, listed: Sequence[commands.Command]) -> Sequence[Outcome | Exception]:
        """Decides commands in their order and returns what each came to, once all are durable.

        Each has its own outcome: a refusal or a breakdown stands where it came, and the rest goes on.
        At most MOST_LISTED at once. Raises a Breakdown where none was decided, or it is unknown.
        """
        if len(listed) > MOST_LISTED:
            raise ValueError(f"more than {MOST_LISTED} commands at once")
        return self._writer.submit_many(listed)

    @property
    def position(self) -> int:
        """How far the book went at the last commit of ours: every command that was answered is in it."""
        return self._commit.position

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

    def check(self, provider: str, user: str, currency: str, session: str) -> None:
        """Raises what a bet of this player in this session would be refused with."""
        found = self.wallet(user, currency)
        if self.store.row("reference_index", (provider, "session", session)):
            raise SessionInvalid("this session has expired", field="sessionId")
        if found.frozen:
            raise PlayerFrozen("this wallet is frozen", field="userId")

    # the writer's side

    def _decide(self, batch: Batch[Round], command: commands.Command) -> Outcome | Refusal:
        try:
            stream, decided = self._decisions[type(command)](batch, command)
        except Refusal as refusal:
            return refusal
        for event in decided.events:
            if isinstance(event, events.WalletEvent):
                _assert_follows(batch.row("wallets", (event.user, event.currency)), event)
            batch.record(stream, event)
        if decided.refusal:
            return decided.refusal
        return self._outcome(batch, command, decided)

    def _outcome(self, batch: Batch[Round], command: commands.Command, decided: Decided) -> Outcome:
        currency = getattr(command, "currency", "")
        row = batch.row("wallets", (command.user, currency))
        cash, scale = (row[0], row[1]) if row else (0, self.house.scale(currency) or 0)
        return Outcome(decided.transaction_id, currency, cash, scale, bool(decided.events))

    # bets and results

    def _place_bet(self, batch: Batch[Round], bet: commands.PlaceBet) -> Place:
        stream = name("round", bet.provider, bet.round)
        known = _stream_of(batch, bet.provider, "bet", bet.reference)
        if known is None:
            purse = _wallet(batch, bet.user, bet.currency)
            terms = self._terms(batch, bet)
            return stream, round.place_bet(batch.state(stream), purse, bet, terms, batch.at)
        owner = batch.state(known)
        tombstone = owner.tombstones.get(bet.reference)
        if tombstone:
            opens = batch.row("wallets", (bet.user, bet.currency)) is not None
            state = batch.state(stream)
            return stream, round.late_bet(state, tombstone, bet, batch.at, opens=opens)
        return known, round.repeat_bet(owner, _owner(batch, owner), bet)

    def _record_result(self, batch: Batch[Round], result: commands.RecordResult) -> Place:
        known = _stream_of(batch, result.provider, result.kind, result.reference)
        if known:
            owner = batch.state(known)
            return known, round.repeat_result(owner, _owner(batch, owner), result)
        purse = _wallet(batch, result.user, result.currency)
        stream = name("round", result.provider, result.round)
        state = batch.state(stream)
        if not state.version and _buried(batch, result):
            raise Final("the bet of this reference was cancelled", field="reference")
        return stream, round.record_result(state, purse, result, batch.at)

    def _end_round(self, batch: Batch[Round], end: commands.EndRound) -> Place:
        stream = name("round", end.provider, end.round)
        return stream, round.end_round(batch.state(stream), end, batch.at)

    def _pay_promo(self, batch: Batch[Round], promo: commands.PayPromo) -> Place:
        stream = name("promo", promo.provider, promo.reference)
        return stream, _once(batch, promo.provider, "promo", promo, wallet.pay_promo)

    def _expire_session(self, batch: Batch[Round], expiry: commands.ExpireSession) -> Place:
        stream = name("session", expiry.provider, expiry.session)
        if not batch.any_row("wallets", (expiry.user,)):
            raise PlayerNotFound("no such player", field="userId")
        first = _first(batch, expiry.provider, "session", expiry.session)
        if first and first.user != expiry.user:
            raise NotTogether("the session belongs to another player", field="sessionId")
        if first:
            return stream, Decided([])
        return stream, Decided([wallet.expire_session(expiry, batch.at)])

    # reversals

    def _reverse_bet(self, batch: Batch[Round], call: commands.ReverseBet) -> Place:
        known = _stream_of(batch, call.provider, "bet", call.reference)
        state = batch.state(known) if known else Round()
        if known and call.reference in state.bets:
            return known, round.reverse_bet(
                state,
                _owner(batch, state),
                call,
                batch.at,
                allow_completed=self.house.allow_cancel_completed,
            )
        if call.whole_round and known is None:
            return self._refund_round(batch, call)
        return _tombstone(batch, call, known)

    def _refund_round(self, batch: Batch[Round], call: commands.ReverseBet) -> Place:
        """Reverses the open bets of the round that is named with a reference nobody has heard of."""
        place, tombstone = _tombstone(batch, call, None)
        stream = name("round", call.provider, call.round or "")
        state = batch.state(stream)
        if not state.open_bets:
            return place, tombstone
        reversed_ = self._whole_round(batch, state, call)
        return stream, Decided([*reversed_.events, *tombstone.events], tombstone.transaction_id)

    def _cancel_round(self, batch: Batch[Round], call: commands.CancelRound) -> Place:
        known = _owned(batch, call)
        state = batch.state(known) if known else Round()
        if known is None or not state.opened_at or _is_repeat(state, call):
            return _tombstone(batch, call, known)
        cancelled = self._whole_round(batch, state, call)
        if call.reference not in state.refused:
            return known, cancelled
        tombstone = round.record_tombstone(state, call, batch.at)
        return known, Decided([*cancelled.events, *tombstone.events], tombstone.transaction_id)

    def _whole_round(self, batch: Batch[Round], state: Round, call: commands.ReverseBet) -> Decided:
        return round.reverse_round(
            state,
            _owner(batch, state) if state.bets else None,
            call,
            batch.at,
            allow_completed=self.house.allow_cancel_completed,
        )

    # the back office

    def _open_wallet(self, batch: Batch[Round], command: commands.OpenWallet) -> Place:
        stream = name("wallet", command.user, command.currency)
        if batch.row("wallets", (command.user, command.currency)):
            return stream, Decided([])
        scale = self.house.scale(command.currency)
        if scale is None:
            raise WrongCurrency("is neither in ISO 4217 nor in [currencies]", field="currency")
        return stream, Decided([wallet.open_wallet(command, scale=scale, at=batch.at)])

    def _deposit(self, batch: Batch[Round], command: commands.Deposit) -> Place:
        stream = name("wallet", command.user, command.currency)
        return stream, _once(batch, events.CASHIER, "deposit", command, wallet.deposit)

    def _withdraw(self, batch: Batch[Round], command: commands.Withdraw) -> Place:
        stream = name("wallet", command.user, command.currency)
        return stream, _once(batch, events.CASHIER, "withdrawal", command, wallet.withdraw)

    def _freeze(self, batch: Batch[Round], command: commands.Freeze) -> Place:
        purse = _wallet(batch, command.user, command.currency)
        return name("wallet", purse.user, purse.currency), Decided(wallet.freeze(purse, batch.at))

    def _unfreeze(self, batch: Batch[Round], command: commands.Unfreeze) -> Place:
        purse = _wallet(batch, command.user, command.currency)
        return name("wallet", purse.user, purse.currency), Decided(wallet.unfreeze(purse, batch.at))

    # what a decision needs to know

    def _terms(self, batch: Batch[Round], bet: commands.PlaceBet) -> Terms:
        return Terms(
            bets_allowed=bet.provider not in self.house.bets_stopped,
            game_enabled=self.house.plays(bet.provider, bet.game),
            session_expired=bool(
                batch.row("reference_index", (bet.provider, "session", bet.session))
            ),
        )


def _foreseen(batch_of: Sequence[commands.Command]) -> Asked:
    """Returns the streams and rows that the frequent commands will ask for; the rest is read as met."""
    streams: set[str] = set()
    references: set[tuple[str, ...]] = set()
    wallets: set[tuple[str, ...]] = set()
    rounds: set[tuple[str, ...]] = set()
    for command in batch_of:
        if isinstance(command, commands.PlaceBet):
            references.add((command.provider, "bet", command.reference))
            references.add((command.provider, "session", command.session))
        elif isinstance(command, commands.RecordResult):
            references.add((command.provider, command.kind, command.reference))
        else:
            continue
        streams.add(name("round", command.provider, command.round))
        wallets.add((command.user, command.currency))
        rounds.add((command.provider, command.round))
    return streams, {"reference_index": references, "wallets": wallets, "rounds": rounds}


def _expected(batch_of: Sequence[commands.Command]) -> Asked:
    """Returns what is there as a rule: the wallets, and the rounds that results are of."""
    played = [c for c in batch_of if isinstance(c, (commands.PlaceBet, commands.RecordResult))]
    rounds = [(c.provider, c.round) for c in played if isinstance(c, commands.RecordResult)]
    wallets = {(c.user, c.currency) for c in played}
    return [name("round", *key) for key in rounds], {"wallets": wallets, "rounds": rounds}


def _assert_follows(row: Row | None, event: events.WalletEvent) -> None:
    """What must hold before an append: the event goes on where its wallet stands, and adds up."""
    cash, _, _, version = row or (0, 0, 0, 0)
    assert event.wallet_version == version + 1
    if isinstance(event, events.MoneyMoved):
        assert event.cash_before == cash
        assert 0 <= event.cash_after == cash + events.moved(event) <= MOST_SUM


def _wallet(batch: Batch[Round], user: str, currency: str) -> Wallet:
    row = batch.row("wallets", (user, currency))
    if row is None:
        raise _no_wallet(currency, known=batch.any_row("wallets", (user,)))
    return Wallet(user, currency, *row)


def _no_wallet(currency: str, *, known: bool) -> Refusal:
    if known:
        return WrongCurrency(f"the player has no wallet in {currency}", field="currency")
    return PlayerNotFound("no such player", field="userId")


def _stream_of(batch: Batch[Round], provider: str, kind: str, reference: str) -> str | None:
    row = batch.row("reference_index", (provider, kind, reference))
    return row[0] if row else None


def _owned(batch: Batch[Round], call: commands.CancelRound) -> str | None:
    """Returns the stream of the round that owns a reference, be it a bet's or a result's."""
    for kind in ("bet", *get_args(events.ResultKind)):
        stream = _stream_of(batch, call.provider, kind, call.reference)
        if stream:
            return stream
    return None


def _tombstone(batch: Batch[Round], call: commands.ReverseBet, known: str | None) -> Place:
    """Puts a tombstone where its reference is known, else in the round it names, else alone.

    A player without this wallet opens no round.
    """
    if known is None and call.round:
        stream = name("round", call.provider, call.round)
        state = batch.state(stream)
        if state.version or batch.row("wallets", (call.user, call.currency)):
            return stream, round.record_tombstone(state, call, batch.at, opens=call.round)
    stream = known or name("tombstone", call.provider, call.reference)
    return stream, round.record_tombstone(batch.state(stream), call, batch.at)


def _is_repeat(state: Round, call: commands.CancelRound) -> bool:
    """Returns whether such a call put the reference's tombstone: again, it moves nothing."""
    first = state.tombstones.get(call.reference)
    return first is not None and first.by == call.by


def _first(batch: Batch[Round], provider: str, kind: str, reference: str) -> Any:
    row = batch.row("reference_index", (provider, kind, reference))
    return batch.event(row[0], row[1]) if row else None


C = TypeVar("C", commands.PayPromo, commands.Deposit, commands.Withdraw)


def _once(
    batch: Batch[Round],
    by: str,
    kind: str,
    command: C,
    decide: Callable[[Wallet, C, str], events.MoneyMoved],
) -> Decided:
    """Decides what moves money outside any round; a known reference answers its first transaction."""
    first = _first(batch, by, kind, command.reference)
    if first:
        return Decided([], wallet.repeat(command, first))
    made = decide(_wallet(batch, command.user, command.currency), command, batch.at)
    return Decided([made], made.transaction_id)


def _owner(batch: Batch[Round], state: Round) -> Wallet:
    """Returns the wallet a round's money came from: it is there, or no money could have moved."""
    row = batch.row("wallets", (state.user, state.currency))
    assert row is not None
    return Wallet(state.user, state.currency, *row)


def _buried(batch: Batch[Round], result: commands.RecordResult) -> bool:
    stream = _stream_of(batch, result.provider, "bet", result.reference)
    return stream is not None and result.reference in batch.state(stream).tombstones
