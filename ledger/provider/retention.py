"""Refunds by age: a bet whose round has no outcome after the retention days is given back, once.

A clock that jumped must not refund every open bet. A sweep takes few rounds, and stops with an alarm,
until a person confirms, when the clock cannot be trusted or far more is overdue than is usual.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf

import msgspec

from ledger.counted import many
from ledger.event import time_of
from ledger.moments import DAY_S, moment, text
from ledger.provider.book import Book, OpenRound
from ledger.provider.commands import ConfirmSweep, NoteSweep, RefundOverdue, StopSweep

MOST_STEP_S = 300.0
"""By which wall clock and steady clock may differ between two sweeps."""

MOST_AHEAD_S = 300.0
"""By which the last event, and the last sweep, may be ahead of the wall clock."""

LONGEST_SILENCE_S = 7.0 * DAY_S
"""Between two sweeps, where something is overdue: a clock may have jumped while nobody looked."""


def steady() -> float:
    """Returns seconds of a clock that nobody sets, and that counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep came to: rounds it refunded, whether more wait, or why it stopped."""

    refunded: list[OpenRound] = []
    more: bool = False
    stopped: str = ""


class Sweeper:
    """Sweeps one book. `cap`: rounds a sweep, and how many may become overdue at once without alarm."""

    def __init__(
        self,
        book: Book,
        *,
        cap: int,
        steady: Callable[[], float] = steady,
        on_refunded: Callable[[OpenRound], None] = lambda _: None,
    ) -> None:
        self._book = book
        self._cap = cap
        self._steady = steady
        self._on_refunded = on_refunded
        self._clocks = (book.now(), steady())

    def overdue(self, *, most: int | None = None) -> list[OpenRound]:
        """Returns rounds that are overdue now, those that were so first first: up to `most` an operator.

        Without that up to cap + 1.
        """
        limit, now = self._cap + 1 if most is None else most, self._book.now()
        found = [
            each
            for login in sorted(self._book.house.operators)
            for each in self._book.open_rounds(login, upto=self.cutoff(login, now), limit=limit)
        ]
        return sorted(found, key=self._became_overdue)

    def _became_overdue(self, found: OpenRound) -> str:
        return self._book.house.operator(found.operator).due(found.open_since)

    def cutoff(self, login: str, now: datetime) -> str:
        """Returns the time at which, or before, a bet that is overdue by then was accepted."""
        days = self._book.house.operator(login).retention_days
        return text(now - timedelta(days=days))

    def sweep(self) -> Swept:
        """Refunds what is overdue, as far as the cap goes, unless it is stopped. Raises Breakdown."""
        found = self.overdue()
        clocks = (self._book.now(), self._steady())
        fault = self._fault(found, clocks)
        if fault and not self._book.sweep().stopped_at:
            self._book.submit(StopSweep(reason=fault))
        self._clocks = clocks  # no sooner: a step that could not be recorded is there the next time
        stopped = self._book.sweep()
        if stopped.stopped_at:
            return Swept(stopped=stopped.reason)
        if self._since_made() > DAY_S:
            self._book.submit(NoteSweep())
        # by the time that was looked at: the clock may be set while this goes on
        refunded = [each for each in found[: self._cap] if self._refund(each, clocks[0])]
        return Swept(refunded=refunded, more=len(found) > self._cap)

    def _refund(self, found: OpenRound, now: datetime) -> bool:
        """Returns whether it was for us to refund: another sweep may have come first."""
        upto = self.cutoff(found.operator, now)
        refund = RefundOverdue(operator=found.operator, round=found.round, upto=upto)
        recorded = self._book.submit(refund).recorded
        if recorded:
            self._on_refunded(found)
        return recorded

    def confirm(self) -> None:
        """A person has looked: what is overdue by now is refunded, sweep by sweep."""
        self._book.submit(ConfirmSweep(upto=text(self._book.now())))

    def _fault(self, found: list[OpenRound], clocks: tuple[datetime, float]) -> str:
        """Returns why what is overdue cannot be trusted, empty where it can."""
        wrong = self._step(*clocks) or self._behind()
        if wrong:
            return wrong
        upto = self._book.sweep().confirmed_upto
        fresh = [each for each in found if self._became_overdue(each) > upto]
        if not fresh:
            return ""
        if len(fresh) > self._cap:
            return (
                f"a crowd: more than {many(self._cap, 'round')} became overdue since the last sweep"
            )
        return self._silence()

    def _step(self, now: datetime, tick: float) -> str:
        """Compares how far both clocks went since the last sweep."""
        was, ticked = self._clocks
        step = (now - was).total_seconds() - (tick - ticked)
        if abs(step) <= MOST_STEP_S:
            return ""
        back = "back " if step < 0 else ""
        return f"the clock was set {back}by {timedelta(seconds=round(abs(step)))}, to {text(now)}"

    def _behind(self) -> str:
        """Compares the clock with what is recorded. Of what is recorded meanwhile, all is overdue too soon."""
        recorded = {"event": self._last_event(), "sweep": self._book.sweep().made_at}
        for what, at in recorded.items():
            if at and (self._book.now() - moment(at)).total_seconds() < -MOST_AHEAD_S:
                return f"the clock stands before the last {what}, of {at}"
        return ""

    def _silence(self) -> str:
        """Compares the clock with the last sweep that trusted it."""
        if self._since_made() > LONGEST_SILENCE_S:
            made_at = self._book.sweep().made_at or "ever"
            return f"no sweep was made since {made_at}: is the clock right?"
        return ""

    def _since_made(self) -> float:
        """Returns how many seconds ago a sweep last trusted the clock."""
        made_at = self._book.sweep().made_at
        return (self._book.now() - moment(made_at)).total_seconds() if made_at else inf

    def _last_event(self) -> str:
        """Returns when it was recorded, empty where there is none."""
        head = self._book.store.head().position
        records = self._book.store.records(after=head - 1, limit=1) if head else []
        return time_of(records[0].state) if records else ""
