"""Commits what a book decides: one transaction a batch, and what it has learnt kept for the next."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from ledger.batch import Aggregate, Batch, Fold, Known
from ledger.mapper import Mapper
from ledger.moments import text, utc_now
from ledger.store import Asked, Store

S = TypeVar("S", bound=Aggregate)
C = TypeVar("C")
R = TypeVar("R")


class Committer(Generic[S, C, R]):
    """Takes commands together: what they touch is loaded, they are decided in order, and committed once."""

    def __init__(
        self,
        store: Store,
        mapper: Mapper,
        *,
        empty: S,
        evolve: Fold[S],
        foresee: Callable[[Sequence[C]], Asked],
        decide: Callable[[Batch[S], C], R | Exception],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store, self._mapper = store, mapper
        self._empty, self._evolve = empty, evolve
        self._foresee, self._decide = foresee, decide
        self._now = now
        self._known: Known[S] = Known()
        self.position = 0
        """Of the book's last event, as of the last batch."""

    def __call__(self, batch_of: Sequence[C]) -> Sequence[R | Exception]:
        """Returns the outcome or refusal of each command, durable; raises and records nothing."""
        known, self._known = self._known, Known()  # forgotten, should this fail
        foreseen = self._foresee(batch_of)
        asked = known.lacks(foreseen)
        with self._store.transaction(asked) as head:
            if not self._store.untouched or head.position != self.position:
                known, asked = Known(), foreseen
            batch = Batch(
                self._store,
                self._mapper,
                self._empty,
                self._evolve,
                at=text(self._now()),
                known=known,
            )
            batch.load(asked)
            outcomes = [self._decide(batch, command) for command in batch_of]
            if batch.stored:
                self._store.insert_events(batch.stored, changes=batch.changes())
        known.keep(batch)
        self._known, self.position = known, head.position + len(batch.stored)
        return outcomes
