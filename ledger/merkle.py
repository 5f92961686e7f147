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

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Adds many leaves, a level of the tree at a time: `append`, without a call a leaf."""
        # hashed here and not by `leaf` and `node`: a call a leaf is what this spares
        level = [sha256(b"\0" + data).digest() for data in leaves]
        peaks, size = self.peaks, self.size
        self.size += len(leaves)
        grown: list[bytes] = []
        while level or size:
            if size & 1:
                level.insert(0, peaks.pop())
            if len(level) & 1:
                grown.append(level.pop())
            pairs = iter(level)
            level = [
                sha256(b"\1" + left + right).digest()
                for left, right in zip(pairs, pairs, strict=True)
            ]
            size >>= 1
        self.peaks = grown[::-1]

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


Ways = dict[int, list[Step]]
"""The ways from leaves to the root, from the leaf up, by the leaves' indexes, from 0."""


class _Peak(NamedTuple):
    """A subtree's root, and the leaves below it whose ways are asked for."""

    root: bytes
    asked: tuple[int, ...]


def prove(leaves: Iterable[tuple[bytes, bool]]) -> Ways:
    """Returns the ways of the leaves that are asked for, which each leaf says; reads them once."""
    ways: Ways = {}
    peaks: list[_Peak] = []
    for index, (data, asked) in enumerate(leaves):
        grown, size = _Peak(leaf(data), (index,) if asked else ()), index
        ways.update({index: []} if asked else {})
        while size & 1:
            grown, size = _joined(peaks.pop(), grown, ways), size >> 1
        peaks.append(grown)
    while len(peaks) > 1:
        right = peaks.pop()
        peaks.append(_joined(peaks.pop(), right, ways))
    return ways


def _joined(left: _Peak, right: _Peak, ways: Ways) -> _Peak:
    """Returns the subtree over two; the ways below go on with each other's root."""
    for index in left.asked:
        ways[index].append(Step(left=False, hash=right.root))
    for index in right.asked:
        ways[index].append(Step(left=True, hash=left.root))
    return _Peak(node(left.root, right.root), left.asked + right.asked)
