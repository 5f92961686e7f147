"""Commits what a book decides: one transaction a batch, and what it has learnt kept for the next."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Generic, TypeVar

from ledger.batch import Aggregate, Batch, Fold
from ledger.mapper import Mapper
from ledger.moments import text, utc_now
from ledger.projection import Key
from ledger.store import Store

MOST_STATES = 4096
"""Kept in mind between batches."""

S = TypeVar("S", bound=Aggregate)
C = TypeVar("C")
R = TypeVar("R")

Foreseen = tuple[Collection[str], Mapping[str, Collection[Key]]]
"""Streams, and rows by table, that commands are about to touch."""


class Remembered(Generic[S]):
    """States as of a position, so that an open round's stream is not read again; forgotten on failure."""

    def __init__(self, position: int = 0, states: dict[str, S] | None = None) -> None:
        self._position = position
        self._states = states or {}

    def at(self, position: int) -> dict[str, S]:
        """Returns the states by stream; none where another process has written since."""
        return self._states if position == self._position else {}

    def and_also(self, batch: Batch[S]) -> "Remembered[S]":
        """Adds what a batch has read and recorded, and lets the longest unused go."""
        for stream, state in batch.states.items():
            self._states.pop(stream, None)
            self._states[stream] = state
        for stream in list(islice(self._states, max(0, len(self._states) - MOST_STATES))):
            del self._states[stream]
        return self


class Committer(Generic[S, C, R]):
    """Takes commands together: what they touch is loaded, they are decided in order, and committed once."""

    def __init__(
        self,
        store: Store,
        mapper: Mapper,
        *,
        empty: S,
        evolve: Fold[S],
        foresee: Callable[[Sequence[C]], Foreseen],
        decide: Callable[[Batch[S], C], R | Exception],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store, self._mapper = store, mapper
        self._empty, self._evolve = empty, evolve
        self._foresee, self._decide = foresee, decide
        self._now = now
        self._remembered: Remembered[S] = Remembered()

    def __call__(self, batch_of: Sequence[C]) -> Sequence[R | Exception]:
        """Returns the outcome or refusal of each command, durable; raises and records nothing."""
        remembered, self._remembered = self._remembered, Remembered()
        with self._store.transaction() as head:
            known = remembered.at(head.position)
            batch = Batch(
                self._store,
                self._mapper,
                self._empty,
                self._evolve,
                at=text(self._now()),
                known=known,
            )
            batch.load(*self._foresee(batch_of))
            outcomes = [self._decide(batch, command) for command in batch_of]
            if batch.stored:
                self._store.insert_events(batch.stored, changes=batch.changes())
        self._remembered = Remembered(head.position + len(batch.stored), known).and_also(batch)
        return outcomes
