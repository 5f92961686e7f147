"""`roundbook copy`: a book, event by event with its hashes, into another store; both ends are verified."""

from contextlib import closing

import click
import msgspec
from eventsourcing.persistence import PersistenceError

from ledger.copying import CopyDiffers, copy_events, copy_seals
from ledger.counted import many
from ledger.store import Store, open_store, told
from ledger.verify import Verdict
from scripts import options
from scripts.progress import progress
from scripts.source import MAPPERS, TABLES, Source, open_source, party_of, url_of
from scripts.verify import checked


@click.command("copy", short_help="Copy a book into another store, and verify both.")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@options.token
@options.as_json
def copy(*, source: str, target: str, token: str | None, as_json: bool) -> None:
    """Copy a book into another store: from SQLite to PostgreSQL and back, or to another server.

    FROM is a path, a store's URL or a service's; TO is a path or a store's URL, as
    postgresql://host/books?schema=acme, new or a copy that was begun.
    The book is verified before, the copy after; they end with the same hash. Stop who writes the book
    before the last run: what is recorded after it began is not in the copy.

    \b
    Example: roundbook copy roundbook.db backup.db
    """
    _hold(source, checked(source, token=token))
    with open_source(source, token=token) as book:
        try:
            added = _copied(book, target)
        except (CopyDiffers, PersistenceError) as error:
            raise click.ClickException(f"{told(target)}: {error}") from None
    verdict = _hold(target, checked(target))
    said = {"events": verdict.events, "added": added, "seals": verdict.seals, "head": verdict.head}
    if as_json:
        click.echo(msgspec.json.encode(said))
    else:
        click.echo(
            f"{told(target)} holds {many(verdict.events, 'event')}, {added} of them new, and"
            f" {many(verdict.seals, 'seal')}; both ends hold; head {verdict.head}"
        )


def _hold(where: str, verdict: Verdict) -> Verdict:
    if not verdict.holds:
        finding = verdict.finding
        raise click.ClickException(
            f"{told(where)}: {finding.detail if finding else 'does not hold'}"
        )
    return verdict


def _copied(book: Source, target: str) -> int:
    """Returns how many events are new in the copy."""
    party, head = party_of(book), book.head()
    url = url_of(target, in_memory="is gone with the command")
    with closing(open_store(url, TABLES[party])) as copy_of:
        begin = copy_of.head().position
        _check_past(book, copy_of)
        with progress(book.name) as on_position:
            records = book.records(after=begin, upto=head.position)
            for position in copy_events(records, copy_of, MAPPERS[party]):
                on_position(position, head.position)
        copy_seals(book.seals(), copy_of)
        return copy_of.head().position - begin


def _check_past(book: Source, copy_of: Store) -> None:
    position, hashed = copy_of.head()
    if not position:
        return
    same = next(book.records(after=position - 1, upto=position), None)
    if same is None or same.hash != hashed:
        raise CopyDiffers(f"position {position}: is no event of {book.name}: it is another book")
