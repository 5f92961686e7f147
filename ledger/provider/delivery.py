"""One call that an operator's wallet is owed: when it is sent, and what its answer means. Pure."""

from typing import Any, Literal, NamedTuple

from ledger.moments import later
from ledger.names import name
from ledger.provider import commands, events
from ledger.refusals import CredentialWrong, Final, NotEnoughCash, Refusal

State = Literal["waiting", "parked", "refused", "confirmed", "declined", "given-up"]
STUCK: tuple[State, ...] = ("parked", "refused")
"""What the wallet does not take, or refuses: a person looks into it."""

Verdict = Literal["confirmed", "declined", "refused", "exhausted", "again", "old"]

PLAYED: tuple[events.Kind, ...] = ("bet", "result", "end")
"""What a game waits for; what goes back has time."""

FINAL = frozenset({NotEnoughCash.code, Final.code})
"""Never sent again; a wallet that answers a reversal with these needs a person."""

DECLINED = frozenset(each.code for each in Refusal.__subclasses__()) - {CredentialWrong.code}
"""Every refusal says that a bet was not taken, but for a credential's: on any other code it is asked again, then
cancelled to be sure."""

LONGEST_WAIT_S = 86400.0 + 300.0
"""More than any setting lets a send take, or the next one wait, though two clocks differ a little."""


class Delivery(NamedTuple):
    """A delivery as it is now. Source: the table `deliveries`, whose columns these are."""

    operator: str
    kind: events.Kind
    reference: str
    round: str
    intent: int
    """The version of the event in the round's stream that asks for it."""
    state: State
    sends: int
    """In this burst."""
    attempts: int
    """In all; the last one is under way where `sending`."""
    sending: int
    doubtful: int
    """Whether a send ended without an answer: what it came to at the wallet is not known."""
    due_at: str | None
    undelivered_since: str | None
    last_error: str
    code: int | None

    @property
    def id(self) -> str:
        """Its name: `acme/refund/585c1306f89c56f5ecfc2f5d`."""
        return name(self.operator, self.kind, self.reference)

    @property
    def named(self) -> dict[str, Any]:
        """How commands and events name it."""
        return {"operator": self.operator, "kind": self.kind, "reference": self.reference}

    @property
    def place(self) -> str:
        """Where it stands among what is undelivered: since when, and its name."""
        return f"{self.undelivered_since}/{self.id}"

    @property
    def pressing(self) -> bool:
        """Whether a game waits for its answer."""
        return self.state == "waiting" and self.kind in PLAYED

    @property
    def closed(self) -> bool:
        """Whether the wallet has given an answer that settles it, or it was given up."""
        return self.state in ("confirmed", "declined", "given-up")

    def due(self, at: str) -> bool:
        """Returns whether it is to be sent: its time has come, and no other sender is at it.

        What seems to wait for longer than anything may was recorded by a clock that stood ahead.
        """
        if self.due_at is None:
            return False
        return self.due_at <= at or self.due_at > later(at, seconds=LONGEST_WAIT_S)

    def under_way(self, at: str) -> bool:
        """Returns whether a sender is at it, whose lease is not over."""
        return bool(self.sending) and not self.due(at)

    def exhausted(self, most_sends: int) -> bool:
        """Returns whether its burst is over; what is parked has no more bursts, only single sends."""
        return self.state == "waiting" and self.sends >= most_sends


def judge(delivery: Delivery, end: commands.EndSend, *, most_sends: int) -> Verdict:
    """Returns what a send's end means for its delivery.

    `old`: another sender has taken over, or it is closed; only an answer that settles it still counts.
    Nothing counts of a send that never started.
    """
    if delivery.closed or not 1 <= end.attempt <= delivery.attempts:
        return "old"
    if end.outcome == "answered" and end.code == 0:
        return "confirmed"
    if end.attempt != delivery.attempts or not delivery.sending:
        return "old"
    if end.outcome == "answered" and delivery.kind == "bet" and end.code in DECLINED:
        # an earlier send may still reach the wallet, or has: only a cancel makes sure
        return "exhausted" if _may_be_taken(delivery, end) else "declined"
    if end.outcome == "answered" and end.code in FINAL:
        return "refused"
    return "exhausted" if delivery.exhausted(most_sends) else "again"


def _may_be_taken(bet: Delivery, end: commands.EndSend) -> bool:
    """Returns whether the wallet may have made something of an earlier send of a bet that it refuses.

    An answer that neither took nor refused it (998) may hide a commit that nobody knew of; a wallet
    remembers to have refused a bet for good (15, 999), and no other refusal.
    """
    return bool(bet.doubtful) or (bet.code is not None and end.code not in FINAL)
