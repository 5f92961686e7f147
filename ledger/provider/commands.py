"""What can be asked of a provider's book: frozen values, already well-formed, not yet decided.

`operator` is the secure login of a configured operator.
"""

from typing import Any

import msgspec

from ledger.money import Amount
from ledger.provider.events import CancelledBy, Kind, SendOutcome


class RoundCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Is about one round at one operator."""

    operator: str
    round: str


class PlaceBet(RoundCommand, frozen=True, kw_only=True):
    """Place a game's bet at the operator's wallet."""

    user: str
    currency: str
    session: str
    game: str
    game_name: str
    reference: str
    amount: Amount
    details: Any = None


class ReportResult(RoundCommand, frozen=True, kw_only=True):
    """Pay what a round won, zero included. A player that is named must be the round's."""

    reference: str
    amount: Amount
    user: str | None = None
    details: Any = None


class EndRound(RoundCommand, frozen=True, kw_only=True):
    """Take no more bets and results, and close the round at the wallet."""

    user: str | None = None


class CancelRound(RoundCommand, frozen=True, kw_only=True):
    """Give every open bet of a round back."""

    user: str | None = None
    game: str | None = None
    by: CancelledBy
    uuid: str = ""


class CancelRounds(msgspec.Struct, frozen=True, kw_only=True):
    """Give every open bet of every open round of a player in one game back."""

    operator: str
    user: str
    game: str
    by: CancelledBy


class RefundOverdue(RoundCommand, frozen=True, kw_only=True):
    """Give the bets back that were accepted at `upto` or before, where the round has no outcome."""

    upto: str


class DeliveryCommand(msgspec.Struct, frozen=True, kw_only=True):
    """Is about one delivery."""

    operator: str
    kind: Kind
    reference: str


class StartSend(DeliveryCommand, frozen=True, kw_only=True):
    """Take a delivery that is due, for one send that takes no longer than `lease_s`."""

    worker: str
    lease_s: float


class EndSend(DeliveryCommand, frozen=True, kw_only=True):
    """Report what came of a send. `wait_s` and `parked_wait_s`: how long to wait where it is sent again."""

    attempt: int
    outcome: SendOutcome
    code: int | None = None
    detail: str = ""
    transaction_id: str = ""
    took_ms: int = 0
    wait_s: float = 0
    parked_wait_s: float = 0


class RetryDelivery(DeliveryCommand, frozen=True, kw_only=True):
    """A person wants it sent again, now."""


class NoteSweep(msgspec.Struct, frozen=True, kw_only=True):
    """The sweep looked, and trusts the clock."""


class StopSweep(msgspec.Struct, frozen=True, kw_only=True):
    """Refund nothing by its age until a person confirms."""

    reason: str


class ConfirmSweep(msgspec.Struct, frozen=True, kw_only=True):
    """A person confirms that what became overdue up to `upto` is to be refunded."""

    upto: str


Command = RoundCommand | CancelRounds | DeliveryCommand | NoteSweep | StopSweep | ConfirmSweep
