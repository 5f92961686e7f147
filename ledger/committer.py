"""Commits what a book decides: one transaction a batch, and what it has learnt kept for the next."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from typing import Generic, TypeVar

from ledger.batch import Aggregate, Batch, Fold, Known
from ledger.mapper import Mapper, Unreadable
from ledger.moments import text
from ledger.projection import Key, Row, kept_of
from ledger.store import EVENTS, Asked, NoText, Presumed, Store, StoreUnfit

S = TypeVar("S", bound=Aggregate)
C = TypeVar("C")
R = TypeVar("R")


LOOKED_AT = 256
"""Events at either end of a book, of which it is made sure that the tables know them."""


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
        now: Callable[[], datetime],
    ) -> None:
        """`foresee`: what commands will ask for; `expect`: what of it is there, where it is not all new."""
        self._store, self._mapper = store, mapper
        self._empty, self._evolve = empty, evolve
        self._kept = kept_of(store.projections)
        self._foresee, self._expect, self._decide = foresee, expect, decide
        self._now = now
        self._known: Known[S] | None = None
        self._check_first()
        self._check_tables()
        self.position = 0
        """Of the book's last event, as of the last batch."""

    def _check_first(self) -> None:
        """An event that this book could not read again would ruin a book of another party. Raises StoreUnfit."""
        for _, _, _, topic, state, _ in self._events(after=0, limit=1):
            if self._is_strange(topic, state):
                detail = f"its first event, {topic}, is none that such a book writes"
                raise StoreUnfit(f"store: {detail}; is it the other party's?")

    def _check_tables(self) -> None:
        """A table that was lost, and made again without a row, would let a bet be taken twice. Raises StoreUnfit."""
        last = self._store.head().position
        ends = (self._events(after=after) for after in (0, max(LOOKED_AT, last - LOOKED_AT)))
        led_to: dict[str, set[Key]] = defaultdict(set)
        for _, _, _, topic, state, _ in chain(*ends):
            with suppress(Unreadable):  # whoever verifies the book is told
                event = self._mapper.decode(topic, state)
                for table, key_of, _ in self._kept.get(type(event), ()):
                    led_to[table].add(key_of(event))
        for table, keys in led_to.items():
            if len(self._store.find(table, keys)) < len(keys):
                detail = f"the table {table} lacks rows that events of the book led to"
                whole = "where roundbook verify finds every event whole"
                raise StoreUnfit(f"store: {detail}; {whole}, roundbook rebuild makes it anew")

    def _events(self, *, after: int, limit: int = LOOKED_AT) -> Iterator[Row]:
        """Yields rows as they lie there. Raises StoreUnfit where a stream's or a topic's text is damaged."""
        at = after
        try:
            for row in islice(self._store.scan(EVENTS, after=after), limit):
                at = row[0]
                yield row
        except NoText as error:
            detail = f"the event that follows position {at} cannot be read: {error}"
            raise StoreUnfit(f"store: {detail}; roundbook verify tells more") from error

    def _is_strange(self, topic: str, state: bytes) -> bool:
        """A damaged one is ours still: whoever verifies the book must be able to read it."""
        if topic not in self._mapper.decoders:
            return True
        try:
            said = self._mapper.decode(topic, state)
        except Unreadable:
            return False
        return self._mapper.encode(said) != state

    def __call__(self, batch_of: Sequence[C]) -> Sequence[R | Exception]:
        """Returns the outcome or refusal of each command, durable; raises and records nothing."""
        known, self._known = self._known or Known(), None  # forgotten, should this fail
        presumed = known.has(self._expect(batch_of))
        try:
            return self._settle(batch_of, known, presumed=presumed)
        except Presumed:
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
