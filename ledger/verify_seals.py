"""What must hold of seals: each is whole, signed by a key that counts, and in its order.

That a seal is of this very book is asked where the walk comes to its position.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple

import msgspec

from ledger.seal import Seal, is_signed, retire, trusted

Lines = Callable[[], Iterable[tuple[int, bytes]]]
"""Seals in the order they were made, again at every call: the position each is kept under, and its JSON."""


class Sealed(NamedTuple):
    """A seal as it was found: in the book, or kept elsewhere. `flaw`: what is wrong with it alone, or empty."""

    position: int
    kept: bool
    named: str
    seal: Seal | None
    flaw: str


class Seals:
    """A book's own seals, and those an auditor kept elsewhere."""

    def __init__(self, book: Lines, kept: Iterable[bytes], keys: Collection[str]) -> None:
        """`keys`: public ones that are trusted; without any, no key is checked."""
        self._book, self._kept = book, list(_placed(kept))
        self._keys: Mapping[str, str] = {}
        for key in keys:
            self._keys = {**trusted(self._handovers(), key), **self._keys, key: ""}

    @property
    def keys_checked(self) -> bool:
        return bool(self._keys)

    def groups(self) -> Iterator[tuple[int, list[Sealed]]]:
        """Yields the seals of a position together, by position; not in order is a flaw."""
        book, kept = self._judged(self._book(), kept=False), self._judged(self._kept, kept=True)
        for position, sealed in groupby(heapq.merge(book, kept, key=_position), key=_position):
            yield position, list(sealed)

    def fingerprint(self, *, upto: int) -> bytes:
        """Returns a hash over the seals up to a position, and the trusted keys."""
        hashed = sha256(msgspec.json.encode(sorted(self._keys)))
        for position, raw in heapq.merge(self._book(), self._kept, key=lambda line: line[0]):
            if position <= upto:
                hashed.update(raw + b"\n")
        return hashed.digest()

    def _handovers(self) -> Iterable[Seal]:
        """Returns the seals that hand over, in order, each once though it is in the book and was kept."""
        lines = heapq.merge(self._book(), self._kept, key=lambda line: line[0])
        read = {raw: seal for _, raw in lines if (seal := _handover(raw))}
        return read.values()

    def _judged(self, lines: Iterable[tuple[int, bytes]], *, kept: bool) -> Iterator[Sealed]:
        last = 0
        retired: Mapping[str, Seal] = {}
        for number, (position, raw) in enumerate(lines, 1):
            read = _read(raw)
            flaw = read if isinstance(read, str) else self._flaw(read, position, last)
            if not (flaw or kept or msgspec.json.encode(read) == raw):
                flaw = "is not written as it was made"
            if isinstance(read, Seal) and not kept:  # what was kept has to be in the book
                flaw = flaw or _too_late(read, retired)
                retired = retire(retired, read)
            last = max(last, position)
            named = f"line {number} of the seals that were kept" if kept else f"seal {number}"
            yield Sealed(last, kept, named, read if isinstance(read, Seal) else None, flaw)

    def _flaw(self, seal: Seal, position: int, last: int) -> str:
        if seal.position != position:
            return f"is of position {seal.position}, and kept under {position}"
        if position < max(last, 1):
            return f"is of position {position}, and stands behind {last}"
        if not is_signed(seal):
            return "is not signed by the key it names"
        if bytes.fromhex(seal.signature).hex() != seal.signature:
            return "is not written as it was made"
        if self._keys and seal.key not in self._keys:
            return f"is by the key {seal.key}, which is not trusted"
        if self._keys and seal.sealed_at < self._keys[seal.key]:
            return f"is by the key {seal.key}, before it counted"
        if [bytes.fromhex(peak).hex() for peak in seal.peaks] != seal.peaks:
            return "is not written as it was made"
        return ""


def _too_late(seal: Seal, retired: Mapping[str, Seal]) -> str:
    by = retired.get(seal.key)
    return f"is by the key {seal.key}, which had {by.handover}" if by else ""


def _handover(raw: bytes) -> Seal | None:
    seal = _read(raw)
    return seal if isinstance(seal, Seal) and seal.next_key else None


def _read(raw: bytes) -> Seal | str:
    """Returns the seal, or why it is none."""
    try:
        return msgspec.json.decode(raw, type=Seal)
    except (msgspec.MsgspecError, UnicodeError) as error:
        return f"cannot be read: {error}"


def _placed(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yields lines with the position they name; one that cannot be read stands where the last did."""
    position = 1
    for raw in lines:
        seal = _read(raw)
        position = position if isinstance(seal, str) else seal.position
        yield position, raw


def _position(sealed: Sealed) -> int:
    return sealed.position
