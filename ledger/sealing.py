"""Seals a book as it grows: every so many events, or after a while where there are fewer."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from ledger.merkle import Tree
from ledger.moments import moment, text, utc_now
from ledger.seal import Seal, Signer
from ledger.store import Store

PAGE = 1000
LOOK_EVERY_S = 1.0


class SealContradicted(Exception):
    """The book is not the one that was sealed; the text says where."""


def seals_of(store: Store) -> list[Seal]:
    """Returns a book's seals, in the order they were made."""
    return [msgspec.json.decode(seal, type=Seal) for seal in store.seals()]


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
        """Returns a new seal where enough events came, or the last one is old; else None."""
        last = self._last()
        news = self._store.head().position - (last.position if last else 0)
        waited = (self._now() - moment(last.sealed_at)).total_seconds() if last else self._every_s
        if news >= self._every_events or (news and waited >= self._every_s):
            return self.seal()
        return None

    def seal(self, *, next_key: str = "") -> Seal | None:
        """Returns a new seal of the head, kept in the book and in the file; None where nothing is new.

        `next_key` hands over to another key, and is sealed in any case.
        Raises SealContradicted where the book is not the one that was sealed before.
        """
        last = self._last()
        head = self._store.head()
        if last and head.position < last.position:
            raise SealContradicted(f"the book ends before its last seal, at {last.position}")
        if not head.position or (last and head.position == last.position and not next_key):
            return None
        tree = self._grown(last, head.position)
        at = text(self._now())
        made = self._signer.seal(head, tree, at=at, next_key=next_key)
        body = msgspec.json.encode(made)
        self._store.add_seal(head.position, body)
        if self._file:
            with self._file.open("ab") as out:
                out.write(body + b"\n")
        return made

    def _last(self) -> Seal | None:
        last = self._store.last_seal()
        return msgspec.json.decode(last, type=Seal) if last else None

    def _grown(self, last: Seal | None, position: int) -> Tree:
        """Returns the tree over all events up to a position, going on from the last seal."""
        tree = Tree()
        if last:
            tree = Tree(last.position, [bytes.fromhex(peak) for peak in last.peaks])
            (sealed,) = self._store.records(after=last.position - 1, limit=1)
            if sealed.hash.hex() != last.hash:
                raise SealContradicted(
                    f"the event at {last.position} is not the one that was sealed"
                )
        while tree.size < position:
            limit = min(PAGE, position - tree.size)
            for record in self._store.records(after=tree.size, limit=limit):
                tree.append(record.hash)
        return tree
