"""`roundbook incomplete`: rounds without an outcome, and when they will be refunded."""

from contextlib import closing
from pathlib import Path

import click
import msgspec

from ledger.provider.book import Book, OpenRound
from scripts import options, tables
from scripts.deliveries import age

COLUMNS = ("operator", "round", "user", "open since", "age", "due")


@click.command(short_help="List rounds without an outcome, and their due dates.")
@options.config
@options.as_json
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1), help="At most.")
def incomplete(config: Path | None, limit: int, *, as_json: bool) -> None:
    """List rounds with an accepted bet and no outcome, the oldest first, with their due date.

    \b
    Example: roundbook incomplete --json
    """
    _, book = options.provider_book(config, read_only=True)
    with closing(book):
        found = [
            each
            for login in sorted(book.house.operators)
            for each in book.open_rounds(login, limit=limit + 1)
        ]
        found.sort(key=lambda each: each.open_since)
        show(book, found, most=limit, as_json=as_json)


def show(
    book: Book, found: list[OpenRound], *, most: int, as_json: bool, what: str = "open"
) -> None:
    """Prints open rounds with the time from which each is refunded; `what` they all are.

    Says on standard error where there are more than so many.
    """
    house, shown = book.house, found[:most]
    if len(found) > most:
        click.echo(f"more than these {most} are {what}", err=True)
    rounds = [(each, house.operator(each.operator).due(each.open_since)) for each in shown]
    if as_json:
        data = [{**each._asdict(), "due_at": due} for each, due in rounds]
        click.echo(msgspec.json.encode(data))
        return
    if not found:
        click.echo(f"no round is {what}")
        return
    rows = [(*each, age(each.open_since), due) for each, due in rounds]
    more = " and more" * (len(found) > most)
    tables.show(COLUMNS, rows, title=f"{len(shown)}{more} {what}")
