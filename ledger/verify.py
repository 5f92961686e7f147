"""Walks a whole book in a stream and checks all that must hold: chain, rules, seals, tables.

What it finds first is the first thing that is wrong. It reads nothing by itself, and keeps little.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import NamedTuple, NoReturn

import msgspec
from eventsourcing.persistence import PersistenceError

from ledger import moments
from ledger.counted import many
from ledger.mapper import Inexact, Mapper, Unreadable
from ledger.merkle import Tree
from ledger.projection import Row
from ledger.rebuild import RowDifference, without_collector
from ledger.seal import Seal
from ledger.store import NoText
from ledger.store.chain import GENESIS, Head, link
from ledger.verify_breaks import Around, Finding, Kind, diagnose, odd
from ledger.verify_rules import Digest, Missing, Repeated, Rules, Total, Turn, Violation
from ledger.verify_seals import Sealed, Seals

BATCH = 256
"""So few events are handled together that they stay in the processor's cache."""

REST_EVERY = 1024
NEXT_SEALS = 64
SHOWN = 3

NOT_WRITTEN_BY_A_BOOK = (AttributeError, TypeError, UnicodeError)
"""What reading a row comes to whose columns are of other types, or no UTF-8."""


class Readable(NamedTuple):
    """A book as it is read, again at every call."""

    events: Callable[[int | None], Iterable[Row]]
    """Position, stream, version, topic, body, hash, in order; behind a position, where one is given."""
    tables: Callable[[str], Iterable[Row]] | None = None
    """A table's rows; None where the tables are not at hand."""
    differences: Callable[[], list[RowDifference]] = list
    """What of the tables is not what the events make, row by row."""
    altered: Callable[[], str] = str
    """What keeps the rows, where it is not as a book makes it."""
    head: Head | None = None
    """What is said to be the last event, where somebody else reads the book for us."""


class Side(NamedTuple):
    """Whose book it is: how its events are read, and its rules."""

    mapper: Mapper
    rules: Callable[[Digest, bytes, frozenset[int]], Rules]
    """Made from a digest, what was saved of them, and the references to watch."""
    bodies: bool = False
    """Whether both look at all that bodies say, which takes longer."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a book was verified, and what is needed to go on from there."""

    position: int
    hash: bytes
    peaks: list[bytes]
    seals: int
    sealed: bytes
    """A fingerprint of the seals so far, and of the keys that are trusted."""
    last_seal: Seal | None
    secret: bytes
    rules: bytes
    turn: Turn
    bodies: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `seals` were checked and hold; `before`: so many events were verified before."""

    holds: bool
    events: int = 0
    seals: int = 0
    head: str = ""
    keys_checked: bool = False
    tables_checked: bool = False
    bodies_checked: bool = False
    before: int = 0
    finding: Finding | None
    last_good_seal: Seal | None = None


class _Found(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.detail)
        self.finding = finding


class Verification:
    """One verification of one book."""

    def __init__(
        self,
        book: Readable,
        side: Side,
        seals: Seals,
        *,
        progress: Progress | None = None,
        lasting: bool = False,
        tell: Callable[["Verification"], None] = lambda _: None,
    ) -> None:
        """`lasting`: it may be saved; `tell` is called now and then, with this, between two events."""
        self._book, self._side, self._seals, self._tell = book, side, seals, tell
        self._lasting = lasting
        lasts = Digest(progress.secret) if progress else Digest.lasting()
        self._digest = lasts if lasting else Digest()
        self._saved = progress.rules if progress else b""
        self._rules = side.rules(self._digest, self._saved, frozenset())
        self._rested = self._start = self.position = progress.position if progress else 0
        self._hash = progress.hash if progress else GENESIS
        self._tree = Tree(self.position, progress.peaks if progress else ())
        self._count = progress.seals if progress else 0
        self._good = progress.last_seal if progress else None
        self._turn = self._begun = progress.turn if progress else Turn()
        self._grows, self._named = True, _Topics()

    def run(self) -> Verdict:
        """Returns what was found."""
        found: Finding | None = None
        try:
            with without_collector():
                self._check_start()
                self._walk()
                self._check_end()
                self._check_schema()
        except _Found as reason:
            found = self._first(reason.finding)
        except PersistenceError as error:
            found = Finding(kind="unreadable", detail=f"the book cannot be read: {error}")
        except OverflowError:
            detail = "a sum is more than a book can hold"
            found = Finding(kind="invariant", upto=self.position, detail=detail)
        return Verdict(
            holds=found is None,
            events=self.position,
            seals=self._count,
            head=self._hash.hex(),
            keys_checked=self._seals.keys_checked,
            tables_checked=self._book.tables is not None,
            bodies_checked=self._side.bodies,
            before=self._start,
            finding=found,
            last_good_seal=self._good,
        )

    def progress(self) -> Progress:
        """Returns how far it is, to go on from there; only of one that is lasting."""
        assert self._lasting
        return Progress(
            position=self.position,
            hash=self._hash,
            peaks=[*self._tree.peaks],
            seals=self._count,
            sealed=self._seals.fingerprint(upto=self.position),
            last_seal=self._good,
            secret=self._digest.secret,
            rules=self._rules.saved(),
            turn=self._turn,
            bodies=self._side.bodies,
        )

    # the walk

    def _check_start(self) -> None:
        """What was verified before must still be there."""
        if not self._start:
            return
        for position, *_, hashed in self._book.events(self._start - 1):
            if (position, hashed) == (self._start, self._hash):
                return
            self._fail("rewritten", "is not the event that was verified before", self._start)
        verb = "was" if self._start == 1 else "were"
        detail = f"{many(self._start, 'event')} {verb} verified before"
        self._fail("cut-tail", detail, self._last() + 1)

    def _last(self) -> int:
        """Returns the last position there is."""
        return max((row[0] for row in self._book.events(None)), default=0)

    def _walk(self) -> None:
        rows = iter(self._book.events(self._start or None))
        for position, group in self._seals.groups():
            if position > self._start or position < 1:
                while self.position < position and self._step(rows, position - self.position):
                    if self.position < position:
                        self._tell(self)
                self._check_seals(position, group)
                self._tell(self)
        self._grows = self._lasting
        while self._step(rows, BATCH):
            self._tell(self)

    def _step(self, rows: Iterator[Row], most: int) -> int:
        """Checks the next events; returns how many."""
        some: list[Row] = []
        try:
            some.extend(islice(rows, min(most, BATCH)))
        except PersistenceError as error:
            self._take(some)
            self._unreadable(error)
        self._take(some)
        return len(some)

    def _take(self, some: list[Row]) -> None:
        hashes = [row[-1] for row in some]
        good = self._linked(some, hashes)
        torn = some[good - 1] if good < len(some) else None
        self._obey(some[:good], hashes[:good], torn)
        if good < len(some):
            self._broken(some[good])

    def _linked(self, some: list[Row], hashes: list[bytes]) -> int:
        """Returns how many of the rows stand in their place in the chain."""
        first = self.position + 1
        try:
            linked = _links(some, [self._hash, *hashes], self._named)
        except NOT_WRITTEN_BY_A_BOOK:
            linked = []
        if linked == hashes and [row[0] for row in some] == [*range(first, first + len(some))]:
            return len(some)
        return self._first_unlinked(some)

    def _first_unlinked(self, some: list[Row]) -> int:
        previous = self._hash
        for number, (position, stream, version, topic, state, hashed) in enumerate(some):
            try:
                right = link(previous, stream, version, topic, state)
            except NOT_WRITTEN_BY_A_BOOK:
                return number
            if position != self.position + 1 + number or hashed != right:
                return number
            previous = right
        return len(some)

    def _obey(self, some: list[Row], hashes: list[bytes], torn: Row | None) -> None:
        """Takes events whose chain holds into the state; each must obey the rules.

        `torn`: behind which the chain breaks, None where it does not; it may be what was inserted.
        """
        decoders, checks = self._side.mapper.decoders, self._rules.checks
        recorded_at, due = self._turn
        row = None
        try:
            for row in some:
                _, stream, version, topic, state, _ = row
                event = decoders[topic](state)
                if due and (stream != due or event.recorded_at != recorded_at) and row is not torn:
                    Turn(recorded_at, due).next(checks[topic], stream, version, event)
                if event.recorded_at != recorded_at or not recorded_at:
                    recorded_at = moments.checked(event.recorded_at)
                due = checks[topic](stream, version, event)
        except (Violation, Unreadable, ValueError, RecursionError) as error:
            assert row
            self._pass(hashes[: row[0] - 1 - self.position])
            raise _Found(_misdeed(error, row[0], topic)) from error
        except TypeError:
            column = odd(row) if row else ""
            if not (row and column):
                raise
            self._pass(hashes[: row[0] - 1 - self.position])
            self._fail("changed", f"its {column} is not what a book holds there", row[0])
        self._turn = Turn(recorded_at, due)
        self._pass(hashes)
        if self._grows:
            self._tree.extend(hashes)
        if self.position - self._rested >= REST_EVERY:
            self._rules.rest()
            self._rested = self.position

    def _pass(self, hashes: list[bytes]) -> None:
        self.position += len(hashes)
        self._hash = hashes[-1] if hashes else self._hash

    # where something is wrong

    def _fail(
        self, kind: Kind, detail: str, first: int | None, upto: int | None = None
    ) -> NoReturn:
        raise _Found(Finding(kind=kind, position=first, upto=upto or first, detail=detail))

    def _unreadable(self, error: PersistenceError) -> NoReturn:
        text = isinstance(error, NoText)
        self._fail(
            "changed" if text else "unreadable",
            "its text is not UTF-8" if text else f"cannot be read: {error}",
            self.position + 1,
        )

    def _broken(self, row: Row) -> NoReturn:
        around = Around(
            place=self.position + 1,
            previous=self._hash,
            row=row,
            events=self._book.events,
            topics=self._rules.checks,
            seals=self._next_seals(),
            replay=self._replay,
        )
        raise _Found(diagnose(around))

    def _next_seals(self) -> dict[bytes, int]:
        """Returns the positions of the good seals ahead, by the hash each says is there."""
        ahead = (
            each.seal
            for position, group in self._seals.groups()
            for each in group
            if position > self.position and each.seal and not each.flaw
        )
        return {bytes.fromhex(seal.hash): seal.position for seal in islice(ahead, NEXT_SEALS)}

    def _replay(self) -> Finding | None:
        """Returns what the rules say of the events from here on, the chain aside."""
        try:
            rows = self._book.events(self.position)
            self._follow(self._rules, rows, self.position, self._turn)
            self._check_end()
        except _Found as reason:
            if reason.finding.kind == "table" and all(map(_is_ahead, self._book.differences())):
                return msgspec.structs.replace(reason.finding, kind="removed")
            return reason.finding
        except PersistenceError:
            return None
        return None

    def _first(self, finding: Finding) -> Finding:
        """Returns a reference that was taken twice before what was found, else what was found."""
        self._rules.rest()
        twice = self._rules.taken_twice()
        if not twice:
            return finding
        rules = self._side.rules(self._digest, self._saved, twice)
        before = (finding.position or self.position + 1) - 1 - self._start
        try:
            events = islice(self._book.events(self._start or None), max(0, before))
            self._follow(rules, events, self._start, self._begun)
        except _Found as reason:
            return reason.finding
        return finding

    def _follow(self, rules: Rules, events: Iterable[Row], position: int, turn: Turn) -> None:
        """Takes the events behind a position into rules' state, whatever the chain says."""
        for place, (_, stream, version, topic, state, _) in enumerate(events, position + 1):
            try:
                event = self._side.mapper.decode(topic, state)
                turn = turn.next(rules.checks[topic], stream, version, event)
            except NOT_WRITTEN_BY_A_BOOK as error:
                self._fail("changed", f"cannot be read: {error}", place)
            except (Violation, Unreadable, ValueError) as error:
                raise _Found(_misdeed(error, place, topic)) from error
            if place % REST_EVERY == 0:
                rules.rest()

    # seals

    def _check_seals(self, position: int, group: list[Sealed]) -> None:
        for sealed in group:
            if sealed.flaw or sealed.seal is None:
                self._fail("seal", f"{sealed.named} {sealed.flaw}", position)
            self._check_seal(sealed.named, sealed.seal)
        inside = [sealed.seal for sealed in group if not sealed.kept]
        for sealed in group:
            if sealed.kept and sealed.seal not in inside:
                self._fail("seal", f"{sealed.named} is not in the book", position)
            self._good = sealed.seal
        self._count += len(inside)

    def _check_seal(self, named: str, seal: Seal) -> None:
        if self.position < seal.position:
            detail = f"{named} was made of {many(seal.position, 'event')} at {seal.sealed_at}"
            self._fail("cut-tail", detail, self.position + 1, seal.position)
        if seal.hash != self._hash.hex():
            first, upto = self._rewritten(seal)
            self._fail(
                "rewritten",
                f"{named} was made of other events: the chain is a new one",
                first,
                upto,
            )
        if seal.root != self._tree.root.hex():
            self._fail("seal", f"{named} has a root that is not that of the events", seal.position)

    def _rewritten(self, seal: Seal) -> tuple[int, int]:
        """Returns between which positions events differ from what was sealed: the first subtree that does."""
        sealed, start = self._good.position if self._good else 0, 0
        sizes = [
            1 << bit for bit in range(seal.position.bit_length())[::-1] if seal.position >> bit & 1
        ]
        for size, ours, theirs in zip(sizes, self._tree.peaks, seal.peaks, strict=True):
            if ours.hex() != theirs:
                return max(sealed, start) + 1, start + size
            start += size
        return sealed + 1, seal.position

    # the end

    def _check_end(self) -> None:
        self._check_head()
        try:
            totals = self._rules.finish()
        except Violation as broken:
            self._fail("invariant", str(broken), None)
        if self._rules.taken_twice():
            self._fail("invariant", "a reference is taken twice", None)
        if self._book.tables:
            for table, total in totals.items():
                self._check_table(table, total, self._book.tables)

    def _check_head(self) -> None:
        """Who reads the book for us must give all of what it says there is."""
        head = self._book.head or Head(self.position, self._hash)
        if self.position < head.position:
            said = f"the head is said to be at {head.position}"
            self._fail("cut-tail", said, self.position + 1, head.position)
        if self._hash != head.hash:
            self._fail("changed", "is not the event that is said to be the head", self.position)

    def _check_schema(self) -> None:
        """What is read by scans alone may be hidden from who looks it up by key."""
        altered = self._book.altered()
        if altered:
            self._fail("schema", altered, None)

    def _check_table(
        self, table: str, total: Total, tables: Callable[[str], Iterable[Row]]
    ) -> None:
        try:
            stored = self._rules.total(table, tables(table))
        except (PersistenceError, ValueError, TypeError, OverflowError) as error:
            self._fail("table", f"{table} cannot be read: {error}", None)
        if stored != total:
            raise _Found(_differing(table, self._book.differences()))


def _misdeed(error: Exception, position: int, topic: str) -> Finding:
    kind: Kind = "invariant"
    detail = str(error)
    if isinstance(error, (ValueError, RecursionError)):
        kind, detail = "unreadable", f"{topic}: {error}"
    elif isinstance(error, Unreadable) and not isinstance(error, Inexact):
        kind = "unreadable"
    elif isinstance(error, Missing):
        kind = "removed"
    elif isinstance(error, Repeated):
        kind = "inserted"
    return Finding(kind=kind, position=position, upto=position, detail=detail)


def _differing(table: str, found: list[RowDifference]) -> Finding:
    """Names rows; where several tables tell of more than there is, events are missing at the end."""
    if not found:
        detail = f"{table} is not what the events make, and its rows do not say where"
        return Finding(kind="table", detail=detail)
    ahead = all(map(_is_ahead, found)) and len({each.table for each in found}) > 1
    rows = "; ".join(
        f"{each.table} {' '.join(map(str, each.key))}: {each.stored}, the events make {each.derived}"
        for each in found[:SHOWN]
    )
    more = f"; and {many(len(found) - SHOWN, 'more row')}" if len(found) > SHOWN else ""
    if ahead:
        detail = f"the tables tell of events that are not there: {rows}{more}"
        return Finding(kind="cut-tail", detail=detail)
    return Finding(kind="table", detail=f"{rows}{more}")


def _is_ahead(difference: RowDifference) -> bool:
    """Returns whether a stored row may be what events that are not there made of the derived one."""
    if difference.stored is None or difference.derived is None:
        return difference.derived is None
    if difference.table == "wallets":
        version, derived = difference.stored[-1], difference.derived[-1]
        return isinstance(version, int) and version > derived
    return difference.table != "reference_index"


class _Named(dict[int, bytes]):
    """What the chain covers between stream and body of a topic's events, by version: made once for small ones."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def __missing__(self, version: int) -> bytes:
        named = f"\0{version}\0{self._topic}\0".encode()
        if version in _OFTEN:
            self[version] = named
        return named


class _Topics(dict[str, _Named]):
    def __missing__(self, topic: str) -> _Named:
        return self.setdefault(topic, _Named(topic))


_OFTEN = range(1, 64)


def _links(some: list[Row], before: list[bytes], named: _Topics) -> list[bytes]:
    """Returns the hash of each behind the one stored before it: what `link` does, in half its time."""
    return [
        sha256(b"".join((hashed, stream.encode(), named[topic][version], state))).digest()
        for hashed, (_, stream, version, topic, state, _) in zip(before, some, strict=False)
    ]
