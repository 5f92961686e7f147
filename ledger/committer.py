"""Commits what a book decides: one transaction a batch, and what it has learnt kept for the next."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Generic, TypeVar

from ledger.batch import Aggregate, Batch, Fold, Known
from ledger.mapper import Mapper
from ledger.moments import text, utc_now
from ledger.projection import kept_of
from ledger.store import Asked, Presumed, Store

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
        expect: Callable[[Sequence[C]], Asked],
        decide: Callable[[Batch[S], C], R | Exception],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """`foresee`: what commands will ask for; `expect`: what of it is there, where it is not all new."""
        self._store, self._mapper = store, mapper
        self._empty, self._evolve = empty, evolve
        self._kept = kept_of(store.projections)
        self._foresee, self._expect, self._decide = foresee, expect, decide
        self._now = now
        self._known: Known[S] | None = None
        self.position = 0
        """Of the book's last event, as of the last batch."""

    def __call__(self, batch_of: Sequence[C]) -> Sequence[R | Exception]:
        """Returns the outcome or refusal of each command, durable; raises and records nothing."""
        known, self._known = self._known or Known(), None  # forgotten, should this fail
        if self._store.remote and known.has(self._expect(batch_of)):
            with suppress(Presumed):
                return self._settle(batch_of, known, presumed=True)
        return self._settle(batch_of, known, presumed=False)

    def _settle(
        self, batch_of: Sequence[C], known: Known[S], *, presumed: bool
    ) -> Sequence[R | Exception]:
        foreseen = self._foresee(batch_of)
        asked = known.lacks(foreseen)
        with self._store.transaction(asked, presumed=presumed) as head:
            if not self._store.untouched or head.position != self.position:
                known, asked = Known(), foreseen
            batch = Batch(
                self._store,
                self._mapper,
                self._empty,
                self._evolve,
                self._kept,
                at=text(self._now()),
                known=known,
            )
            batch.load(asked)
            try:
                outcomes = [self._decide(batch, command) for command in batch_of]
            except Exception as defect:
                if presumed:  # what is not so may not even be decidable
                    raise Presumed from defect
                raise
            if batch.stored:
                self._store.insert_events(batch.stored, changes=batch.changes())
        known.keep(batch)
        self._known, self.position = known, head.position + len(batch.stored)
        return outcomes
