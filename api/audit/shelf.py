"""The audit files that stand beside the books, one a party; they are only read."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from api.http import log_defect
from projections.as_of import Damaged, head
from projections.audit_file import AuditFileUnfit, open_audit_file

NOT_AS_WRITTEN = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError),
    msgspec.MsgspecError,
)
"""What reading comes to where a file's rows are gone, or are of other types."""

ANEW = "move it away, and make it anew with `roundbook audit-file`"


class NotKept(Exception):
    """There is no audit file to ask, or it cannot be read; the text says what to do."""


class Behind(Exception):
    """The file does not go as far as the book, and what was asked is later; soon it will."""


class Shelf:
    """Audit files by party. `head`: returns a book's last position; None where there are only files."""

    def __init__(self, files: Mapping[str, Path], head: Callable[[str], int] | None = None) -> None:
        self.files, self._head = files, head

    @contextmanager
    def reading(self, party: str) -> Iterator[Database]:
        """Yields a party's file as it is at one moment, though it is continued. Raises NotKept, Damaged."""
        file = self.files[party]
        if not file.exists():
            raise NotKept(
                f"there is no {file.name} yet: `roundbook serve` keeps it, `roundbook audit-file` makes it"
            )
        try:
            with closing(open_audit_file(file)) as db:
                db.execute("begin")
                yield db
        except (AuditFileUnfit, sqlite3.DatabaseError) as error:
            raise NotKept(f"{file.name} cannot be read: {ANEW}") from error
        except Damaged as error:
            raise Damaged(f"{file.name} is damaged, {error}; {ANEW}") from error
        except NOT_AS_WRITTEN as error:
            log_defect(error)  # a new file says whether it was ours
            raise Damaged(f"{file.name} is damaged, not all of it can be read: {ANEW}") from error

    def reached(self, party: str) -> int:
        """Returns the position of the last event in a party's file. Raises NotKept."""
        with self.reading(party) as db:
            return head(db).position

    def head(self, party: str) -> int | None:
        """Returns the position of the book's last event; None where only the file is at hand."""
        return self._head(party) if self._head else None
