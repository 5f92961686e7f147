"""What the rules of either book are made of: what breaks one, and state that takes little room."""

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from ledger.event import Event
from ledger.money import MOST_SUM
from ledger.projection import Row
from ledger.reader import LONGEST_ID, is_id

PAGE = 1000

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_pack = msgspec.msgpack.Encoder().encode


class Violation(Exception):
    """An event breaks a rule of its book; the text says which."""


class Missing(Violation):
    """Something is not there that the event goes on from."""


class Repeated(Violation):
    """The event takes a place that is taken."""


class Digest:
    """64 bits that stand for a text, a key or a row, and that nobody can foresee."""

    def __init__(self, secret: bytes = b"") -> None:
        """Without a secret it is quick, and another one in every process."""
        foreseen = os.environ.get("PYTHONHASHSEED", "random") != "random"
        self.secret = secret or (os.urandom(16) if foreseen else b"")
        self.text: Callable[[str], int] = self._keyed if self.secret else hash
        self.key: Callable[[Row], int] = self._keyed if self.secret else hash

    @classmethod
    def lasting(cls) -> "Digest":
        """Returns one that another process can go on with: it needs its secret."""
        return cls(os.urandom(16))

    def rows(self, rows: Iterable[Row]) -> Iterator[int]:
        """Yields what stands for each row where they are added up.

        Two tuples' own hashes often have the sum they had before they exchanged a value; their bytes' have not.
        """
        return map(self._keyed, rows) if self.secret else map(hash, map(_pack, rows))

    def _keyed(self, value: object) -> int:
        hashed = blake2b(_pack(value), digest_size=8, key=self.secret).digest()
        return int.from_bytes(hashed, signed=True)


class Total(msgspec.Struct):
    """How many rows there are, and a sum over them that does not depend on their order."""

    rows: int = 0
    sum: int = 0

    def add(self, digests: Sequence[int]) -> None:
        self.rows += len(digests)
        self.sum = (self.sum + sum(digests)) & MOST_SUM

    def over(self, digests: Iterable[int]) -> "Total":
        """Returns the total, with these."""
        digests = iter(digests)
        while some := [*islice(digests, PAGE)]:
            self.add(some)
        return self


class States(Generic[K, T]):
    """Many states of one kind: those of late as they are, the others packed into bytes."""

    def __init__(
        self, kind: type[T], digest: Callable[[K], int], packed: dict[int, bytes] | None = None
    ) -> None:
        """`digest`: of a key, under which its state is packed."""
        self.used: dict[K, T] = {}
        """Those that were asked for since the last rest."""
        self._before: dict[K, T] = {}
        self._digest = digest
        self._packed = {} if packed is None else packed
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def __contains__(self, key: K) -> bool:
        return key in self.used or key in self._before or self._digest(key) in self._packed

    def get(self, key: K) -> T | None:
        """Returns a state."""
        found = self.used.get(key) or self._before.pop(key, None)
        if found is None and (packed := self._packed.get(self._digest(key))):
            found = self._decode(packed)
        if found is not None:
            self.used[key] = found
        return found

    def put(self, key: K, state: T) -> None:
        """Keeps a state, in place of the one it was."""
        self.used[key] = state

    def rest(self) -> None:
        """Packs what was not asked for since the last rest."""
        packed = map(self._encode, self._before.values())
        self._packed.update(zip(map(self._digest, self._before), packed, strict=True))
        self._before, self.used = self.used, {}

    def packed(self) -> dict[int, bytes]:
        """Returns every state, packed."""
        self.rest()
        self.rest()
        return self._packed

    def states(self) -> Iterator[T]:
        """Yields every state."""
        return map(self._decode, self.packed().values())


Check = Callable[[str, int, Any], str | None]
"""Takes stream, version and event into the state. Raises Violation.

Returns the stream of the next event, where the same command decided it: it stands next, and is of the same time.
"""


class Turn(NamedTuple):
    """What an event leaves to the next one: its time, and the stream of which that has to be, if any.

    Where a book ends it may be to come: a copy that is under way ends anywhere.
    """

    recorded_at: str = ""
    due: str | None = None

    def next(self, check: Check, stream: str, version: int, event: Event) -> "Turn":
        """Takes an event into the state that a check is of. Raises Violation."""
        if self.due and stream != self.due:
            raise self.missing()
        due = check(stream, version, event)
        if self.due and event.recorded_at != self.recorded_at:
            raise Violation("is of another time than the event before, which it was decided with")
        return Turn(event.recorded_at, due)

    def missing(self) -> Missing:
        """Returns what to say where nothing of the stream that is due comes."""
        return Missing(f"an event of {self.due} is missing: it was decided with the one before")


class Rules(Protocol):
    """Everything that must hold of one party's book, event by event, in the order of the book."""

    @property
    def checks(self) -> Mapping[str, Check]:
        """By topic."""

    def rest(self) -> None:
        """Makes itself small; called now and then."""

    def finish(self) -> Mapping[str, Total]:
        """Returns what the tables must come to. Raises Violation where the sums do not add up."""

    def total(self, table: str, rows: Iterable[Row]) -> Total:
        """Returns what a table's stored rows come to."""

    def taken_twice(self) -> frozenset[int]:
        """Returns digests of references that more than one event took; empty as a rule."""

    def saved(self) -> bytes:
        """Returns the state, to go on from in another process."""


def follow(found: int, last: int, of: str) -> None:
    """Checks that a version follows the last one. Raises Missing, Repeated."""
    if found > last + 1:
        raise Missing(f"version {last + 1} of {of} is missing: {found} comes next")
    if found <= last:
        raise Repeated(f"version {found} of {of} comes again")


def hold(condition: object, broken: str) -> None:
    """Checks a rule; `broken` says what an event does that breaks it. Raises Violation."""
    if not condition:
        raise Violation(broken)


def well_named(check: Check, stream: str, version: int, event: Event) -> str | None:
    """Checks an event, and that all that it names has an id such as a call may bring. Raises Violation."""
    for field in _ids(type(event)):
        named = getattr(event, field)
        if named is not None and not is_id(named):
            rule = f"1 to {LONGEST_ID} printable characters"
            raise Violation(f"names the {field} {named[:LONGEST_ID]!r}, which is not {rule}")
    return check(stream, version, event)


@cache
def _ids(kind: type[Event]) -> tuple[str, ...]:
    return tuple(field for field in kind.__struct_fields__ if field in _IDS)


_IDS = (
    "operator",
    "provider",
    "round",
    "user",
    "currency",
    "game",
    "session",
    "reference",
    "campaign",
    "campaign_type",
)
