"""`roundbook reconcile`: the operator's book and the provider's, held against one another."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

import click
import msgspec
from msgspec.structs import astuple
from rich.console import Console
from rich.progress import Progress

from ledger.counted import differing, many
from ledger.event import Event
from ledger.mapper import Mapper, Unreadable
from ledger.moments import text, utc_now
from ledger.projection import Row
from ledger.store import EVENTS, StoreUnfit, open_store
from projections.forms import Report, as_csv
from projections.reconcile import Difference, OperatorUnknown, Reconciled
from projections.reconcile import reconcile as compare
from scripts import options, tables
from scripts.source import MAPPERS, Party, url_of


@click.command(short_help="Hold the two books against one another.")
@click.argument("operator_store")
@click.argument("provider_store")
@click.option("--since", metavar="TIME", help="Only what began then or later: RFC 3339, or a date.")
@click.option(
    "--operator",
    "operators",
    metavar="LOGIN",
    multiple=True,
    help="Only this operator of the provider's book; may be given again.",
)
@tables.form
def reconcile(
    *,
    operator_store: str,
    provider_store: str,
    since: str | None,
    operators: tuple[str, ...],
    form: str,
) -> None:
    """Hold the operator's book and the provider's against one another, reference by reference.

    Money, player, round, where it stands, and the transaction ids the wallet answered. A store is a
    path or sqlite:///PATH; it may be in use, and is only read. Exits 1 where anything differs or
    waits for an answer.

    \b
    Example: roundbook reconcile roundbook.db provider.db --since 2026-11-01
    """
    after = _begun(since) if since else ""
    quiet = not sys.stderr.isatty()
    with (
        Progress(console=Console(stderr=True), transient=True, disable=quiet) as progress,
        _events(operator_store, "operator", progress) as ours,
        _events(provider_store, "provider", progress) as theirs,
    ):
        try:
            found = compare(operator=ours, provider=theirs, operators=operators, since=after)
        except OperatorUnknown as unknown:
            raise click.BadParameter(str(unknown), param_hint="--operator") from None
    _print(found, form)
    sys.exit(1 if found.differences else 0)


# reading


def _begun(since: str) -> str:
    """Returns a time as events keep it, and not one from which on there can be nothing to compare."""
    after = options.utc(since, "--since")
    if after > text(utc_now()):
        raise click.BadParameter(f"{since} is still to come", param_hint="--since")
    return after


@contextmanager
def _events(where: str, party: Party, progress: Progress) -> Iterator[Iterator[Event]]:
    """Yields a book's events up to now, in order; they can be read while the block lasts."""
    book, url = f"the {party}'s book", url_of(where, in_memory="cannot be compared")
    with closing(open_store(url, read_only=True)) as store, store.snapshot() as head:
        rows = store.scan(EVENTS, after=0)
        watched = progress.track(rows, total=head.position, description=book)
        yield _decoded(watched, MAPPERS[party], f"{where} cannot be read as {book}")


def _decoded(rows: Iterable[Row], mapper: Mapper, complaint: str) -> Iterator[Event]:
    try:
        for _, _, _, topic, state, _ in rows:
            yield mapper.decode(topic, state)
    except Unreadable as error:
        raise StoreUnfit(f"store: {complaint}: {error}") from error


# printing


def _print(found: Reconciled, form: str) -> None:
    fields, rows = Difference.__struct_fields__, list(map(astuple, found.differences))
    if form == "json":
        click.echo(msgspec.json.encode(found))
    elif form == "csv":
        click.echo(as_csv(Report("Differences", fields, rows)), nl=False)
    else:
        _say(found)
        if rows:
            tables.show([name.replace("at_", "at the ") for name in fields], rows)


def _say(found: Reconciled) -> None:
    compared = ", ".join(
        many(count, what.removesuffix("s")) for what, count in found.compared.items()
    )
    click.echo(f"{compared} compared; {differing(len(found.differences))}")
    if found.left_out:
        click.echo(
            f"not compared, as the provider's book is not theirs: {', '.join(found.left_out)}"
        )
