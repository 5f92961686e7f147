"""Seals a book as it grows: every so many events, or after a while where there are fewer."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from ledger.merkle import Tree
from ledger.moments import moment, text, utc_now
from ledger.seal import Seal, Signer, is_signed
from ledger.store import Record, Store
from ledger.store.chain import GENESIS, Head, link

PAGE = 1000
LOOK_EVERY_S = 1.0


class SealContradicted(Exception):
    """The book is not the one that was sealed; the text says where."""


def seals_of(store: Store) -> list[Seal]:
    """Returns a book's seals, in the order they were made. Raises SealContradicted."""
    return [_read(seal) for seal in store.seals()]


def _read(seal: bytes) -> Seal:
    try:
        return msgspec.json.decode(seal, type=Seal)
    except msgspec.MsgspecError as error:
        raise SealContradicted(f"a seal of the book cannot be read: {error}") from error


class Sealer:
    """Seals one book with one key. `file`: one that the auditor may keep elsewhere, a line a seal."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        every_events: int = 1,
        every_s: float = 0,
        file: Path | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store, self._signer = store, signer
        self._every_events, self._every_s = every_events, every_s
        self._file, self._now = file, now

    def seal_if_due(self) -> Seal | None:
        """Returns a new seal where enough events came, or the last one is old; else None.

        Raises SealContradicted as `seal` does, and wherever the book has become shorter.
        """
        last = self._last()
        news = self._store.head().position - (last.position if last else 0)
        waited = (self._now() - moment(last.sealed_at)).total_seconds() if last else self._every_s
        if news < 0 or news >= self._every_events or (news and waited >= self._every_s):
            return self.seal()
        return None

    def seal(self, *, next_key: str = "") -> Seal | None:
        """Returns a new seal of the head, kept in the book and in the file; None where nothing is new.

        `next_key` hands over to another key. That is sealed in any case, and so is the first seal of
        the key that was handed over to; only in an empty book there is nothing to seal.
        Raises SealContradicted where the book is not the one that was sealed before.
        """
        last, head = self._last(), self._store.head()
        if last:
            self._check(last, head)
        if not self._is_needed(last, head, next_key):
            return None
        tree = self._grown(last, head.position)
        made = self._signer.seal(head, tree, at=text(self._now()), next_key=next_key)
        body = msgspec.json.encode(made)
        self._store.add_seal(head.position, body)
        if self._file:
            with self._file.open("ab") as out:
                out.write(body + b"\n")
        return made

    def _last(self) -> Seal | None:
        last = self._store.last_seal()
        return _read(last) if last else None

    def _is_needed(self, last: Seal | None, head: Head, next_key: str) -> bool:
        if last and head.position == last.position:
            return bool(next_key) or last.next_key == self._signer.key
        return head.position > 0

    def _check(self, last: Seal, head: Head) -> None:
        if not is_signed(last):
            raise SealContradicted(f"the last seal, at {last.position}, is forged")
        if head.position < last.position:
            raise SealContradicted(
                f"the book ends at {head.position}, before its last seal, at {last.position}"
            )
        (sealed,) = self._store.records(after=last.position - 1, limit=1)
        if sealed.hash.hex() != last.hash:
            raise SealContradicted(f"the event at {last.position} is not the one that was sealed")

    def _grown(self, last: Seal | None, position: int) -> Tree:
        """Returns the tree over all events up to a position, going on from the last seal.

        What is new has to be chained to what was sealed: nothing else gets a signature.
        """
        tree, previous = Tree(), GENESIS
        if last:
            tree = Tree(last.position, [bytes.fromhex(peak) for peak in last.peaks])
            previous = bytes.fromhex(last.hash)
        for record in self._records(after=tree.size, upto=position):
            if record.id != tree.size + 1 or record.hash != _linked(previous, record):
                raise SealContradicted(f"the chain is broken at {tree.size + 1}")
            tree.append(record.hash)
            previous = record.hash
        if tree.size != position:
            raise SealContradicted(f"the book was cut at {tree.size} while it was sealed")
        return tree

    def _records(self, *, after: int, upto: int) -> Iterator[Record]:
        while after < upto:
            page = self._store.records(after=after, limit=min(PAGE, upto - after))
            if not page:
                return
            yield from page
            after = page[-1].id


def _linked(previous: bytes, record: Record) -> bytes:
    stream = str(record.originator_id)
    return link(previous, stream, record.originator_version, record.topic, record.state)
