"""The Merkle tree over a book's events, a leaf an event, hashed as RFC 9162 has it.

Only the peaks are kept: the roots of the complete subtrees that cover all leaves, the largest first.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple


def leaf(data: bytes) -> bytes:
    """Returns a leaf's hash."""
    return sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Returns the hash of a node over two."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows; its memory grows with the logarithm of its size."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        assert len(peaks) == size.bit_count()
        self.size = size
        self.peaks = list(peaks)

    def append(self, data: bytes) -> None:
        """Adds a leaf."""
        grown, size = leaf(data), self.size
        while size & 1:
            grown, size = node(self.peaks.pop(), grown), size >> 1
        self.peaks.append(grown)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root over all leaves; of none, the hash of nothing."""
        if not self.peaks:
            return sha256(b"").digest()
        *rest, root = self.peaks
        for peak in reversed(rest):
            root = node(peak, root)
        return root


class Step(NamedTuple):
    """A sibling on the way from a leaf to the root; `left`: it stands before what was hashed so far."""

    left: bool
    hash: bytes


def prove(leaves: Iterable[bytes], *, index: int, size: int) -> list[Step]:
    """Returns the way from the leaf at `index`, from 0, to the root of `size` leaves; reads them once."""
    spans = _spans(index, size)
    trees = [Tree() for _ in spans]
    for place, data in enumerate(leaves):
        for (_, start, stop), tree in zip(spans, trees, strict=True):
            if start <= place < stop:
                tree.append(data)
    return [Step(left, tree.root) for (left, _, _), tree in zip(spans, trees, strict=True)]


def _spans(index: int, size: int) -> list[tuple[bool, int, int]]:
    """Returns the siblings' ranges, from the leaf up: whether it is the left one, its start, its end."""
    found: list[tuple[bool, int, int]] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + (1 << ((stop - start - 1).bit_length() - 1))
        if index < middle:
            found.append((False, middle, stop))
            stop = middle
        else:
            found.append((True, start, middle))
            start = middle
    return found[::-1]
