"""The hash chain: each event's hash covers its predecessor's, so that no past can be changed alone.

hash = SHA-256(previous hash ‖ stream ‖ 0 ‖ version ‖ 0 ‖ topic ‖ 0 ‖ stored body); names are UTF-8,
the version is decimal, 0 is a zero byte (which no name can hold), and before the first event
stand 32 zero bytes.
"""

from hashlib import sha256
from typing import NamedTuple

GENESIS = bytes(32)


class Head(NamedTuple):
    """The last event of a book: its position, from 1 (0 is an empty book), and its hash."""

    position: int = 0
    hash: bytes = GENESIS


def link(previous: bytes, stream: str, version: int, topic: str, state: bytes) -> bytes:
    """Returns the hash of an event that follows the event with the hash `previous`."""
    named = f"{stream}\0{version}\0{topic}\0".encode()
    return sha256(previous + named + state).digest()
