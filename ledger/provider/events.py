"""Every event an auditor can meet in a provider's book: the data dictionary.

Amounts are minor units of a currency with `scale` decimals. A `Call` is what will be sent to the
operator's wallet, byte for byte, every time it is sent; the credential is added on the way and is
never part of it.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from ledger.event import Event

Kind = Literal["bet", "result", "end", "cancel", "refund"]
"""What a delivery asks of the wallet. `cancel`: for a bet that was given up, unanswered."""

CancelledBy = Literal["operator", "game", "retention"]
SendOutcome = Literal["answered", "timeout", "unreachable", "invalid"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the wallet: the path below its address, and the body's exact text."""

    path: str
    body: str


class RoundEvent(Event, frozen=True, kw_only=True):
    """Concerns one round at one operator."""

    operator: str
    round: str


class RoundOpened(RoundEvent, frozen=True, kw_only=True):
    """The first event of every round: whose it is, in which currency, of which game.

    `provider` is the providerId under which the operator's wallet knows it.
    """

    provider: str
    user: str
    currency: str
    scale: int
    game: str
    game_name: str


class Requested(RoundEvent, frozen=True, kw_only=True):
    """The wallet is to be called, until it has answered: each of these opens a delivery."""

    reference: str
    call: Call


class BetRequested(Requested, frozen=True, kw_only=True):
    """The game placed a bet; nothing is known of the wallet's answer yet."""

    session: str
    amount: int
    details: Any = None


class ResultRequested(Requested, frozen=True, kw_only=True):
    """The game reported an outcome: `amount` is the win, zero included."""

    amount: int
    details: Any = None


class RoundEnded(RoundEvent, frozen=True, kw_only=True):
    """The game ended the round: no more bets and results are taken."""


class EndRequested(Requested, frozen=True, kw_only=True):
    """The wallet has confirmed every result: it may close the round. The reference is the round's id."""


class CancelRequested(Requested, frozen=True, kw_only=True):
    """A bet was given up: whatever the wallet made of it is to be cancelled."""


class RefundRequested(Requested, frozen=True, kw_only=True):
    """An accepted bet is to be given back. `amount` is its stake.

    `open_since`: when the oldest bet of the round that stays open was accepted, empty for none.
    """

    amount: int
    by: CancelledBy
    open_since: str = ""


class Confirmed(RoundEvent, frozen=True, kw_only=True):
    """The wallet answered 0: the delivery is closed.

    `amount` is the stake or the win it was about; `transaction_id` the operator's own, where it names one.
    """

    reference: str
    amount: int = 0
    transaction_id: str = ""


class BetAccepted(Confirmed, frozen=True, kw_only=True):
    """The wallet took the stake."""


class ResultConfirmed(Confirmed, frozen=True, kw_only=True):
    """The wallet paid the win."""


class EndConfirmed(Confirmed, frozen=True, kw_only=True):
    """The wallet closed the round."""


class CancelConfirmed(Confirmed, frozen=True, kw_only=True):
    """The wallet holds nothing of the bet that was given up, and never will."""


class RefundConfirmed(Confirmed, frozen=True, kw_only=True):
    """The wallet gave the stake back."""


class BetDeclined(RoundEvent, frozen=True, kw_only=True):
    """The wallet refused the bet with this code: no money moved."""

    reference: str
    code: int
    detail: str = ""


class BetGivenUp(RoundEvent, frozen=True, kw_only=True):
    """No valid answer came for the bet in all its sends, or only a refusal after one that had no clear one."""

    reference: str


class CancellationRequested(RoundEvent, frozen=True, kw_only=True):
    """The whole round is to be cancelled; every open bet is refunded, and any the wallet accepts later."""

    by: CancelledBy
    uuid: str = ""


class RoundCompleted(RoundEvent, frozen=True, kw_only=True):
    """The outcome is decided and the wallet has confirmed all of it."""


class RoundCancelled(RoundEvent, frozen=True, kw_only=True):
    """Every bet is given back, and the wallet has confirmed all of it."""


class DeliveryEvent(RoundEvent, frozen=True, kw_only=True):
    """Concerns one delivery of a round, named by its operator, kind and reference."""

    kind: Kind
    reference: str


class DeliveryParked(DeliveryEvent, frozen=True, kw_only=True):
    """A burst of sends brought no valid answer: it is tried again slowly, for ever."""


class DeliveryRefused(DeliveryEvent, frozen=True, kw_only=True):
    """The wallet refused for good: nothing is sent again unless a person says so."""

    code: int
    detail: str = ""


class DeliveryRetried(DeliveryEvent, frozen=True, kw_only=True):
    """A person said so: a new burst begins."""


class SendEvent(Event, frozen=True, kw_only=True):
    """Concerns one send of a delivery; `attempt` counts its sends from 1."""

    operator: str
    kind: Kind
    reference: str
    attempt: int


class SendStarted(SendEvent, frozen=True, kw_only=True):
    """A worker is about to send; nobody else does before `until`."""

    worker: str
    until: str


class SendEnded(SendEvent, frozen=True, kw_only=True):
    """What came of a send. `code` is the wallet's, where it gave one; `again_at`: not to be sent before."""

    outcome: SendOutcome
    code: int | None = None
    detail: str = ""
    took_ms: int = 0
    again_at: str | None = None


class SweepMade(Event, frozen=True, kw_only=True):
    """The sweep looked, and trusts the clock; recorded once a day, so that a jump in between shows."""


class SweepStopped(Event, frozen=True, kw_only=True):
    """The sweep does not trust the clock, or the crowd: no refund by age until a person confirms."""

    reason: str


class SweepConfirmed(Event, frozen=True, kw_only=True):
    """A person confirmed that what became overdue up to `upto` is to be refunded."""

    upto: str


InRound = (
    RoundOpened
    | BetRequested
    | BetAccepted
    | BetDeclined
    | BetGivenUp
    | ResultRequested
    | ResultConfirmed
    | RoundEnded
    | EndRequested
    | EndConfirmed
    | CancelRequested
    | CancelConfirmed
    | CancellationRequested
    | RefundRequested
    | RefundConfirmed
    | RoundCompleted
    | RoundCancelled
    | DeliveryParked
    | DeliveryRefused
    | DeliveryRetried
)
"""What may stand in a round's stream."""

REQUESTED: Mapping[type[Event], Kind] = {
    BetRequested: "bet",
    ResultRequested: "result",
    EndRequested: "end",
    CancelRequested: "cancel",
    RefundRequested: "refund",
}
"""What each of these asks of the wallet."""

CONFIRMED: Mapping[Kind, type[Confirmed]] = {
    "bet": BetAccepted,
    "result": ResultConfirmed,
    "end": EndConfirmed,
    "cancel": CancelConfirmed,
    "refund": RefundConfirmed,
}

SETTLED: Mapping[type[Event], Kind] = {
    **{confirmed: kind for kind, confirmed in CONFIRMED.items()},
    BetDeclined: "bet",
    BetGivenUp: "bet",
}
"""Of which kind the delivery is that each of these closes."""

TYPES: tuple[type[Event], ...] = (
    *get_args(InRound),
    SendStarted,
    SendEnded,
    SweepMade,
    SweepStopped,
    SweepConfirmed,
)
"""Every recorded type; the topic of an event is the name of its type."""
