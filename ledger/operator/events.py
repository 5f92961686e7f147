"""Every event an auditor can meet in an operator's book: the data dictionary.

Bodies hold JSON values only. Amounts and cash are minor units of a currency with `scale` decimals.
Each event names its round, player and currency, so that it can be read alone. What the caller said
is kept beside what was decided: `uuid` (one HTTP request, never a business key), `session`,
`provider_time`, `details`, and in `extra` every field this book does not know.
"""

from typing import Any, Literal, get_args

import msgspec

from ledger.event import Event

CASHIER = "cashier"
"""Stands where a provider's id stands, for the operator's own deposits and withdrawals."""

ResultKind = Literal["result", "bonus", "jackpot"]
ReversedBy = Literal["cancel", "cancel-round", "refund"]


class WalletEvent(Event, frozen=True, kw_only=True):
    """Concerns one wallet. `wallet_version` counts a wallet's events from 1, without gaps."""

    user: str
    currency: str
    scale: int
    wallet_version: int


class MoneyMoved(WalletEvent, frozen=True, kw_only=True):
    """Moves cash of one wallet from `cash_before` to `cash_after`."""

    reference: str
    transaction_id: str
    amount: int
    cash_before: int
    cash_after: int


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a provider's call said beside its payload: kept, never compared."""

    uuid: str
    session: str | None = None
    game_name: str | None = None
    provider_time: str | None = None
    details: Any = None
    extra: dict[str, Any] = {}


class RoundEvent(Event, frozen=True, kw_only=True):
    """Concerns one round of one provider."""

    provider: str
    round: str
    user: str
    currency: str


class RoundOpened(RoundEvent, frozen=True, kw_only=True):
    """The first event of every round: whose it is, in which currency, of which game."""

    game: str


class BetPlaced(MoneyMoved, frozen=True, kw_only=True):
    """A stake was taken from the wallet."""

    provider: str
    round: str
    game: str
    said: Said


class BetRefused(RoundEvent, frozen=True, kw_only=True):
    """There was not enough cash; the reference stays refused, whatever is deposited later."""

    reference: str
    amount: int
    cash: int
    said: Said


class LateBetRefused(RoundEvent, frozen=True, kw_only=True):
    """The bet came after its own reversal: it is never debited."""

    reference: str
    said: Said


class ResultRecorded(MoneyMoved, frozen=True, kw_only=True):
    """The round's outcome: `amount` is the win, zero included. No session: the round was closed for the player."""

    provider: str
    round: str
    kind: ResultKind
    said: Said


class BetReversed(MoneyMoved, frozen=True, kw_only=True):
    """The stake `amount` went back in full; `win` is what was taken back with it, zero as a rule."""

    provider: str
    round: str
    by: ReversedBy
    win: int = 0
    said: Said


class BetCancelled(BetReversed, frozen=True, kw_only=True):
    """The stake went back by a Cancel, or by the cancellation of its round."""


class BetRefunded(BetReversed, frozen=True, kw_only=True):
    """The stake went back by a Refund."""


class RoundEnded(RoundEvent, frozen=True, kw_only=True):
    """The provider closed the round; later bets are refused."""

    transaction_id: str
    said: Said


class RoundCancelled(RoundEvent, frozen=True, kw_only=True):
    """Every bet of the round is reversed and nothing was won."""


class TombstoneRecorded(Event, frozen=True, kw_only=True):
    """A reversal came for a bet that is not known: no money moved, and that bet will be refused."""

    provider: str
    round: str | None = None
    user: str
    currency: str
    game: str
    reference: str
    transaction_id: str
    by: ReversedBy
    said: Said


class PromoPaid(MoneyMoved, frozen=True, kw_only=True):
    """A provider's campaign paid the player outside any round."""

    provider: str
    campaign: str
    campaign_type: str
    said: Said


class SessionExpired(Event, frozen=True, kw_only=True):
    """The provider's game session is over: no new bet is taken in it. Settles and cancels nothing."""

    provider: str
    user: str
    session: str
    said: Said


class WalletOpened(WalletEvent, frozen=True, kw_only=True):
    """A player's wallet in one currency; its scale is fixed here for ever."""


class DepositMade(MoneyMoved, frozen=True, kw_only=True):
    """The cashier paid in."""


class WithdrawalMade(MoneyMoved, frozen=True, kw_only=True):
    """The cashier paid out."""


class WalletFrozen(WalletEvent, frozen=True, kw_only=True):
    """New bets are refused; results and reversals are still taken."""


class WalletUnfrozen(WalletEvent, frozen=True, kw_only=True):
    """New bets are taken again."""


def moved(event: MoneyMoved) -> int:
    """Returns the minor units an event adds to its wallet, less than zero where it takes."""
    match event:
        case BetPlaced() | WithdrawalMade():
            return -event.amount
        case BetReversed():
            return event.amount - event.win
        case _:
            return event.amount


InRound = (
    RoundOpened
    | BetPlaced
    | BetRefused
    | LateBetRefused
    | ResultRecorded
    | BetCancelled
    | BetRefunded
    | RoundEnded
    | RoundCancelled
    | TombstoneRecorded
)
"""What may stand in a round's stream."""

TYPES: tuple[type[Event], ...] = (
    *get_args(InRound),
    PromoPaid,
    SessionExpired,
    WalletOpened,
    DepositMade,
    WithdrawalMade,
    WalletFrozen,
    WalletUnfrozen,
)
"""Every recorded type; the topic of an event is the name of its type."""
