"""An audit file that is read: whatever is wrong with it is one sentence."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
from sqlite_utils import Database
from sqlite_utils.utils import sqlite3  # type: ignore[attr-defined]

from api.audit.links import shell
from api.audit.shelf import NOT_AS_WRITTEN
from ledger.store import StoreUnfit, open_store
from projections.as_of import Damaged
from projections.audit_file import AuditFileUnfit, last_contradiction, open_audit_file
from projections.forms import plain


@contextmanager
def opened(file: Path) -> Iterator[Database]:
    """Yields an audit file as it is at one moment, though it may be continued. Raises StoreUnfit.

    What its book contradicted it with is said on standard error: nobody takes it for the whole of a good book.
    """
    try:
        with closing(open_audit_file(file)) as db:
            db.execute("begin")
            _tell_contradiction(file, db)
            yield db
    except AuditFileUnfit as error:
        raise _unfit(file, error) from error
    except sqlite3.Error as error:
        raise StoreUnfit(f"{file}: {error}") from error
    except (Damaged, *NOT_AS_WRITTEN) as error:
        raise StoreUnfit(f"{file}: what is in it is not what was put there: {error}") from error


def _tell_contradiction(file: Path, db: Database) -> None:
    found = last_contradiction(db)
    if found:
        said = f"{file}: its book was refused once, position {found[0]}: {found[1]}"
        click.echo(plain(f"roundbook: {said}"), err=True)


def _unfit(file: Path, error: AuditFileUnfit) -> StoreUnfit:
    """Returns what is wrong with a file: it is missing, it is a book, or what the error says."""
    if not file.exists():
        return StoreUnfit(f"there is no {file}")
    try:
        open_store(f"sqlite:///{file}", read_only=True).close()
    except StoreUnfit:
        return StoreUnfit(str(error))
    command = shell("audit-file", str(file.with_suffix(".audit.db")), options=["--from", str(file)])
    return StoreUnfit(f"{file} is a book; `{command}` makes an audit file of it")
