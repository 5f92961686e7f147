"""One play of one game by one player: its state, what may be decided of it, and how it evolves.

Pure: no clock, no store. Every row of the contract's "What the wallet does" is a rule here.
"""

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from ledger.event import Event
from ledger.money import check_sum, to_minor
from ledger.names import transaction_id
from ledger.operator import commands, events
from ledger.operator.wallet import Wallet
from ledger.refusals import (
    BetsNotAllowed,
    Final,
    GameUnknown,
    Malformed,
    NoSuchRound,
    NotEnoughCash,
    NotTogether,
    PlayerFrozen,
    ReferenceReused,
    Refusal,
    SessionInvalid,
    WrongCurrency,
)

REVERSED = {
    "cancel": events.BetCancelled,
    "cancel-round": events.BetCancelled,
    "refund": events.BetRefunded,
}


class Bet(msgspec.Struct, frozen=True, gc=False):
    """A stake that was taken; open until `reversal` names the transaction that gave it back."""

    reference: str
    stake: int
    transaction_id: str
    reversal: str | None = None


class Result(msgspec.Struct, frozen=True, gc=False):
    """A win that was paid, zero included."""

    reference: str
    kind: str
    amount: int
    transaction_id: str


class Round(msgspec.Struct, frozen=True, gc=False):
    """A round as of its `version`-th event; version 0 is a round nobody has spoken of.

    Money is minor units with `scale` decimals; `scale` is None until money moved. Bets stand in the
    order they were placed. `won` is less what was taken back.
    """

    version: int = 0
    provider: str = ""
    id: str = ""
    user: str = ""
    currency: str = ""
    game: str = ""
    scale: int | None = None
    opened_at: str = ""
    bets: dict[str, Bet] = {}
    refused: dict[str, int] = {}
    tombstones: dict[str, events.TombstoneRecorded] = {}
    late: frozenset[str] = frozenset()
    results: dict[tuple[str, str], Result] = {}
    staked: int = 0
    won: int = 0
    reversed: int = 0
    end: str | None = None
    cancelled: bool = False

    @property
    def open_bets(self) -> list[Bet]:
        """The bets that were not given back, in the order they were placed."""
        return [bet for bet in self.bets.values() if bet.reversal is None]

    @property
    def status(self) -> str:
        """One of InProgress, Completed, Cancelled."""
        if self.cancelled:
            return "Cancelled"
        return "Completed" if self.results or self.end else "InProgress"


class Decided(msgspec.Struct, frozen=True):
    """What a command came to: events to record, the transaction it is, or why it is refused."""

    events: Sequence[Event]
    transaction_id: str = ""
    refusal: Refusal | None = None


class Terms(msgspec.Struct, frozen=True):
    """What bears on a new bet, and on nothing else, beside the round and the wallet."""

    bets_allowed: bool = True
    game_enabled: bool = True
    session_expired: bool = False


# evolve


def evolve(state: Round, event: events.InRound) -> Round:
    """Returns the round once the event has happened. Never refuses: the past is as it is."""
    version = state.version + 1
    match event:
        case events.BetPlaced():
            bet = Bet(event.reference, event.amount, event.transaction_id)
            return replace(
                state,
                version=version,
                bets={**state.bets, bet.reference: bet},
                staked=state.staked + event.amount,
                scale=event.scale,
            )
        case events.RoundOpened():
            return replace(
                state,
                version=version,
                provider=event.provider,
                id=event.round,
                user=event.user,
                currency=event.currency,
                game=event.game,
                opened_at=event.recorded_at,
            )
        case events.ResultRecorded():
            result = Result(event.reference, event.kind, event.amount, event.transaction_id)
            return replace(
                state,
                version=version,
                results={**state.results, (result.kind, result.reference): result},
                won=state.won + event.amount,
                scale=event.scale,
            )
        case events.BetReversed():
            bet = replace(state.bets[event.reference], reversal=event.transaction_id)
            return replace(
                state,
                version=version,
                bets={**state.bets, bet.reference: bet},
                reversed=state.reversed + event.amount,
                won=state.won - event.win,
            )
        case events.BetRefused():
            return replace(
                state, version=version, refused={**state.refused, event.reference: event.amount}
            )
        case events.LateBetRefused():
            return replace(state, version=version, late=state.late | {event.reference})
        case events.TombstoneRecorded():
            return replace(
                state, version=version, tombstones={**state.tombstones, event.reference: event}
            )
        case events.RoundEnded():
            return replace(state, version=version, end=event.transaction_id)
        case events.RoundCancelled():
            return replace(state, version=version, cancelled=True)
        case _:
            assert_never(event)


# decide: bets


def place_bet(
    state: Round, wallet: Wallet, bet: commands.PlaceBet, terms: Terms, at: str
) -> Decided:
    """Decides a bet whose reference is new.

    Raises NotTogether, WrongCurrency, Malformed, Final, BetsNotAllowed, GameUnknown, SessionInvalid,
    PlayerFrozen, AmountInvalid. Too little cash is recorded, so that it stays refused.
    """
    _same_round(state, bet)
    if state.cancelled or state.end:
        raise Final(f"the round is over, its status is {state.status}", field="roundId")
    _check_terms(wallet, terms)
    stake = to_minor(bet.amount, wallet.scale)
    check_sum(state.staked + stake)
    opened = _opened(state, bet, at, bet.round)
    if stake > wallet.cash:
        refused = events.BetRefused(
            recorded_at=at,
            provider=bet.provider,
            round=bet.round,
            user=bet.user,
            currency=bet.currency,
            reference=bet.reference,
            amount=stake,
            cash=wallet.cash,
            said=bet.said,
        )
        return Decided([*opened, refused], refusal=wallet.too_small())
    placed = events.BetPlaced(
        recorded_at=at,
        provider=bet.provider,
        round=bet.round,
        game=bet.game,
        reference=bet.reference,
        transaction_id=transaction_id(bet.provider, "bet", bet.reference),
        amount=stake,
        said=bet.said,
        **wallet.move(-stake),
    )
    return Decided([*opened, placed], placed.transaction_id)


def repeat_bet(state: Round, wallet: Wallet, bet: commands.PlaceBet) -> Decided:
    """Decides a bet whose reference this round knows: nothing is recorded again.

    Raises NotTogether, ReferenceReused, AmountInvalid.
    """
    first = state.bets.get(bet.reference)
    stake = first.stake if first else state.refused[bet.reference]
    _same_payload(state, wallet, bet, stake)
    if first is None:
        return Decided([], refusal=wallet.too_small())
    return Decided([], first.transaction_id)


def late_bet(
    state: Round,
    tombstone: events.TombstoneRecorded,
    bet: commands.PlaceBet,
    at: str,
    *,
    opens: bool,
) -> Decided:
    """Decides a bet that comes after its tombstone: never debited, seen once in the history.

    `opens`: whether it may open its round; a player without this wallet opens none.
    Raises NotTogether.
    """
    if bet.user != tombstone.user:
        raise NotTogether("the reference belongs to another player", field="userId")
    refusal = Final("the bet was cancelled before it came", field="reference")
    stays_out = state.user != bet.user if state.version else not opens
    if stays_out or bet.reference in state.late:
        return Decided([], refusal=refusal)
    refused = events.LateBetRefused(
        recorded_at=at,
        provider=bet.provider,
        round=bet.round,
        user=bet.user,
        currency=bet.currency,
        reference=bet.reference,
        said=bet.said,
    )
    return Decided([*_opened(state, bet, at, bet.round), refused], refusal=refusal)


# decide: results


def record_result(state: Round, wallet: Wallet, result: commands.RecordResult, at: str) -> Decided:
    """Decides a result whose reference is new.

    Raises NoSuchRound, NotTogether, WrongCurrency, Malformed, Final, AmountInvalid.
    """
    _same_round(state, result)
    if not state.bets and (state.tombstones or state.late):
        raise Final("the round's bet was cancelled before it came", field="roundId")
    if not state.bets:
        raise NoSuchRound("no bet is known for this result", field="roundId")
    if not state.open_bets:
        raise Final("every bet of the round is reversed", field="roundId")
    win = to_minor(result.amount, wallet.scale)
    check_sum(state.won + win)
    recorded = events.ResultRecorded(
        recorded_at=at,
        provider=result.provider,
        round=result.round,
        kind=result.kind,
        reference=result.reference,
        transaction_id=transaction_id(result.provider, result.kind, result.reference),
        amount=win,
        said=result.said,
        **wallet.pay_in(win),
    )
    return Decided([recorded], recorded.transaction_id)


def repeat_result(state: Round, wallet: Wallet, result: commands.RecordResult) -> Decided:
    """Decides a result whose reference this round knows. Raises NotTogether, ReferenceReused."""
    first = state.results[result.kind, result.reference]
    _same_payload(state, wallet, result, first.amount)
    return Decided([], first.transaction_id)


def end_round(state: Round, end: commands.EndRound, at: str) -> Decided:
    """Decides the end of a round, once. Raises NoSuchRound, NotTogether, WrongCurrency, Malformed."""
    if not state.version:
        raise NoSuchRound("no such round", field="roundId")
    _same_round(state, end)
    if state.end:
        return Decided([], state.end)
    ended = events.RoundEnded(
        recorded_at=at,
        provider=state.provider,
        round=state.id,
        user=state.user,
        currency=state.currency,
        transaction_id=transaction_id(state.provider, "end", state.id),
        said=end.said,
    )
    return Decided([ended], ended.transaction_id)


# decide: reversals


def reverse_bet(
    state: Round, wallet: Wallet, call: commands.ReverseBet, at: str, *, allow_completed: bool
) -> Decided:
    """Decides the reversal of a bet this round knows: the stored stake goes back, once for ever.

    Raises NotTogether, WrongCurrency, Malformed, Final.
    """
    _same_owner(state, call)
    bet = state.bets[call.reference]
    if bet.reversal:
        return Decided([], bet.reversal)
    return Decided(
        _reverse(state, wallet, [bet], call, at, allow_completed=allow_completed),
        transaction_id(call.provider, "reversal", bet.reference),
    )


def reverse_round(
    state: Round,
    wallet: Wallet | None,
    call: commands.ReverseBet,
    at: str,
    *,
    allow_completed: bool,
) -> Decided:
    """Decides the reversal of every open bet of a round. Raises as `reverse_bet` does."""
    _same_owner(state, call)
    reversal = transaction_id(call.provider, "reversal", call.reference)
    if state.cancelled:
        return Decided([], reversal)
    return Decided(
        _reverse(state, wallet, state.open_bets, call, at, allow_completed=allow_completed),
        reversal,
    )


def record_tombstone(
    state: Round, call: commands.ReverseBet, at: str, *, opens: str | None = None
) -> Decided:
    """Decides the reversal of a bet that never took money: a tombstone, once.

    `opens` is the round it opens, where it is the first that is heard of it.
    Raises NotTogether, WrongCurrency, Malformed.
    """
    first = state.tombstones.get(call.reference)
    if first:
        _same_tombstone(first, call)
        return Decided([], first.transaction_id)
    if state.version:
        _same_owner(state, call)
    tombstone = events.TombstoneRecorded(
        recorded_at=at,
        provider=call.provider,
        round=call.round or state.id or None,
        user=call.user,
        currency=call.currency,
        game=call.game,
        reference=call.reference,
        transaction_id=transaction_id(call.provider, "reversal", call.reference),
        by=call.by,
        said=call.said,
    )
    opened = _opened(state, call, at, opens) if opens else []
    return Decided([*opened, tombstone], tombstone.transaction_id)


def _reverse(
    state: Round,
    wallet: Wallet | None,
    bets: list[Bet],
    call: commands.ReverseBet,
    at: str,
    *,
    allow_completed: bool,
) -> list[Event]:
    others = len(state.open_bets) - len(bets)
    if state.results and not allow_completed:
        raise Final("the round has a result", field="reference")
    if state.results and others:
        raise Final("the round has a result and other open bets", field="reference")
    recorded: list[Event] = []
    for bet in bets:
        assert wallet is not None
        win = 0 if others or bet is not bets[-1] else state.won
        reversal = REVERSED[call.by](
            recorded_at=at,
            provider=state.provider,
            round=state.id,
            by=call.by,
            reference=bet.reference,
            transaction_id=transaction_id(state.provider, "reversal", bet.reference),
            amount=bet.stake,
            win=win,
            said=call.said,
            **_give_back(wallet, bet.stake - win),
        )
        recorded.append(reversal)
        wallet = wallet.after(reversal)
    if not others:
        recorded.append(_cancelled(state, at))
    return recorded


def _give_back(wallet: Wallet, change: int) -> dict[str, Any]:
    try:
        return wallet.move(change)
    except NotEnoughCash:
        raise Final("the win was spent already", field="reference") from None


def _cancelled(state: Round, at: str) -> events.RoundCancelled:
    return events.RoundCancelled(
        recorded_at=at,
        provider=state.provider,
        round=state.id,
        user=state.user,
        currency=state.currency,
    )


# what belongs together


AboutGame = commands.PlaceBet | commands.RecordResult | commands.ReverseBet | commands.EndRound
"""What is about one player's money in one game."""


def _opened(state: Round, call: AboutGame, at: str, round_id: str) -> list[Event]:
    if state.version:
        return []
    return [
        events.RoundOpened(
            recorded_at=at,
            provider=call.provider,
            round=round_id,
            user=call.user,
            currency=call.currency,
            game=call.game,
        )
    ]


def _check_terms(wallet: Wallet, terms: Terms) -> None:
    if not terms.bets_allowed:
        raise BetsNotAllowed("this provider's bets are not taken now", field="providerId")
    if not terms.game_enabled:
        raise GameUnknown("this game is unknown or switched off", field="gameId")
    if terms.session_expired:
        raise SessionInvalid("this session has expired", field="sessionId")
    if wallet.frozen:
        raise PlayerFrozen("this wallet is frozen", field="userId")


def _same_round(state: Round, call: AboutGame) -> None:
    if state.version:
        _same(state.user, state.currency, state.game, call)


def _same_owner(state: Round, call: commands.ReverseBet) -> None:
    _same(state.user, state.currency, state.game, call)
    if call.round not in (None, state.id):
        raise NotTogether("the bet belongs to another round", field="roundId")


def _same_tombstone(first: events.TombstoneRecorded, call: commands.ReverseBet) -> None:
    _same(first.user, first.currency, first.game, call)
    if first.round and call.round not in (None, first.round):
        raise NotTogether("the reference belongs to another round", field="roundId")


def _same(user: str, currency: str, game: str, call: AboutGame) -> None:
    if call.user != user:
        raise NotTogether("it belongs to another player", field="userId")
    if call.currency != currency:
        raise WrongCurrency("the round is in another currency", field="currency")
    if call.game != game:
        raise Malformed("the round is of another game", field="gameId")


def _same_payload(
    state: Round, wallet: Wallet, call: commands.PlaceBet | commands.RecordResult, amount: int
) -> None:
    if call.user != state.user:
        raise NotTogether("the reference belongs to another player", field="userId")
    for field, new, old in (
        ("roundId", call.round, state.id),
        ("gameId", call.game, state.game),
        ("currency", call.currency, state.currency),
    ):
        if new != old:
            raise ReferenceReused("differs from what this reference first said", field=field)
    if to_minor(call.amount, wallet.scale) != amount:
        raise ReferenceReused("differs from what this reference first said", field="amount")
