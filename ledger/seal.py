"""Seals: a book's head, signed, so that a rewritten past or a cut tail contradicts what an auditor kept.

A seal says: at this position the chain's hash and the Merkle root (RFC 9162, a leaf an event) were
these, at this time. It is signed with Ed25519 over the text that `covered` returns. A seal that names
a `next_key` hands over to it: whoever trusts the first key can follow every rotation.
"""

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.merkle import Tree
from ledger.store.chain import Head


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A signed head. Hashes, keys and signature are hexadecimal; `key` is the public key.

    `peaks` are the roots of the complete subtrees, the largest first: from them the tree goes on. The
    signature covers them through the root, to which they come. `sealed_at` is never before that of the
    seal before it, whatever a clock said.
    """

    position: int
    hash: str
    root: str
    peaks: list[str]
    sealed_at: str
    key: str
    signature: str
    next_key: str = ""

    @property
    def handover(self) -> str:
        """What a seal that names a `next_key` says of its own."""
        return f"handed over to {self.next_key} at position {self.position}"


class KeyWrong(Exception):
    """A key file cannot be used; the text says why, never what is in it."""


class Signer:
    """Signs heads with one private key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = _hex(private.public_key())

    def seal(self, head: Head, tree: Tree, *, at: str, next_key: str = "") -> Seal:
        """Returns the seal of a head whose events are in the tree; `at` is the time."""
        assert tree.size == head.position
        unsigned = Seal(
            position=head.position,
            hash=head.hash.hex(),
            root=tree.root.hex(),
            peaks=[peak.hex() for peak in tree.peaks],
            sealed_at=at,
            key=self.key,
            signature="",
            next_key=next_key,
        )
        signature = self._private.sign(covered(unsigned)).hex()
        return msgspec.structs.replace(unsigned, signature=signature)


def covered(seal: Seal) -> bytes:
    """Returns what the signature covers: lines of text, the first one naming the format."""
    lines = ("roundbook seal 1", seal.position, seal.hash, seal.root, seal.sealed_at)
    return "\n".join(map(str, (*lines, seal.key, seal.next_key))).encode()


def is_signed(seal: Seal) -> bool:
    """Returns whether the signature is that of the key the seal names, and the peaks come to its root."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal.key))
        public.verify(bytes.fromhex(seal.signature), covered(seal))
        peaks = [bytes.fromhex(peak) for peak in seal.peaks]
    except (ValueError, InvalidSignature):
        return False
    return len(peaks) == seal.position.bit_count() and (
        Tree(seal.position, peaks).root.hex() == seal.root
    )


def trusted(seals: Iterable[Seal], key: str) -> Mapping[str, str]:
    """Returns every key that may have signed, from the one that is trusted, by the seal's handing over.

    The value is the time from which a key counts, empty for the first; until when, `retire` says.
    Seals in the order they were made.
    """
    keys, counting = {key: ""}, key
    for seal in seals:
        if seal.next_key and seal.key == counting and is_signed(seal):
            counting = seal.next_key
            keys.setdefault(counting, seal.sealed_at)
    return keys


def retire(keys: Mapping[str, Seal], seal: Seal) -> Mapping[str, Seal]:
    """Returns the keys that count no more once a seal was made, each with the seal in which it handed over.

    `keys`: those that did not count before. One that is handed over to again counts again.
    """
    if not seal.next_key or seal.key in keys or not is_signed(seal):
        return keys
    after = {**keys, seal.key: seal}
    after.pop(seal.next_key, None)
    return after


def retired(seals: Iterable[Seal]) -> Mapping[str, Seal]:
    """Returns what `retire` comes to over seals in the order they were made."""
    keys: Mapping[str, Seal] = {}
    for seal in seals:
        keys = retire(keys, seal)
    return keys


# key files


def new_key() -> bytes:
    """Returns a new private key as a PEM text, unencrypted: the file's mode has to protect it."""
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signer(pem: bytes) -> Signer:
    """Returns who signs with a key file's key. Raises KeyWrong."""
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyWrong("is no unencrypted private key in PEM") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyWrong("is no Ed25519 key")
    return Signer(private)


def _hex(public: Ed25519PublicKey) -> str:
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw).hex()
