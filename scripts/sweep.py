"""`roundbook sweep`: refund what is overdue, look what would be, or confirm after an alarm."""

import sys
from contextlib import closing
from pathlib import Path

import click
import msgspec

from ledger.counted import many
from ledger.provider.book import Book
from ledger.provider.retention import Sweeper, Swept
from scripts import incomplete, options

MOST_LISTED = 1000


@click.command(short_help="Refund bets without an outcome after the retention days.")
@options.config
@options.as_json
@click.option("--dry-run", is_flag=True, help="List what is due; change nothing.")
@click.option("--confirm", is_flag=True, help="You have looked: what is overdue now is refunded.")
def sweep(config: Path | None, *, as_json: bool, dry_run: bool, confirm: bool) -> None:
    """Refund bets without an outcome after the retention days, as far as one sweep goes.

    The worker does this by itself. It stops, for you to look, where the clock moved or far more is
    overdue than is usual: see `roundbook sweep --dry-run`, then `--confirm`. Exits 1 while stopped.

    \b
    Example: roundbook sweep --dry-run
    """
    if dry_run and confirm:
        raise click.UsageError("give either --dry-run or --confirm")
    settings, book = options.provider_book(config, read_only=dry_run)
    assert settings.provider_book is not None
    with closing(book):
        sweeper = Sweeper(book, cap=settings.provider_book.sweep_cap)
        if dry_run:
            _list(book, sweeper, as_json=as_json)
            return
        if confirm:
            sweeper.confirm()
        swept = sweeper.sweep()
    if as_json:
        click.echo(msgspec.json.encode(swept))
    else:
        click.echo(said(swept))
    sys.exit(1 if swept.stopped else 0)


def _list(book: Book, sweeper: Sweeper, *, as_json: bool) -> None:
    stopped = book.sweep()
    if stopped.stopped_at:
        click.echo(f"stopped since {stopped.stopped_at}: {stopped.reason}", err=True)
    found = sweeper.overdue(most=MOST_LISTED + 1)
    incomplete.show(book, found, most=MOST_LISTED, as_json=as_json, what="overdue")


def said(swept: Swept) -> str:
    """Returns what a sweep came to, as a sentence."""
    if swept.stopped:
        return f"stopped: {swept.stopped}. Look at `roundbook sweep --dry-run`, then --confirm."
    more = "; more are due, the next sweep takes them" if swept.more else ""
    return f"{many(len(swept.refunded), 'round')} refunded{more}"
