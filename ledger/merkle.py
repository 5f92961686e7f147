"""The Merkle tree over a book's events, a leaf an event, hashed as RFC 9162 has it.

Only the peaks are kept: the roots of the complete subtrees that cover all leaves, the largest first.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from operator import add
from typing import Any, NamedTuple

_LEAF, _NODE = sha256(b"\0").copy, sha256(b"\1").copy
"""Begin a leaf's hash and a node's: a copy costs less than a new one."""


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
        level = _hashed(_LEAF, leaves)
        peaks, size = self.peaks, self.size
        self.size += len(leaves)
        grown: list[bytes] = []
        while level or size:
            if size & 1:
                level.insert(0, peaks.pop())
            if len(level) & 1:
                grown.append(level.pop())
            level = _hashed(_NODE, map(add, level[::2], level[1::2]))
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


def _hashed(begin: Callable[[], Any], some: Iterable[bytes]) -> list[bytes]:
    """Returns the hash of each, behind what it begins with: what `leaf` and `node` do, without a call each."""
    hashes = []
    for data in some:
        hashed = begin()
        hashed.update(data)
        hashes.append(hashed.digest())
    return hashes


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
