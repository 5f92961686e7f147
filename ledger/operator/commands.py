"""What can be asked of an operator's book: frozen values, already well-formed, not yet decided.

`provider` is the configured id of the provider whose credential was checked.
"""

import msgspec

from ledger.money import Amount
from ledger.operator.events import ResultKind, ReversedBy, Said


class ProviderCall(msgspec.Struct, frozen=True, kw_only=True):
    """Comes from a provider, about one player."""

    provider: str
    user: str
    said: Said


class PlaceBet(ProviderCall, frozen=True, kw_only=True):
    """Take a stake for a round."""

    currency: str
    round: str
    game: str
    session: str
    reference: str
    amount: Amount


class RecordResult(ProviderCall, frozen=True, kw_only=True):
    """Pay what a round won, zero included."""

    kind: ResultKind
    currency: str
    round: str
    game: str
    reference: str
    amount: Amount


class ReverseBet(ProviderCall, frozen=True, kw_only=True):
    """Give one bet's stake back. Without a round the reference finds it."""

    by: ReversedBy
    currency: str
    round: str | None = None
    game: str
    reference: str
    whole_round: bool = False
    """Where the reference is unknown and the round known: reverse every open bet of the round."""


class CancelRound(ReverseBet, frozen=True, kw_only=True):
    """Reverse every open bet of the round that owns the reference."""

    by: ReversedBy = "cancel-round"


class EndRound(ProviderCall, frozen=True, kw_only=True):
    """Close a round; no money moves."""

    currency: str
    round: str
    game: str


class PayPromo(ProviderCall, frozen=True, kw_only=True):
    """Pay a campaign's win outside any round."""

    currency: str
    campaign: str
    campaign_type: str
    reference: str
    amount: Amount


class ExpireSession(ProviderCall, frozen=True, kw_only=True):
    """Take no more bets in a session."""

    session: str


class WalletCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Comes from the operator's own back office, about one wallet."""

    user: str
    currency: str


class OpenWallet(WalletCommand, frozen=True, kw_only=True):
    """Open a player's wallet in one currency, if it is not open."""


class Deposit(WalletCommand, frozen=True, kw_only=True):
    """Pay cash in."""

    reference: str
    amount: Amount


class Withdraw(WalletCommand, frozen=True, kw_only=True):
    """Pay cash out."""

    reference: str
    amount: Amount


class Freeze(WalletCommand, frozen=True, kw_only=True):
    """Refuse new bets of this wallet."""


class Unfreeze(WalletCommand, frozen=True, kw_only=True):
    """Take bets of this wallet again."""


Command = ProviderCall | WalletCommand
