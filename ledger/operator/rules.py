"""What must hold of an operator's book: checked event by event, in little room, with none of the book's code.

Money is followed twice: by the cash that events say a wallet held, and by the amounts they moved.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec

from ledger.money import MOST_MINOR_UNITS, MOST_SCALE, MOST_SUM
from ledger.names import name, transaction_id
from ledger.operator import events
from ledger.projection import Row
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

PARTS = 16
"""So many lists share the references' digests, so that each is small enough to be searched."""

_KEY = itemgetter(0, 1, 2)

ENDED, CANCELLED, DECIDED, FOUND = 1, 2, 4, 8
"""What became of a round; `FOUND`: a CancelRound finds it without a bet, by a tombstone's reference."""
OVER = ENDED | CANCELLED


@dataclass(slots=True)
class _Purse:
    """A player's money in one currency; `version` 0 until a wallet was opened.

    `brought`: what came in from outside rounds, less what went out, by the amounts alone.
    """

    user: str
    currency: str
    number: int
    cash: int = 0
    scale: int | None = None
    frozen: bool = False
    version: int = 0
    stream_version: int = 0
    brought: int = 0


class _Round(msgspec.Struct, array_like=True, gc=False):
    """A round. References stand as digests; `opened` is the digest of what never changes in its row."""

    version: int
    purse: int
    opened: int
    game: int
    over: int = 0
    staked: int = 0
    won: int = 0
    reversed: int = 0
    stakes: dict[int, int] = {}
    """Of the open bets, by reference, in the order they were placed."""
    rest: tuple[str, dict[int, int]] | None = None
    """By what call a whole round goes back, and the stakes that have to follow the one before."""
    returned: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    late: tuple[int, ...] = ()


class _Saved(msgspec.Struct, array_like=True):
    purses: list[_Purse] = []
    rounds: dict[int, bytes] = {}
    taken: list[bytes] = msgspec.field(default_factory=lambda: [b""] * PARTS)
    references: Total = msgspec.field(default_factory=Total)
    games: list[str] = []
    tombstones: set[tuple[str, str, str]] = set()
    """Provider, reference and player."""
    expired: set[int] = set()
    providers: list[str] = []


class OperatorRules:
    """Everything that must hold of an operator's book."""

    def __init__(
        self,
        digest: Digest,
        saved: bytes = b"",
        watched: frozenset[int] = frozenset(),
        *,
        bodies: bool = False,
    ) -> None:
        """`watched`: references that must be taken once, told at once where they are not.

        `bodies`: ids are looked at, and those of transactions derived again, which takes long.
        """
        self._digest = digest
        self._text, self._key = digest.text, digest.key
        self.checks: Mapping[str, Check] = {
            "RoundOpened": self._round_opened,
            "BetPlaced": self._bet_placed,
            "BetRefused": self._bet_refused,
            "LateBetRefused": self._late_bet_refused,
            "ResultRecorded": self._result_recorded,
            "BetCancelled": self._bet_reversed,
            "BetRefunded": self._bet_reversed,
            "RoundEnded": self._round_ended,
            "RoundCancelled": self._round_cancelled,
            "TombstoneRecorded": self._tombstone_recorded,
            "PromoPaid": self._promo_paid,
            "SessionExpired": self._session_expired,
            "WalletOpened": self._wallet_opened,
            "DepositMade": self._deposit_made,
            "WithdrawalMade": self._withdrawal_made,
            "WalletFrozen": self._wallet_frozen,
            "WalletUnfrozen": self._wallet_unfrozen,
        }
        if bodies:
            self.checks = {topic: partial(_named, check) for topic, check in self.checks.items()}
        was = msgspec.msgpack.decode(saved, type=_Saved) if saved else _Saved()
        self._purses = was.purses
        self._numbers = {(purse.user, purse.currency): purse.number for purse in was.purses}
        self._players = {purse.user for purse in was.purses if purse.version}
        self._rounds = States(_Round, digest.text, was.rounds)
        self._games = {game: number for number, game in enumerate(was.games)}
        self._tombstones, self._expired = was.tombstones, was.expired
        self._providers = {provider.casefold(): provider for provider in was.providers}
        self._references = was.references
        self._taken = [array("q", part) for part in was.taken]
        self._watched = watched
        self._met = {taken for part in self._taken for taken in part if taken in watched}
        self._of_late: list[Row] = []
        self._take = self._take_watched if watched else self._of_late.append

    # rounds

    def _round_opened(self, stream: str, version: int, event: events.RoundOpened) -> str:
        if version != 1 or stream in self._rounds:
            known = self._rounds.get(stream)
            follow(version, known.version if known else 0, stream)
            raise Violation("opens a round that is open")
        provider, round_, user, currency = event.provider, event.round, event.user, event.currency
        if stream != f"round/{provider}/{round_}" or "%" in stream or stream.count("/") != 2:
            hold(stream == name("round", provider, round_), "is of another round")
        self._meet(provider)
        opened = self._key((provider, round_, user, currency, event.recorded_at))
        number = self._numbers.get((user, currency))
        if number is None:
            number = self._purse(user, currency).number
        game = self._games.setdefault(event.game, len(self._games))
        self._rounds.used[stream] = _Round(1, number, opened, game)
        return stream

    def _meet(self, provider: str) -> None:
        """Checks that a provider is spelt as before: in another letter case it could take a reference again."""
        known = self._providers.setdefault(provider.casefold(), provider)
        if known != provider:
            raise Violation(f"spells the provider {known} as {provider}")

    def _in_round(self, stream: str, version: int, event: Any) -> _Round:
        """Returns the state of the round whose next event it is; the event must name its player."""
        state = self._rounds.used.get(stream) or self._rounds.get(stream)
        if state is None:
            raise Missing(f"version 1 of {stream} is missing: {version} comes first")
        if version != state.version + 1:
            follow(version, state.version, stream)
        if stream != f"round/{event.provider}/{event.round}" or "%" in stream:
            hold(stream == name("round", event.provider, event.round), "is of another round")
        purse = self._purses[state.purse]
        if event.user != purse.user or event.currency != purse.currency:
            late = event.user == purse.user and isinstance(event, events.LateBetRefused)
            hold(late, "names another player or currency than its round")
        state.version = version
        return state

    def _beside(self, stream: str, version: int, event: Any) -> _Round:
        """Returns the same, of an event that moves no money: all bets of a round go back before it."""
        state = self._in_round(stream, version, event)
        gone = state.returned and not state.stakes and not state.over & CANCELLED
        hold(not gone, "comes before its round is cancelled, whose bets are reversed")
        if state.over & CANCELLED and not (state.returned or state.over & FOUND):
            buried = isinstance(event, events.TombstoneRecorded) and event.by == "cancel-round"
            asked = buried and self._text(event.reference) in state.refused
            hold(asked, "comes before the tombstone of the refused bet its round was cancelled by")
        return state

    def _bet_placed(self, stream: str, version: int, event: events.BetPlaced) -> None:
        state = self._in_round(stream, version, event)
        purse = self._purses[state.purse]
        if self._games.get(event.game) != state.game:
            raise Violation("is of another game than its round")
        if self._expired:
            self._in_session(event)
        if state.over & OVER:
            raise Violation("places a bet in a round that is over")
        if purse.frozen:
            raise Violation("takes a bet from a frozen wallet")
        if state.returned and not state.stakes:
            raise Violation("places a bet in a round whose every bet is reversed")
        stake, reference = event.amount, event.reference
        self._move(purse, event, -stake)
        bet = self._text(reference)
        if bet in state.stakes or (state.returned and bet in state.returned):
            raise Violation("places a bet again")
        state.stakes[bet] = stake
        state.staked = staked = state.staked + stake
        if staked > MOST_SUM:
            raise Violation("stakes more in a round than a book can hold")
        self._take((event.provider, "bet", reference, stream, version, event.transaction_id))

    def _bet_refused(self, stream: str, version: int, event: events.BetRefused) -> None:
        state = self._beside(stream, version, event)
        purse = self._purses[state.purse]
        hold(purse.version, "refuses a bet for the cash of a wallet that is not open")
        hold(not purse.frozen, "refuses a bet for the cash of a frozen wallet")
        self._in_session(event)
        hold(not state.over & OVER, "refuses a bet for its cash in a round that is over")
        hold(event.cash == purse.cash, f"quotes {event.cash}; the wallet held {purse.cash}")
        hold(event.amount > event.cash, "refuses a bet though there was cash enough")
        most = min(MOST_MINOR_UNITS, MOST_SUM - state.staked)
        hold(event.amount <= most, f"refuses a stake of {event.amount}")
        state.refused += (self._text(event.reference),)
        self._take((event.provider, "bet", event.reference, stream, version, ""))

    def _late_bet_refused(self, stream: str, version: int, event: events.LateBetRefused) -> None:
        state = self._beside(stream, version, event)
        buried = (event.provider, event.reference, event.user) in self._tombstones
        hold(buried, "refuses a bet as late without a tombstone of its player")
        purse, joins = self._purses[state.purse], version > 2
        hold(joins or event.currency == purse.currency, "is in another currency than it opened")
        hold(joins or purse.version, "opens a round of a player without this wallet")
        late = self._text(event.reference)
        hold(late not in state.late, "refuses a late bet again")
        state.late += (late,)

    def _in_session(self, event: events.BetPlaced | events.BetRefused) -> None:
        over = self._key((event.provider, event.said.session)) in self._expired
        hold(not over, "takes a bet in a session that has expired")

    def _result_recorded(self, stream: str, version: int, event: events.ResultRecorded) -> None:
        state = self._in_round(stream, version, event)
        if not state.stakes:
            raise Violation("records a result in a round without an open bet")
        self._move(self._purses[state.purse], event, event.amount)
        state.over |= DECIDED
        state.won = won = state.won + event.amount
        if won > MOST_SUM:
            raise Violation("wins more in a round than a book can hold")
        row = (event.provider, event.kind, event.reference, stream, version, event.transaction_id)
        self._take(row)

    def _bet_reversed(self, stream: str, version: int, event: events.BetReversed) -> str | None:
        state = self._in_round(stream, version, event)
        bet = self._text(event.reference)
        hold(bet not in state.returned, "reverses a bet that was reversed already")
        stakes = _open_bets(state, event, bet)
        stake = stakes.pop(bet)
        hold(event.amount == stake, f"gives {event.amount} back for a stake of {stake}")
        win = 0 if stakes else state.won
        hold(event.win == win, f"takes {event.win} of the win back, not {win}")
        by_refund = isinstance(event, events.BetRefunded)
        hold(by_refund == (event.by == "refund"), f"is no reversal by {event.by}")
        self._move(self._purses[state.purse], event, stake - win)
        state.returned += (bet,)
        state.reversed += stake
        state.won -= win
        if event.by == "cancel-round" or state.over & DECIDED:  # then all of them go back
            state.stakes, state.rest = {}, (event.by, stakes) if stakes else None
        return None if state.stakes else stream

    def _round_ended(self, stream: str, version: int, event: events.RoundEnded) -> None:
        state = self._beside(stream, version, event)
        hold(version > 2, "ends a round in which nothing happened")
        hold(not state.over & ENDED, "ends a round that has ended")
        state.over |= ENDED

    def _round_cancelled(
        self, stream: str, version: int, event: events.RoundCancelled
    ) -> str | None:
        state = self._in_round(stream, version, event)
        hold(not state.over & CANCELLED, "cancels a round that is cancelled")
        hold(not (state.stakes or state.rest), "cancels a round with an open bet")
        hold(not state.won, "cancels a round that has a win")
        found = state.returned or state.over & FOUND
        hold(found or state.refused, "cancels a round of which no reference is known")
        state.over |= CANCELLED
        return None if found else stream  # found by a refused bet, whose tombstone is next

    def _tombstone_recorded(
        self, stream: str, version: int, event: events.TombstoneRecorded
    ) -> None:
        provider, reference = event.provider, event.reference
        row = (provider, "bet", reference, stream, version, event.transaction_id)
        self._tombstones.add((provider, reference, event.user))
        if stream == name("tombstone", provider, reference):
            follow(version, 0, stream)
            self._meet(provider)
            known = event.round and (
                name("round", provider, event.round) in self._rounds or self._is_open(event)
            )
            hold(not known, "stands alone, though it names a round where it could stand")
            self._take(row)
            return
        hold(event.round, "is of another bet")
        state = self._beside(stream, version, event)
        hold(self._games.get(event.game) == state.game, "is of another game than its round")
        hold(version > 2 or self._is_open(event), "opens a round of a player without this wallet")
        bet, cancelled = self._text(reference), state.over & CANCELLED
        if bet in state.refused:  # it took the reference
            hold(cancelled or event.by != "cancel-round", "comes before its round is cancelled")
            state.refused = tuple(each for each in state.refused if each != bet)
        else:
            self._take(row)
        if cancelled or event.by != "cancel-round":
            state.over |= FOUND

    # wallets

    def _wallet_opened(self, stream: str, version: int, event: events.WalletOpened) -> None:
        hold(0 <= event.scale <= MOST_SCALE, f"opens a wallet with {event.scale} decimals")
        purse = self._next(event, self._purse(event.user, event.currency))
        hold(purse.version == 1, "opens a wallet that is open")
        purse.scale = event.scale
        self._players.add(event.user)
        self._in_wallet(stream, version, purse)

    def _deposit_made(self, stream: str, version: int, event: events.DepositMade) -> None:
        purse = self._purse(event.user, event.currency)
        self._in_wallet(stream, version, purse)
        self._bring(purse, event, event.amount)
        hold(event.amount, "pays nothing in")
        reference, transaction_id = event.reference, event.transaction_id
        self._take((events.CASHIER, "deposit", reference, stream, version, transaction_id))

    def _withdrawal_made(self, stream: str, version: int, event: events.WithdrawalMade) -> None:
        purse = self._purse(event.user, event.currency)
        self._in_wallet(stream, version, purse)
        self._bring(purse, event, -event.amount)
        hold(event.amount, "pays nothing out")
        reference, transaction_id = event.reference, event.transaction_id
        self._take((events.CASHIER, "withdrawal", reference, stream, version, transaction_id))

    def _wallet_frozen(self, stream: str, version: int, event: events.WalletFrozen) -> None:
        purse = self._next(event, self._purse(event.user, event.currency))
        self._in_wallet(stream, version, purse)
        hold(purse.scale is not None, "freezes a wallet that is not open")
        hold(not purse.frozen, "freezes a wallet that is frozen")
        purse.frozen = True

    def _wallet_unfrozen(self, stream: str, version: int, event: events.WalletUnfrozen) -> None:
        purse = self._next(event, self._purse(event.user, event.currency))
        self._in_wallet(stream, version, purse)
        hold(purse.frozen, "unfreezes a wallet that is not frozen")
        purse.frozen = False

    def _promo_paid(self, stream: str, version: int, event: events.PromoPaid) -> None:
        provider, reference = event.provider, event.reference
        hold(stream == name("promo", provider, reference), "is of another promotion")
        follow(version, 0, stream)
        self._meet(provider)
        self._bring(self._purse(event.user, event.currency), event, event.amount)
        self._take((provider, "promo", reference, stream, version, event.transaction_id))

    def _session_expired(self, stream: str, version: int, event: events.SessionExpired) -> None:
        provider, session = event.provider, event.session
        hold(stream == name("session", provider, session), "is of another session")
        follow(version, 0, stream)
        self._meet(provider)
        hold(event.user in self._players, "is of a player without a wallet")
        self._expired.add(self._key((provider, session)))
        self._take((provider, "session", session, stream, version, ""))

    def _purse(self, user: str, currency: str) -> _Purse:
        number = self._numbers.get((user, currency))
        if number is None:
            number = self._numbers[user, currency] = len(self._purses)
            self._purses.append(_Purse(user, currency, number))
        return self._purses[number]

    def _is_open(self, event: events.TombstoneRecorded) -> bool:
        number = self._numbers.get((event.user, event.currency))
        return number is not None and self._purses[number].version > 0

    def _in_wallet(self, stream: str, version: int, purse: _Purse) -> None:
        hold(stream == name("wallet", purse.user, purse.currency), "is of another wallet")
        follow(version, purse.stream_version, stream)
        purse.stream_version = version

    def _next(self, event: events.WalletEvent, purse: _Purse) -> _Purse:
        """Returns the purse, as of its next event."""
        version = purse.version + 1
        if event.wallet_version != version:
            of = f"the wallet {purse.user} {purse.currency}"
            follow(event.wallet_version, purse.version, of)
        if event.scale != purse.scale and purse.version:
            raise Violation(f"counts in {event.scale} decimals, its wallet in {purse.scale}")
        purse.version = version
        return purse

    def _move(self, purse: _Purse, event: events.MoneyMoved, change: int) -> None:
        """Moves money; the cash the event says of the wallet must be what earlier events left there."""
        version, before, after = purse.version + 1, purse.cash, purse.cash + change
        if event.wallet_version != version or event.scale != purse.scale:
            hold(purse.version, "moves money of a wallet that is not open")
            self._next(event, purse)
        if event.cash_before != before:
            raise Violation(f"finds {event.cash_before} in the wallet; it held {before}")
        if event.cash_after != after:
            raise Violation(f"leaves {event.cash_after} in the wallet; it is {after}")
        if not 0 <= after <= MOST_MINOR_UNITS:
            _hold_full(event, after)
        if not 0 <= event.amount <= MOST_MINOR_UNITS:
            raise Violation(f"moves {event.amount}")
        purse.version, purse.cash = version, after

    def _bring(self, purse: _Purse, event: events.MoneyMoved, change: int) -> None:
        self._move(purse, event, change)
        purse.brought += change

    # references: that nobody took one before is asked later, of all at once

    def _take_watched(self, row: Row) -> None:
        taken = self._key(row[:3])
        if taken in self._watched:
            hold(taken not in self._met, f"takes the {row[1]} reference {row[2]} again")
            self._met.add(taken)

    def taken_twice(self) -> frozenset[int]:
        twice: set[int] = set()
        for part in self._taken:
            if len(set(part)) < len(part):
                twice |= {taken for taken, times in Counter(part).items() if times > 1}
        return frozenset(twice)

    # at the end, and between

    def rest(self) -> None:
        self._rounds.rest()
        rows = self._of_late
        self._references.add([*self._digest.rows(rows)])
        append = [part.append for part in self._taken]
        for taken in map(self._key, map(_KEY, rows)):
            append[taken & (PARTS - 1)](taken)
        rows.clear()

    def finish(self) -> Mapping[str, Total]:
        self.rest()
        sums = [purse.brought for purse in self._purses]
        rounds = Total().over(self._digest.rows(self._round_rows(sums)))
        for purse, brought in zip(self._purses, sums, strict=True):
            of = f"the wallet {purse.user} {purse.currency}"
            hold(purse.cash == brought, f"{of} holds {purse.cash}; its postings sum to {brought}")
        wallets = self.total("wallets", (_wallet(purse) for purse in self._purses if purse.version))
        return {"wallets": wallets, "rounds": rounds, "reference_index": self._references}

    def _round_rows(self, sums: list[int]) -> Iterator[Row]:
        """Yields every round's row; what the rounds gave a purse goes to its sum."""
        for state in self._rounds.states():
            staked, won, reversed_ = state.staked, state.won, state.reversed
            sums[state.purse] += won + reversed_ - staked
            status = "Completed" if state.over & (ENDED | DECIDED) else "InProgress"
            if state.over & CANCELLED:
                status = "Cancelled"
            yield (state.opened, status, staked, won, reversed_)

    def total(self, table: str, rows: Iterable[Row]) -> Total:
        halved = self._halved(rows) if table == "rounds" else rows
        return Total().over(self._digest.rows(halved))

    def _halved(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yields rounds' rows, a digest for what never changes in them."""
        key = self._key
        for provider, round_, user, currency, status, staked, won, reversed_, opened_at in rows:
            opened = key((provider, round_, user, currency, opened_at))
            yield (opened, status, staked, won, reversed_)

    def saved(self) -> bytes:
        self.rest()
        return msgspec.msgpack.encode(
            _Saved(
                self._purses,
                self._rounds.packed(),
                [part.tobytes() for part in self._taken],
                self._references,
                [*self._games],
                self._tombstones,
                self._expired,
                [*self._providers.values()],
            )
        )


def _wallet(purse: _Purse) -> Row:
    cash, scale, frozen = purse.cash, purse.scale, int(purse.frozen)
    return (purse.user, purse.currency, cash, scale, frozen, purse.version)


def _open_bets(state: _Round, event: events.BetReversed, bet: int) -> dict[int, int]:
    """Returns the stakes of which the bet's is one; those of a whole round go back in order."""
    by, stakes = state.rest or ("", state.stakes)
    hold(bet in stakes, "reverses a bet that was never placed")
    if by or event.by == "cancel-round":
        hold(event.by == by or not by, f"is by {event.by}; its round goes back by {by}")
        hold(bet == next(iter(stakes)), "reverses a bet of a round before an earlier one")
    return stakes


def _hold_full(event: events.MoneyMoved, after: int) -> None:
    """Only a stake that goes back may leave more in a wallet than it is filled to; nothing adds no more."""
    hold(after >= 0, f"leaves {after} in the wallet")
    most = MOST_MINOR_UNITS if event.amount and isinstance(event, _PAID_IN) else MOST_SUM
    hold(after <= most, f"leaves {after} in the wallet, more than may be paid in")


_PAID_IN = (events.ResultRecorded, events.PromoPaid, events.DepositMade)


def _named(check: Check, stream: str, version: int, event: Any) -> str | None:
    """Checks that a transaction has the id which its reference gives it, too, and what else is named one."""
    due = well_named(check, stream, version, event)
    named = _reference(event)
    if named and event.transaction_id != transaction_id(*named):
        derived = transaction_id(*named)
        raise Violation(f"is the transaction {event.transaction_id}; its reference gives {derived}")
    return due


def _reference(event: Any) -> tuple[str, str, str] | None:
    """Returns what a transaction's id is derived from."""
    match event:
        case events.BetPlaced():
            return event.provider, "bet", event.reference
        case events.ResultRecorded():
            return event.provider, event.kind, event.reference
        case events.BetReversed() | events.TombstoneRecorded():
            return event.provider, "reversal", event.reference
        case events.RoundEnded():
            return event.provider, "end", event.round
        case events.PromoPaid():
            return event.provider, "promo", event.reference
        case events.DepositMade():
            return events.CASHIER, "deposit", event.reference
        case events.WithdrawalMade():
            return events.CASHIER, "withdrawal", event.reference
    return None
