"""`roundbook balance`, `round`, `history`, `replay`: a book as it was, at any moment of its past."""

import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec
from msgspec.structs import asdict
from sqlite_utils import Database

from ledger.event import time_of
from ledger.money import to_text
from ledger.store import Record
from projections import as_of
from projections.as_of import Balance, Line, NotThere, PastEvent, RoundAsOf
from projections.audit_file import is_audit_file
from projections.forms import decimals
from scripts import options, tables
from scripts.audit_file import watched
from scripts.opened import opened
from scripts.source import open_source

_where = click.option(
    "--from", "where", required=True, metavar="AUDIT_FILE|STORE|URL", help="The book."
)


@click.command()
@click.argument("user")
@click.argument("currency")
@_where
@click.option("--as-of", "time", metavar="TIME", help="RFC 3339, or a date: its midnight in UTC.")
@click.option("--at", "position", type=click.IntRange(0), metavar="POSITION", help="Or a position.")
@options.token
@options.as_json
def balance(
    *,
    user: str,
    currency: str,
    where: str,
    time: str | None,
    position: int | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Show a player's cash as it is, or as of a time or a position.

    As of a time: after the longest beginning of the book in which nothing was recorded later.
    A store or a URL is first read into a temporary audit file; `roundbook audit-file` keeps one.

    \b
    Example: roundbook balance 123456 USD --at 4 --from audit.db
    """
    if time is not None and position is not None:
        raise click.UsageError("give either --as-of or --at")
    moment = None if time is None else options.utc(time, "--as-of")
    with _book(where, token, upto=position) as db:
        at = _position(db, moment, position)
        said = _money(as_of.balance(db, user, currency, at=at), "cash")
    if as_json:
        click.echo(msgspec.json.encode(said))
    else:
        _table([said], leave_out={"scale"})


@click.command("round", short_help="Show a round as it is, or as of one of its versions.")
@click.argument("provider")
@click.argument("round_id", metavar="ROUND")
@_where
@click.option(
    "--at", "version", type=click.IntRange(1), metavar="VERSION", help="As of this event of it."
)
@options.token
@options.as_json
def round_(
    *,
    provider: str,
    round_id: str,
    where: str,
    version: int | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Show a round as it is, or as of one of its versions, with its bets and results.

    In a provider's book, PROVIDER is the operator's login.
    A store or a URL is first read into a temporary audit file; `roundbook audit-file` keeps one.

    \b
    Example: roundbook round LuckyMonaco 5103188801 --at 2 --from audit.db
    """
    with _book(where, token) as db:
        found = as_of.round_as_of(db, provider, round_id, at=version)
        said = _money(found, "staked", "won", "reversed")
        amounts = decimals(found.scale, (each.amount for each in found.transactions))
        transactions = [
            {**asdict(each), "amount": amount}
            for each, amount in zip(found.transactions, amounts, strict=True)
        ]
    if as_json:
        click.echo(msgspec.json.encode({**said, "transactions": transactions}))
        return
    _table([said], leave_out={"scale", "transactions"})
    _table(transactions)


@click.command(short_help="List every event of a user, a round or a reference.")
@click.argument("named", metavar="USER|ROUND|REFERENCE")
@_where
@options.token
@options.as_json
def history(*, named: str, where: str, token: str | None, as_json: bool) -> None:
    """List every event of a user, a round, a reference or a transaction, in order.

    `amount` is what came to the player's wallet, `cash` what was in it then.
    A store or a URL is first read into a temporary audit file; `roundbook audit-file` keeps one.

    \b
    Example: roundbook history 585c1306f89c56f5ecfc2f5d --from audit.db
    """
    with _book(where, token) as db:
        found = [_money(each, "amount", "cash") for each in as_of.history(db, named)]
        if not found:
            raise NotThere(f"nothing is known of {named}")
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _table(found, leave_out={"scale", "stream", "version", "transaction_id"})


@click.command(short_help="Print the events as they are stored, in their order.")
@_where
@click.option(
    "--from-position",
    "first",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="The first one.",
)
@click.option(
    "--to",
    "last",
    type=click.IntRange(1),
    metavar="POSITION",
    help="The last one [default: the head].",
)
@options.token
@options.as_json
def replay(*, where: str, first: int, last: int | None, token: str | None, as_json: bool) -> None:
    """Print the events as they are stored, in their order; with --json a line each.

    \b
    Example: roundbook replay --from audit.db --from-position 5 --json
    """
    if last is not None and last < first:
        raise click.BadParameter(f"{last} is before --from-position {first}", param_hint="--to")
    with _lines(where, token, after=first - 1, upto=last) as lines:
        if as_json:
            _print_lines(lines)
        else:
            cells = (
                (f"{e.position}", e.recorded_at, e.topic, e.stream, f"{e.version}") for e in lines
            )
            tables.show(("position", "recorded_at", "topic", "stream", "version"), cells)


# reading


@contextmanager
def _book(where: str, token: str | None, *, upto: int | None = None) -> Iterator[Database]:
    """Yields an audit file: the one that is named, or one made for the question up to a position.

    What the file does not know is one sentence on standard error, exit 1.
    """
    with ExitStack() as stack:
        path = _audit_file(where)
        if path is None:
            path = Path(stack.enter_context(TemporaryDirectory(prefix="roundbook-"))) / "audit.db"
            watched(path, where, f"{where} into a temporary audit file", token=token, upto=upto)
        try:
            yield stack.enter_context(opened(path))
        except NotThere as unknown:
            raise click.ClickException(str(unknown)) from None


def _audit_file(where: str) -> Path | None:
    path = Path(where.removeprefix("sqlite:///"))
    return path if is_audit_file(path) else None


@contextmanager
def _lines(
    where: str, token: str | None, *, after: int, upto: int | None
) -> Iterator[Iterator[Line]]:
    """Yields events as they are stored: of an audit file, or straight from the book."""
    if _audit_file(where):
        with _book(where, token) as db:
            yield as_of.replay(
                db, after=after, upto=as_of.head(db).position if upto is None else upto
            )
        return
    with open_source(where, token=token) as source:
        last = source.head().position
        yield map(
            _line, source.records(after=after, upto=last if upto is None else min(upto, last))
        )


def _line(record: Record) -> Line:
    return Line(
        record.id,
        str(record.originator_id),
        record.originator_version,
        record.topic,
        time_of(record.state),
        record.hash.hex(),
        record.state.decode(),
    )


def _position(db: Database, moment: str | None, position: int | None) -> int:
    if moment is not None:
        return as_of.position_at(db, moment)
    last = as_of.head(db).position
    if position is not None and position > last:
        raise NotThere(f"the book ends at position {last}")
    return last if position is None else position


# printing


def _money(found: Balance | RoundAsOf | PastEvent, *names: str) -> dict[str, Any]:
    """Returns the fields, those that are money as decimals."""
    said = asdict(found)
    for each in names:
        if said[each] is not None:
            said[each] = to_text(said[each], said["scale"])
    return said


def _table(rows: list[dict[str, Any]], *, leave_out: Collection[str] = ()) -> None:
    """Prints rows that have the same fields, as people read them; nothing where there are none."""
    if rows:
        names = [name for name in rows[0] if name not in leave_out]
        cells = (["" if row[name] is None else f"{row[name]}" for name in names] for row in rows)
        tables.show(names, cells)


def _print_lines(lines: Iterator[Line]) -> None:
    out = sys.stdout.buffer
    for line in lines:
        said = line._asdict()
        body = msgspec.Raw(said.pop("state").encode())
        out.write(msgspec.json.encode({**said, "body": body}) + b"\n")
    out.flush()
