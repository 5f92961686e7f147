"""Seals a book as it grows: every so many events, or after a while where there are fewer."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import IO

import msgspec
from eventsourcing.persistence import IntegrityError

from ledger.merkle import Tree
from ledger.moments import moment, text, utc_now
from ledger.projection import Row
from ledger.seal import Seal, Signer, is_signed, retired
from ledger.store import SEALS, Record, Store
from ledger.store.chain import GENESIS, Head, link

LOOK_EVERY_S = 1.0


class SealContradicted(Exception):
    """The book is not the one that was sealed, or the key not the one that seals it; the text says where."""


class NoSealsFile(Exception):
    """What is to be the seals' file is another one; the text names it. It is left as it is."""


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
        self._file = _File(file) if file else None
        self._now = now
        self._met: tuple[Seal | None, datetime] = (None, now())
        """The last seal, and when we first saw it; by the clock as it stands since then."""
        self._handover: Seal | None = None

    @property
    def key(self) -> str:
        """The public key it seals with."""
        return self._signer.key

    def by_another(self) -> Seal | None:
        """Returns the last seal where that is by another key, which did not hand over to ours; else None.

        Raises SealContradicted.
        """
        last = self._last()
        return last if last and self.key not in (last.key, last.next_key) else None

    def seal_if_due(self) -> Seal | None:
        """Returns a new seal where enough events came, or the last one is old; else None.

        Raises SealContradicted as `seal` does, and wherever the book has become shorter.
        """
        last = self._last()
        news = self._store.head().position - (last.position if last else 0)
        waited = self._waited(last) if last else self._every_s
        if news < 0 or news >= self._every_events or (news and waited >= self._every_s):
            return self.seal()
        self._catch_up()
        return None

    def seal(self, *, next_key: str = "") -> Seal | None:
        """Returns a new seal of the head, kept in the book and in the file; None where nothing is new.

        `next_key` hands over to another key. That is sealed in any case, and so is the first seal of
        the key that was handed over to; only in an empty book there is nothing to seal. Where another
        sealer was first, what is left is sealed the next time.
        Raises SealContradicted where the book is not the one that was sealed before, or the file is not
        of this book, and where the key has handed over to another; NoSealsFile where that is another file.
        """
        self._catch_up()
        newest = self._store.last_seal()
        last, head = _read(newest) if newest else None, self._store.head()
        if last:
            self._check(last, head)
        if not self._is_needed(last, head, next_key):
            return None
        if last:
            self._check_key(last)
        tree = self._grown(last, head.position)
        now = text(self._now())
        # a key counts from the time at which it was handed over to: no clock that is set back may undo that
        at = max(now, last.sealed_at) if last else now
        made = self._signer.seal(head, tree, at=at, next_key=next_key)
        try:
            self._store.add_seal(head.position, msgspec.json.encode(made), after=newest)
        except IntegrityError:
            return self.seal(next_key=next_key) if next_key else None
        self._catch_up()
        return made

    def _waited(self, last: Seal) -> float:
        """Returns how many seconds old the last seal is; one of the future is as old as we know it."""
        now, (met, since) = self._now(), self._met
        if met != last or now < since:
            self._met = (last, now)
        return (now - min(moment(last.sealed_at), self._met[1])).total_seconds()

    def _catch_up(self) -> None:
        if self._file:
            self._file.catch_up(self._store)

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

    def _check_key(self, last: Seal) -> None:
        """Whose turn it is the last seal says; another key may begin, but not go on once it handed over."""
        key, known = self._signer.key, self._handover
        if key == (last.next_key or last.key):
            self._handover = None
            return
        self._handover = known or retired(seals_of(self._store)).get(key)
        if self._handover:
            raise SealContradicted(f"the key {key} {self._handover.handover}")

    def _grown(self, last: Seal | None, position: int) -> Tree:
        """Returns the tree over all events up to a position, going on from the last seal.

        What is new has to be chained to what was sealed: nothing else gets a signature.
        """
        tree, previous = Tree(), GENESIS
        if last:
            tree = Tree(last.position, [bytes.fromhex(peak) for peak in last.peaks])
            previous = bytes.fromhex(last.hash)
        for record in self._store.walk(after=tree.size, upto=position):
            if record.id != tree.size + 1 or record.hash != _linked(previous, record):
                raise SealContradicted(f"the chain is broken at {tree.size + 1}")
            tree.append(record.hash)
            previous = record.hash
        if tree.size != position:
            raise SealContradicted(f"the book was cut at {tree.size} while it was sealed")
        return tree


def _linked(previous: bytes, record: Record) -> bytes:
    stream = str(record.originator_id)
    return link(previous, stream, record.originator_version, record.topic, record.state)


# the file


class _File:
    """The seals an auditor may keep elsewhere: a line a seal. It only grows; what else stands in it stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._compared = (0, 0)
        """So many bytes, and the number of the seal they end with in the book."""

    def catch_up(self, store: Store) -> None:
        """Appends the seals behind the last that it holds; a last line that was torn is written again.

        Raises SealContradicted where it holds a seal that the book does not, NoSealsFile where it is no
        file of lines.
        """
        with self._path.open("a+b") as file:
            flock(file, LOCK_EX)  # other sealers append to it too
            size = file.seek(0, os.SEEK_END)
            upto, number = self._compared if self._compared[0] <= size else (0, 0)
            file.seek(upto)
            rows = store.scan(SEALS, after=number)
            line, seal = b"\n", None
            for line in file:
                upto += len(line)
                seal = _seal(line)
                if seal:
                    number = self._number(seal, line.strip(), rows)
                    self._compared = (upto, number)
            if size and not number:
                self._check_may_be(file, line)
            if not line.endswith(b"\n"):
                file.truncate(size - len(line))
                file.write(line + b"\n" if seal else b"")
            for row in rows:
                number, _, body = row
                file.write(body + b"\n")
            self._compared = (file.seek(0, os.SEEK_END), number)

    def _check_may_be(self, file: IO[bytes], last: bytes) -> None:
        """Where no seal is yet, lines of text may stand, and what was torn of the first seal."""
        file.seek(0)
        of_another = file.read(_LONGEST).startswith(_OTHERS)
        if of_another or not (last.endswith(b"\n") or _is_torn(last)):
            raise NoSealsFile(f"{self._path} is another file, and no seal is in it: name a new one")

    def _number(self, seal: Seal, body: bytes, rows: Iterator[Row]) -> int:
        for number, position, stored in rows:
            if stored == body:
                return int(number)
            if position > seal.position:
                break
        raise SealContradicted(
            f"{self._path} holds a seal of {seal.sealed_at}, at {seal.position}, that is not in the book"
        )


def _is_torn(line: bytes) -> bool:
    """Returns whether a line may be what is left of the first seal: its beginning, or a block never written."""
    return line.startswith(_FIRST) or _FIRST.startswith(line) or not line.strip(b"\0")


_FIRST = b'{"position":'
_OTHERS = (b"SQLite format 3\0", b"-----BEGIN ")
"""How a book begins, and a key."""

_LONGEST = max(map(len, _OTHERS))


def _seal(line: bytes) -> Seal | None:
    """Returns the seal that a line is; None where it is none, or was torn."""
    try:
        return msgspec.json.decode(line, type=Seal)
    except (msgspec.MsgspecError, UnicodeError):
        return None
