"""Where the chain breaks: what was done to the book, as far as what is left of it can tell.

An event that was moved or inserted leaves rows that fit together elsewhere; a changed one leaves a hash
that only the right bytes come to; a removed one leaves a gap, or seals that are too far on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec
from eventsourcing.persistence import PersistenceError

from ledger.names import parts
from ledger.projection import Row
from ledger.store.chain import GENESIS, link

Kind = Literal[
    "changed",
    "removed",
    "inserted",
    "reordered",
    "cut-tail",
    "rewritten",
    "seal",
    "table",
    "schema",
    "invariant",
    "unreadable",
]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong, between two positions; both None where it is in no one place."""

    kind: Kind
    position: int | None = None
    upto: int | None = None
    detail: str


class EventRow(NamedTuple):
    """An event's row."""

    position: int
    stream: str
    version: int
    topic: str
    state: bytes
    hash: bytes

    def after(self, previous: bytes) -> bytes:
        """Returns the hash it has behind another."""
        return link(previous, self.stream, self.version, self.topic, self.state)


class Around(NamedTuple):
    """What is known where the chain breaks."""

    place: int
    """The position that comes next."""
    previous: bytes
    """The hash it goes on from."""
    row: Row
    """What stands there."""
    events: Callable[[int | None], Iterable[Row]]
    """Reads the book behind a position."""
    topics: Iterable[str]
    seals: Mapping[bytes, int]
    """Positions by sealed hash, of the next good seals."""
    replay: Callable[[], Finding | None]
    """What the rules say of the event and those behind it, the chain aside."""


SHAPE = (int, str, int, str, bytes, bytes)
COLUMNS = ("position", "stream", "version", "topic", "state", "hash")
LONGEST_TRIED = 4096
NEAR = 1000
BITS = [1 << bit for bit in range(8)]
LONG_BITS = [1 << bit for bit in range(63)]
OTHERS = sorted(set(range(1, 256)).difference(BITS))


def diagnose(around: Around) -> Finding:
    """Returns what was done to the book where its chain breaks."""
    return _Break(around).finding()


class _Break:
    def __init__(self, around: Around) -> None:
        self._around = around
        self._place, self._previous = around.place, around.previous

    def finding(self) -> Finding:
        column = odd(self._around.row)
        if column:
            return self._found("changed", f"its {column} is not what a book holds there")
        self._row = EventRow(*self._around.row)
        if self._row.position != self._place:
            return self._gap()
        self._look_ahead()
        return (
            self._moved()
            or self._inserted()
            or self._hash_changed()
            or self._restored()
            or self._by_seals()
            or self._by_rules()
        )

    def _found(self, kind: Kind, detail: str, *, first: int = 0, upto: int = 0) -> Finding:
        first = first or self._place
        return Finding(kind=kind, position=first, upto=upto or first, detail=detail)

    # not where it should be

    def _gap(self) -> Finding:
        position = self._row.position
        if position < self._place:
            detail = "stands before the first position, where nothing can stand"
            return Finding(kind="inserted", position=position, upto=position, detail=detail)
        for later in self._rows(self._place - 1):
            if later.after(self._previous) == later.hash:
                return self._found(
                    "reordered", f"the event of this position stands at {later.position}"
                )
        return self._found("removed", f"the next event is at {position}", upto=position - 1)

    # what stands behind it

    def _look_ahead(self) -> None:
        """Looks which later rows go on from before the break, belong at it, or come before it."""
        self._next: EventRow | None = None
        self._follows: EventRow | None = None
        self._content: EventRow | None = None
        self._before: EventRow | None = None
        for later in self._rows(self._place):
            self._next = self._next or later
            hashed = later.after(self._previous)
            if hashed == later.hash:
                self._follows = self._follows or later
            if hashed == self._row.hash:
                self._content = later
            if self._before is None and self._row.after(later.hash) == self._row.hash:
                self._before = later
            if self._content or (self._follows and self._before):
                return

    def _moved(self) -> Finding | None:
        at = self._content or (self._before and self._follows)
        if at:
            return self._found("reordered", f"the event of this position stands at {at.position}")
        if self._before:
            return self._found(
                "reordered", f"it belongs behind the event at {self._before.position}"
            )
        return None

    def _inserted(self) -> Finding | None:
        if self._follows:
            last = self._follows.position - 1
            return self._found("inserted", "without it the chain holds", upto=last)
        first = self._goes_on_from()
        if first is not None:
            detail = "the chain goes on from before it"
            return self._found("inserted", detail, first=first + 1, upto=self._place - 1)
        return None

    def _goes_on_from(self) -> int | None:
        """Returns the earlier position behind which the row follows, None for none."""
        if self._row.after(GENESIS) == self._row.hash and self._place > 1:
            return 0
        for earlier in self._rows(None):
            if earlier.position >= self._place - 1:
                return None
            if self._row.after(earlier.hash) == self._row.hash:
                return earlier.position
        return None

    # not what it should be

    def _hash_changed(self) -> Finding | None:
        right = self._row.after(self._previous)
        goes_on = self._next and self._next.after(right) == self._next.hash
        alike = sum(a == b for a, b in zip(right, self._row.hash, strict=False)) >= len(right) // 2
        if goes_on or alike:
            return self._found("changed", f"its hash is not that of its bytes, {right.hex()}")
        return None

    def _restored(self) -> Finding | None:
        """Tries what one changed field or byte may have been: only the right one comes to the hash."""
        for column, value in self._candidates():
            was = self._row._replace(**{column: value})  # type: ignore[arg-type]
            if was.after(self._previous) == self._row.hash:
                return self._found(
                    "changed", _difference(column, value, getattr(self._row, column))
                )
        return None

    def _candidates(self) -> Iterator[tuple[str, object]]:
        """Yields what may have been there, the likely first: one bit else, a number else, a byte else."""
        row = self._row
        yield from (("topic", topic) for topic in self._around.topics)
        yield from self._one_byte_else(BITS)
        near = range(max(1, row.version - NEAR), row.version + NEAR)
        for version in (*near, *range(1, NEAR), *(row.version ^ bit for bit in LONG_BITS)):
            yield "version", version
        yield from self._one_byte_else(OTHERS)

    def _one_byte_else(self, masks: Iterable[int]) -> Iterator[tuple[str, object]]:
        for column in ("stream", "topic"):
            for text in _one_byte_else(getattr(self._row, column).encode(), masks):
                yield column, text.decode(errors="replace")
        for state in _one_byte_else(self._row.state, masks):
            yield "state", state

    # what else tells

    def _by_seals(self) -> Finding | None:
        """A sealed hash that stands before or behind its place says how many are missing or too many."""
        seals = self._around.seals
        for row in self._rows(self._place - 1) if seals else ():
            sealed = seals.get(row.hash)
            if sealed is not None:
                return self._shifted(sealed, row.position)
        return None

    def _shifted(self, sealed: int, stands: int) -> Finding:
        what = f"what was sealed at {sealed} stands at {stands}"
        if sealed > stands:
            return self._found("removed", f"{sealed - stands} missing: {what}")
        if sealed < stands:
            return self._found("inserted", f"{stands - sealed} too many: {what}")
        return self._found("changed", "its bytes do not come to its hash")

    def _by_rules(self) -> Finding:
        """What the rules miss tells of a removed event, where the one that stands here is whole."""
        if self._is_strange():
            return self._found("changed", "its body is of another stream")
        broken = self._around.replay()
        if broken is None:
            return self._found("changed", "its bytes do not come to its hash")
        if broken.kind in ("removed", "cut-tail"):
            return self._found("removed", f"before what stands here: {broken.detail}")
        if broken.kind == "inserted" and broken.position == self._place:
            return self._found("inserted", broken.detail)
        return self._found("changed", f"its bytes do not come to its hash; {broken.detail}")

    def _is_strange(self) -> bool:
        """Returns whether the body does not name what its stream is called after."""
        try:
            body = msgspec.json.decode(self._row.state)
        except (msgspec.MsgspecError, UnicodeError):
            return True
        kind, *named = parts(self._row.stream)
        known = named or kind == "sweep"
        return not (known and isinstance(body, dict) and {*named} <= {*map(str, body.values())})

    def _rows(self, after: int | None) -> Iterator[EventRow]:
        """Reads what can be read."""
        try:
            for row in self._around.events(after):
                if not odd(row):
                    yield EventRow(*row)
        except PersistenceError:
            return


def odd(row: Row) -> str:
    """Returns the column that holds what no book writes there, empty for none."""
    for column, value, shape in zip(COLUMNS, row, SHAPE, strict=True):
        if not isinstance(value, shape):
            return column
    return "" if len(row[-1]) == len(GENESIS) else "hash"


def _one_byte_else(body: bytes, masks: Iterable[int]) -> Iterator[bytes]:
    """Yields what a text may have been before one byte of it was changed; nothing for a long one."""
    places = range(len(body)) if len(body) <= LONGEST_TRIED else ()
    for mask in masks:
        for place in places:
            yield b"%b%c%b" % (body[:place], body[place] ^ mask, body[place + 1 :])


def _difference(column: str, was: object, found: object) -> str:
    if not isinstance(was, bytes) or not isinstance(found, bytes):
        return f"its {column} was {was!r} and is {found!r}"
    place = next(n for n, (a, b) in enumerate(zip(was, found, strict=True)) if a != b)
    return f"byte {place + 1} of its body was {_shown(was[place])} and is {_shown(found[place])}"


def _shown(byte: int) -> str:
    return repr(chr(byte)) if 32 <= byte < 127 else f"0x{byte:02x}"
